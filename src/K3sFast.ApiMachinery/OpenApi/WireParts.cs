namespace K3sFast.ApiMachinery;

/// <summary>A protobuf message in pieces: fields that are written already, in order. A nested message's length is known when its pieces are.</summary>
internal sealed class WireParts
{
    private readonly List<byte[]> _parts = [];

    internal IReadOnlyList<byte[]> Parts => _parts;

    internal int Length { get; private set; }

    internal void Add(byte[] fields)
    {
        _parts.Add(fields);
        Length += fields.Length;
    }

    internal void Add(WireParts fields)
    {
        _parts.AddRange(fields._parts);
        Length += fields.Length;
    }

    /// <summary>Adds the pieces as one field.</summary>
    internal void Add(int number, WireParts message)
    {
        var head = new ProtoWriter(16);
        head.Tag(number, ProtoWriter.Bytes);
        head.Number((ulong)message.Length);
        Add(head.Written.ToArray());
        head.Dispose();
        Add(message);
    }
}
