namespace K3sFast.ApiMachinery;

/// <summary>What the walkers over typed objects share: the way back, the places of fields in a message, and indexes of lists.</summary>
/// <remarks>One thread at a time; kept per thread and reused, so a walk allocates nothing once its arrays have grown.</remarks>
internal abstract class TypedWalker
{
    private readonly Stack<ListIndex> _spareIndexes = new();
    private int[] _slots = new int[256];
    private int _slotsUsed;

    protected FieldTrail Trail { get; } = new();

    /// <summary>managedFields owns everything but itself.</summary>
    protected static bool IsManagedFields(FieldSchema field) => ReferenceEquals(field.Element, s_entryType);

    private static readonly TypeSchema? s_entryType = Schema.BuiltIn.FindType("io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry");

    /// <summary>The metadata of an object, or of a template.</summary>
    protected static bool IsMetadata(in TypedPlace place) => ReferenceEquals(place.Type, s_metadataType);

    private static readonly TypeSchema? s_metadataType = Schema.BuiltIn.FindType("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");

    protected void Restart()
    {
        Trail.Clear();
        _slotsUsed = 0;
    }

    protected ListIndex RentIndex() => _spareIndexes.TryPop(out var index) ? index : new ListIndex();

    protected void ReturnIndex(ListIndex index) => _spareIndexes.Push(index);

    /// <summary>Room for the fields of a message; give it back by <see cref="ReleaseSlots"/>.</summary>
    protected int ReserveSlots(int count)
    {
        if (_slots.Length < _slotsUsed + count)
            Array.Resize(ref _slots, Math.Max(_slots.Length * 2, _slotsUsed + count));
        var start = _slotsUsed;
        _slots.AsSpan(start, count).Clear();
        _slotsUsed += count;
        return start;
    }

    protected void ReleaseSlots(int start) => _slotsUsed = start;

    protected int Slot(int index) => _slots[index];

    /// <summary>Notes where the members of a node stand among the fields of its type. True when it has members that the type does not know.</summary>
    protected bool FillSlots(ApiNode node, TypeSchema type, int start) => FieldSlots.Fill(node, type, _slots.AsSpan(start, type.Fields.Length));

    /// <summary>The member of a node that a slot stands for; undefined for an empty slot.</summary>
    protected ApiNode MemberAt(ApiNode node, int slot) => _slots[slot] == 0 ? default : new ApiNode(node.Document, _slots[slot]);

    /// <summary>What a free value may be taken for: null fits everything.</summary>
    protected static NodeKind AtomOf(in TypedValue value) => !value.HasContent ? NodeKind.Undefined : value.Node.Kind switch
    {
        NodeKind.Object => NodeKind.Object,
        NodeKind.Array => NodeKind.Array,
        _ => NodeKind.String,
    };
}
