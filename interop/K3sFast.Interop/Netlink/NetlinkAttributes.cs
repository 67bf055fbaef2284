using System.Buffers.Binary;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>Walks the attributes of a message or of a nested attribute, in order. Truncated ones end the walk.</summary>
internal ref struct NetlinkAttributes(ReadOnlySpan<byte> attributes)
{
    private ReadOnlySpan<byte> _rest = attributes;

    /// <summary>Type without its flag bits.</summary>
    internal ushort Type { get; private set; }

    /// <summary>Payload without padding.</summary>
    internal ReadOnlySpan<byte> Payload { get; private set; }

    internal readonly byte U8 => Payload.Length >= 1 ? Payload[0] : (byte)0;
    internal readonly ushort U16BigEndian => Payload.Length >= 2 ? BinaryPrimitives.ReadUInt16BigEndian(Payload) : (ushort)0;
    internal readonly uint U32 => Payload.Length >= 4 ? MemoryMarshal.Read<uint>(Payload) : 0;
    internal readonly uint U32BigEndian => Payload.Length >= 4 ? BinaryPrimitives.ReadUInt32BigEndian(Payload) : 0;
    internal readonly ulong U64BigEndian => Payload.Length >= 8 ? BinaryPrimitives.ReadUInt64BigEndian(Payload) : 0;

    /// <summary>The payload as an address; null = it is none.</summary>
    internal readonly IPAddress? Address => Payload.Length is 4 or 16 ? new IPAddress(Payload) : null;

    /// <summary>The payload as text, up to its NUL.</summary>
    internal readonly string Text
    {
        get
        {
            var end = Payload.IndexOf((byte)0);
            return Encoding.UTF8.GetString(end < 0 ? Payload : Payload[..end]);
        }
    }

    /// <summary>Goes to the next attribute; false = there is none.</summary>
    internal bool Next()
    {
        if (_rest.Length < 4) return false;
        var length = MemoryMarshal.Read<ushort>(_rest);
        if (length < 4 || length > _rest.Length) return false;
        Type = (ushort)(MemoryMarshal.Read<ushort>(_rest[2..]) & NLA_TYPE_MASK);
        Payload = _rest[4..length];
        _rest = Align(length) <= _rest.Length ? _rest[Align(length)..] : default;
        return true;
    }
}
