namespace K3sFast.ApiMachinery;

/// <summary>How the fields of one type stand on the protobuf wire, for who meets them in the order of JSON. Immutable; made once per type.</summary>
internal sealed class WireLayout
{
    private readonly FieldSchema[] _fields;
    private readonly short[] _places;

    // By ordinal + 1. Threads overwrite each other's notes; any of them is a guess that is checked.
    private readonly FieldSchema?[] _followers;
    private readonly byte[] _absent;
    private readonly int[] _absentStarts;

    public WireLayout(TypeSchema type)
    {
        _fields = [.. type.ByProtoNumber];
        _places = new short[type.Fields.Length];
        _followers = new FieldSchema?[type.Fields.Length + 1];
        Array.Fill(_places, (short)-1);
        IsInJsonOrder = true;
        var writer = new ProtoWriter(256);
        _absentStarts = new int[_fields.Length + 1];
        var ordinal = -1;
        for (var place = 0; place < _fields.Length; place++)
        {
            var field = _fields[place];
            if (field.Inline)
            {
                HasInlined = true;
            }
            else
            {
                _places[field.Ordinal] = (short)place;
                IsInJsonOrder &= field.Ordinal > ordinal;
                ordinal = Math.Max(ordinal, field.Ordinal);
                if (field.IsAlwaysOnWire)
                    ProtoTreeEncoder.WriteElement(ref writer, field, default);
            }
            _absentStarts[place + 1] = writer.Length;
        }
        _absent = writer.Written.ToArray();
        writer.Dispose();
    }

    /// <summary>The fields in the order of their numbers. An inlined one stands for a message of its own, whose members are among the type's.</summary>
    public ReadOnlySpan<FieldSchema> Fields => _fields;

    /// <summary>True when canonical JSON brings the fields in the order of their numbers.</summary>
    public bool IsInJsonOrder { get; }

    /// <summary>True when one of the fields is inlined.</summary>
    public bool HasInlined { get; }

    /// <summary>The place of a field of the type among <see cref="Fields"/>; -1 when it is on the wire of an inlined message, or not at all.</summary>
    public int PlaceOf(FieldSchema field) => _places[field.Ordinal];

    /// <summary>The field that followed the one of that ordinal in the last object of the type, or came first (-1): objects resemble each other.</summary>
    public FieldSchema? After(int ordinal) => _followers[ordinal + 1];

    /// <summary>Notes what followed.</summary>
    public void Note(int ordinal, FieldSchema follower) => _followers[ordinal + 1] = follower;

    /// <summary>What stands on the wire for fields that are absent: the zero values of what is no pointer. Inlined ones are left out.</summary>
    public ReadOnlySpan<byte> Absent(int from, int to) => _absent.AsSpan(_absentStarts[from].._absentStarts[to]);
}
