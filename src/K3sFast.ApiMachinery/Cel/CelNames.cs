using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Names of fields that are no identifiers, as expressions spell them: foo.bar is foo__dot__bar, a-b is a__dash__b, a/b is a__slash__b, a__b is
/// a__underscores__b, and a word of the language stands between underscores.
/// </summary>
public static partial class CelNames
{
    private static readonly HashSet<string> s_reserved =
        ["true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"];

    /// <summary>The field's name behind the spelling; false when there is an escape that is none.</summary>
    public static bool TryUnescape(string spelled, out string name)
    {
        name = spelled;
        if (!spelled.Contains("__", StringComparison.Ordinal))
            return true;
        bool isRight = true;
        name = Escape().Replace(spelled, match =>
        {
            string word = match.Value[2..^2];
            switch (word)
            {
                case "underscores":
                    return "__";
                case "dot":
                    return ".";
                case "dash":
                    return "-";
                case "slash":
                    return "/";
                default:
                    isRight &= s_reserved.Contains(word) && match.Length == spelled.Length;
                    return word;
            }
        });
        return isRight;
    }

    /// <summary>True for words of the language; as fields they may also be spelled without underscores.</summary>
    internal static bool IsReserved(string name) => s_reserved.Contains(name);

    /// <summary>How expressions spell a field of that name; false when they cannot.</summary>
    public static bool TryEscape(string name, out string spelled)
    {
        spelled = "";
        if (name.Length == 0 || char.IsAsciiDigit(name[0]))
            return false;
        if (s_reserved.Contains(name))
        {
            spelled = $"__{name}__";
            return true;
        }
        var text = new StringBuilder(name.Length);
        for (int i = 0; i < name.Length; i++)
        {
            switch (name[i])
            {
                case '_' when i + 1 < name.Length && name[i + 1] == '_':
                    text.Append("__underscores__");
                    i++;
                    break;
                case '.':
                    text.Append("__dot__");
                    break;
                case '-':
                    text.Append("__dash__");
                    break;
                case '/':
                    text.Append("__slash__");
                    break;
                case var unit when char.IsAsciiLetterOrDigit(unit) || unit == '_':
                    text.Append(unit);
                    break;
                default:
                    return false;
            }
        }
        spelled = text.ToString();
        return true;
    }

    [GeneratedRegex("__[^_]+__")]
    private static partial Regex Escape();
}
