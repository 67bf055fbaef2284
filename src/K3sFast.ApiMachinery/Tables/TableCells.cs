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

    private readonly DateTimeOffset _now;
    private bool _hasCells;

    internal TableCells(IBufferWriter<byte> output, DateTimeOffset now)
    {
        Json = new JsonTextWriter(output);
        _now = now;
    }

    internal readonly DateTimeOffset Now => _now;

    internal void Text(ReadOnlySpan<byte> utf8)
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
    internal void Since(ApiNode time) => Text(AgeOf(time));

    internal readonly string AgeOf(ApiNode time) => TryReadTime(time, out var at) ? HumanDuration(_now - at) : "<unknown>";

    /// <summary>Parses a Time or MicroTime node; false when absent.</summary>
    internal static bool TryReadTime(ApiNode time, out DateTimeOffset at)
    {
        at = default;
        if (time.Utf8.IsEmpty)
            return false;
        return Utf8Parser.TryParse(time.Utf8, out at, out _, 'O')
            || DateTimeOffset.TryParse(time.AsString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out at);
    }

    /// <summary>A duration in the short form of kubectl: two units at most, fewer the longer it is ("59s", "3m20s", "47h", "5d3h", "2y10d").</summary>
    internal static string HumanDuration(TimeSpan span)
    {
        long seconds = span.Ticks / TimeSpan.TicksPerSecond;
        if (seconds < -1)
            return "<invalid>";
        if (seconds < 0)
            return "0s";
        if (seconds < 120)
            return $"{seconds}s";
        long minutes = seconds / 60;
        if (minutes < 10)
            return seconds % 60 == 0 ? $"{minutes}m" : $"{minutes}m{seconds % 60}s";
        if (minutes < 180)
            return $"{minutes}m";
        long hours = minutes / 60;
        if (hours < 8)
            return minutes % 60 == 0 ? $"{hours}h" : $"{hours}h{minutes % 60}m";
        if (hours < 48)
            return $"{hours}h";
        if (hours < 192)
            return hours % 24 == 0 ? $"{hours / 24}d" : $"{hours / 24}d{hours % 24}h";
        if (hours < 24 * 365 * 2)
            return $"{hours / 24}d";
        if (hours < 24 * 365 * 8)
            return hours / 24 % 365 == 0 ? $"{hours / 24 / 365}y" : $"{hours / 24 / 365}y{hours / 24 % 365}d";
        return $"{hours / 24 / 365}y";
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
