using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Writes the cells of one row, in column order. Lives on the stack while a row is written.</summary>
internal ref struct TableCells
{
    /// <summary>The row's output; row writers use the typed methods below.</summary>
    internal JsonTextWriter Json;

    /// <summary>The row's conditions as JSON, empty for none.</summary>
    internal ReadOnlySpan<byte> Conditions;

    // Two numbers of up to 20 digits with a letter each.
    internal const int MaxDurationLength = 48;

    private readonly DateTimeOffset _now;
    private bool _hasCells;

    internal TableCells(IBufferWriter<byte> output, DateTimeOffset now)
    {
        Json = new JsonTextWriter(output);
        _now = now;
    }

    internal readonly DateTimeOffset Now => _now;

    internal void Text(scoped ReadOnlySpan<byte> utf8)
    {
        Separate();
        Json.String(utf8);
    }

    internal void Text(string text)
    {
        Separate();
        WriteText(ref Json, text);
    }

    /// <summary>A string or number node as text; what is absent is an empty cell.</summary>
    internal void Text(ApiNode node) => Text(node.Utf8);

    /// <summary>A node's text, or other words when it is absent or empty.</summary>
    internal void TextOr(ApiNode node, ReadOnlySpan<byte> whenEmpty) => Text(node.Utf8.IsEmpty ? whenEmpty : node.Utf8);

    internal void Number(long value)
    {
        Separate();
        WriteNumber(ref Json, value);
    }

    /// <summary>A number node; absent is 0, as a struct field upstream.</summary>
    internal void Number(ApiNode node) => Number(node.AsInt64());

    internal void Boolean(bool value)
    {
        Separate();
        Json.Raw(value ? "true"u8 : "false"u8);
    }

    internal void Name(ApiNode obj) => Text(obj["metadata"u8]["name"u8]);

    internal void Age(ApiNode obj) => Since(obj["metadata"u8]["creationTimestamp"u8]);

    /// <summary>Time since a timestamp node, or &lt;unknown&gt; when it is absent.</summary>
    internal void Since(ApiNode time)
    {
        if (!TryReadTime(time, out var at))
        {
            Text("<unknown>"u8);
            return;
        }
        Span<byte> text = stackalloc byte[MaxDurationLength];
        Text(text[..WriteDuration(_now - at, text)]);
    }

    internal readonly string AgeOf(ApiNode time) => TryReadTime(time, out var at) ? HumanDuration(_now - at) : "<unknown>";

    /// <summary>Parses a Time or MicroTime node; false when absent.</summary>
    internal static bool TryReadTime(ApiNode time, out DateTimeOffset at)
    {
        at = default;
        if (time.Utf8.IsEmpty)
            return false;
        if (ScalarText.TryReadCanonicalTime(time.Utf8, out var whole))
        {
            at = DateTimeOffset.FromUnixTimeSeconds(whole.UnixSeconds);
            return true;
        }
        return Utf8Parser.TryParse(time.Utf8, out at, out _, 'O')
            || DateTimeOffset.TryParse(time.AsString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out at);
    }

    /// <summary>A duration in the short form of kubectl: two units at most, fewer the longer it is ("59s", "3m20s", "47h", "5d3h", "2y10d").</summary>
    internal static string HumanDuration(TimeSpan span)
    {
        Span<byte> text = stackalloc byte[MaxDurationLength];
        return Encoding.ASCII.GetString(text[..WriteDuration(span, text)]);
    }

    /// <summary>The same as bytes; answers their number.</summary>
    internal static int WriteDuration(TimeSpan span, Span<byte> destination)
    {
        long seconds = span.Ticks / TimeSpan.TicksPerSecond;
        if (seconds < -1)
        {
            "<invalid>"u8.CopyTo(destination);
            return "<invalid>"u8.Length;
        }
        if (seconds < 120)
            return WriteUnits(Math.Max(seconds, 0), 's', 0, ' ', destination);
        long minutes = seconds / 60;
        if (minutes < 180)
            return WriteUnits(minutes, 'm', minutes < 10 ? seconds % 60 : 0, 's', destination);
        long hours = minutes / 60;
        if (hours < 48)
            return WriteUnits(hours, 'h', hours < 8 ? minutes % 60 : 0, 'm', destination);
        long days = hours / 24;
        if (days < 365 * 2)
            return WriteUnits(days, 'd', hours < 192 ? hours % 24 : 0, 'h', destination);
        return WriteUnits(days / 365, 'y', days < 365 * 8 ? days % 365 : 0, 'd', destination);
    }

    private static int WriteUnits(long number, char unit, long rest, char restUnit, Span<byte> destination)
    {
        Utf8Formatter.TryFormat(number, destination, out int length);
        destination[length++] = (byte)unit;
        if (rest == 0)
            return length;
        Utf8Formatter.TryFormat(rest, destination[length..], out int more);
        destination[length + more] = (byte)restUnit;
        return length + more + 1;
    }

    internal static void WriteNumber(ref JsonTextWriter json, long value)
    {
        Span<byte> digits = stackalloc byte[20];
        Utf8Formatter.TryFormat(value, digits, out int length);
        json.Raw(digits[..length]);
    }

    internal static void WriteText(ref JsonTextWriter json, string text)
    {
        int size = Encoding.UTF8.GetMaxByteCount(text.Length);
        if (size <= 256)
        {
            Span<byte> buffer = stackalloc byte[256];
            json.String(buffer[..Encoding.UTF8.GetBytes(text, buffer)]);
            return;
        }
        var rented = ArrayPool<byte>.Shared.Rent(size);
        json.String(rented.AsSpan(0, Encoding.UTF8.GetBytes(text, rented)));
        ArrayPool<byte>.Shared.Return(rented);
    }

    private void Separate()
    {
        if (_hasCells)
            Json.Raw((byte)',');
        _hasCells = true;
    }
}
