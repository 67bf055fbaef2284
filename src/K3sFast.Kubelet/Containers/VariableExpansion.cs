using System.Text;

namespace K3sFast.Kubelet.Containers;

/// <summary>
/// <c>$(NAME)</c> in commands, arguments and values. A name that is not known stays as it is written; <c>$$</c> is one dollar, so that
/// <c>$$(NAME)</c> is never replaced.
/// </summary>
internal static class VariableExpansion
{
    public static string Expand(string text, Func<string, string?> lookup)
    {
        if (!text.Contains('$')) return text;
        var result = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '$' || i + 1 >= text.Length)
            {
                result.Append(text[i]);
                continue;
            }
            if (text[i + 1] == '$')
            {
                result.Append('$');
                i++;
                continue;
            }
            var close = text[i + 1] == '(' ? text.IndexOf(')', i + 2) : -1;
            if (close < 0)
            {
                result.Append('$');
                continue;
            }
            var name = text[(i + 2)..close];
            result.Append(lookup(name) ?? text[i..(close + 1)]);
            i = close;
        }
        return result.ToString();
    }
}
