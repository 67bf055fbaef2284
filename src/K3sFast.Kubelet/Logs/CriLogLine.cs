using System.Globalization;
using System.Text;

namespace K3sFast.Kubelet.Logs;

/// <summary>
/// One line of a container's log in the CRI form:
/// <code>2016-10-06T00:17:09.669794202Z stdout F the content\n</code>
/// time (RFC 3339, nanoseconds), stream, tags (F = full, P = the line goes on in the next record), content. Spans point into the parsed bytes.
/// </summary>
internal readonly ref struct CriLogLine
{
    private CriLogLine(ReadOnlySpan<byte> time, ReadOnlySpan<byte> stream, bool isPartial, ReadOnlySpan<byte> content)
    {
        Time = time;
        Stream = stream;
        IsPartial = isPartial;
        Content = content;
    }

    /// <summary>The time as it is written.</summary>
    public ReadOnlySpan<byte> Time { get; }

    /// <summary>stdout or stderr.</summary>
    public ReadOnlySpan<byte> Stream { get; }

    /// <summary>True when the application's line goes on in the next record.</summary>
    public bool IsPartial { get; }

    /// <summary>What the container wrote, without the line end.</summary>
    public ReadOnlySpan<byte> Content { get; }

    /// <summary>Reads one line without its line end. False = not in this form.</summary>
    public static bool TryParse(ReadOnlySpan<byte> line, out CriLogLine parsed)
    {
        parsed = default;
        var timeEnd = line.IndexOf((byte)' ');
        if (timeEnd <= 0) return false;
        var rest = line[(timeEnd + 1)..];
        var streamEnd = rest.IndexOf((byte)' ');
        if (streamEnd <= 0) return false;
        var stream = rest[..streamEnd];
        if (!stream.SequenceEqual("stdout"u8) && !stream.SequenceEqual("stderr"u8)) return false;
        rest = rest[(streamEnd + 1)..];
        var tagsEnd = rest.IndexOf((byte)' ');
        var tags = tagsEnd < 0 ? rest : rest[..tagsEnd];
        if (tags.IsEmpty) return false;
        parsed = new CriLogLine(line[..timeEnd], stream, tags[0] == (byte)'P', tagsEnd < 0 ? default : rest[(tagsEnd + 1)..]);
        return true;
    }

    /// <summary>The time as a value, to 100 ns; false = not a time.</summary>
    public bool TryGetTime(out DateTimeOffset time) =>
        DateTimeOffset.TryParse(Encoding.ASCII.GetString(TrimNanoseconds(Time)), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out time);

    // The base library reads seven digits of a second at most.
    private static byte[] TrimNanoseconds(ReadOnlySpan<byte> time)
    {
        var dot = time.IndexOf((byte)'.');
        if (dot < 0) return time.ToArray();
        var end = dot + 1;
        while (end < time.Length && time[end] is >= (byte)'0' and <= (byte)'9') end++;
        if (end - dot - 1 <= 7) return time.ToArray();
        return [.. time[..(dot + 8)], .. time[end..]];
    }
}
