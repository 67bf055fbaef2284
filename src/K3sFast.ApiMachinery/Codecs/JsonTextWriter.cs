using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Writes JSON tokens to a buffer writer with the escapes of Go's encoding/json, HTML escaping on, which is what kube-apiserver answers with:
/// &lt; &gt; &amp; as \u003c \u003e \u0026, U+2028 and U+2029 as \u2028 and \u2029, \b \f \n \r \t short, other control bytes as \u00xx.
/// The caller flushes once at the end. Who writes for a message gives a limit, behind which trees are not written on.
/// </summary>
internal ref struct JsonTextWriter(IBufferWriter<byte> output, int limit = int.MaxValue)
{
    private const int ChunkSize = 4096;

    // 0xE2 leads U+2028 and U+2029; most other uses of it take the careful road for one byte and come back.
    internal static readonly SearchValues<byte> NeedsCare = SearchValues.Create(
        [.. Enumerable.Range(0, 0x20).Select(value => (byte)value), (byte)'"', (byte)'\\', (byte)'<', (byte)'>', (byte)'&', 0xE2]);

    private readonly IBufferWriter<byte> _output = output;
    private readonly int _limit = limit;
    private Span<byte> _span;
    private int _used;
    private int _flushed;

    /// <summary>So much is written that the rest would not be read.</summary>
    public readonly bool IsSpent => _flushed + _used > _limit;

    public void Flush()
    {
        if (_used > 0)
            _output.Advance(_used);
        _flushed += _used;
        _span = default;
        _used = 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Raw(byte value)
    {
        if (_used == _span.Length)
            Renew(1);
        _span[_used++] = value;
    }

    public void Raw(scoped ReadOnlySpan<byte> bytes)
    {
        if (_span.Length - _used < bytes.Length)
            Renew(bytes.Length);
        bytes.CopyTo(_span[_used..]);
        _used += bytes.Length;
    }

    public void String(scoped ReadOnlySpan<byte> utf8)
    {
        if (_span.Length - _used < utf8.Length + 2)
            Renew(utf8.Length + 2);
        _span[_used++] = (byte)'"';
        if (utf8.IndexOfAny(NeedsCare) < 0)
        {
            utf8.CopyTo(_span[_used..]);
            _used += utf8.Length;
            Raw((byte)'"');
            return;
        }
        EscapedSlow(utf8);
        Raw((byte)'"');
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void EscapedSlow(scoped ReadOnlySpan<byte> utf8)
    {
        while (utf8.Length > 0)
        {
            var clean = utf8.IndexOfAny(NeedsCare);
            if (clean < 0)
            {
                Raw(utf8);
                return;
            }
            Raw(utf8[..clean]);
            utf8 = utf8[clean..];
            var used = 1;
            switch (utf8[0])
            {
                case (byte)'"': Raw("\\\""u8); break;
                case (byte)'\\': Raw("\\\\"u8); break;
                case (byte)'\n': Raw("\\n"u8); break;
                case (byte)'\r': Raw("\\r"u8); break;
                case (byte)'\t': Raw("\\t"u8); break;
                case (byte)'\b': Raw("\\b"u8); break;
                case (byte)'\f': Raw("\\f"u8); break;
                case 0xE2:
                    if (utf8.Length >= 3 && utf8[1] == 0x80 && utf8[2] is 0xA8 or 0xA9)
                    {
                        Raw(utf8[2] == 0xA8 ? "\\u2028"u8 : "\\u2029"u8);
                        used = 3;
                    }
                    else
                    {
                        Raw(utf8[0]);
                    }
                    break;
                default:
                    Raw("\\u00"u8);
                    Raw("0123456789abcdef"u8[utf8[0] >> 4]);
                    Raw("0123456789abcdef"u8[utf8[0] & 15]);
                    break;
            }
            utf8 = utf8[used..];
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Renew(int needed)
    {
        Flush();
        _span = _output.GetSpan(Math.Max(needed, ChunkSize));
    }
}
