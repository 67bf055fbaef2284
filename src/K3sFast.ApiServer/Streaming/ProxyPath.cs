using System.Buffers;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>
/// The path of a proxy request: what stands behind <c>…/proxy</c>, resolved at its own root so that no <c>..</c> leaves it, and escaped again as
/// upstream sends it.
/// </summary>
internal static class ProxyPath
{
    // Bytes that Go's URL keeps in a path; '?' would begin the query.
    private static readonly SearchValues<byte> s_kept =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~$&+,/:;=@"u8);

    /// <summary>Resolves ".", ".." and empty segments. "" stays "" (nothing behind the subresource), a trailing slash stays one.</summary>
    internal static string Clean(string rest)
    {
        if (rest.Length == 0)
            return "";
        var kept = new List<string>();
        foreach (var part in rest.Split('/'))
        {
            if (part == "..")
            {
                if (kept.Count > 0)
                    kept.RemoveAt(kept.Count - 1);
            }
            else if (part.Length > 0 && part != ".")
            {
                kept.Add(part);
            }
        }
        var clean = "/" + string.Join('/', kept);
        return rest.EndsWith('/') && clean.Length > 1 ? clean + "/" : clean;
    }

    /// <summary>Escapes what may not stand in a path.</summary>
    internal static string Escape(string path)
    {
        var bytes = Encoding.UTF8.GetBytes(path);
        if (bytes.AsSpan().IndexOfAnyExcept(s_kept) < 0)
            return path;
        var text = new StringBuilder(bytes.Length + 16);
        foreach (var value in bytes)
        {
            if (s_kept.Contains(value))
                text.Append((char)value);
            else
                text.Append('%').Append(value.ToString("X2", System.Globalization.CultureInfo.InvariantCulture));
        }
        return text.ToString();
    }
}
