using System.Text;

namespace K3sFast.Kubelet.Logs;

/// <summary>Ends of log files: where the last lines begin, and their content as text.</summary>
internal static class CriLogTail
{
    // Read backwards in pieces of this size.
    private const int BlockBytes = 16 * 1024;

    /// <summary>Offset at which the last <paramref name="lines"/> lines of the file begin; 0 when it has fewer. A line without its end counts as one.</summary>
    public static long FindStart(FileStream file, long lines)
    {
        var end = file.Length;
        if (lines <= 0) return end;
        var buffer = new byte[BlockBytes];
        var found = 0L;
        var position = end;
        while (position > 0)
        {
            var length = (int)Math.Min(BlockBytes, position);
            position -= length;
            file.Position = position;
            file.ReadExactly(buffer, 0, length);
            for (var i = length - 1; i >= 0; i--)
            {
                // The end of the last line is not the start of another.
                if (buffer[i] != (byte)'\n' || position + i == end - 1) continue;
                if (++found == lines) return position + i + 1;
            }
        }
        return 0;
    }

    /// <summary>What the container wrote last, at most so many lines and bytes; "" when there is no log.</summary>
    public static string Read(string path, int maxLines, int maxBytes)
    {
        if (!File.Exists(path)) return "";
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        file.Position = FindStart(file, maxLines);
        var raw = new byte[file.Length - file.Position];
        var length = file.ReadAtLeast(raw, raw.Length, throwOnEndOfStream: false);
        var rest = raw.AsSpan(0, length);
        var content = new List<byte>();
        while (!rest.IsEmpty)
        {
            var lineEnd = rest.IndexOf((byte)'\n');
            var line = lineEnd < 0 ? rest : rest[..lineEnd];
            rest = lineEnd < 0 ? default : rest[(lineEnd + 1)..];
            if (!CriLogLine.TryParse(line, out var parsed)) continue;
            content.AddRange(parsed.Content);
            if (!parsed.IsPartial) content.Add((byte)'\n');
        }
        var bytes = content.ToArray().AsSpan();
        return Encoding.UTF8.GetString(bytes.Length > maxBytes ? bytes[^maxBytes..] : bytes);
    }
}
