namespace K3sFast.ApiMachinery;

/// <summary>
/// The members of one big object by name, so that a body made of very many keys costs a lookup for each and no search. It follows what is appended by
/// itself and is told what is taken out; whatever else happens to the object, its document forgets the index.
/// </summary>
/// <remarks>Open addressing over member nodes, with the elder sibling of each, which the document's singly linked list does not have.</remarks>
internal sealed class MemberIndex
{
    private const int Removed = -1;

    private int[] _slots = [];
    private int[] _elders = [];
    private int _used;
    private int _members;
    private int _last;

    /// <summary>The first member of that name and its elder sibling (0 for none); 0 when there is none.</summary>
    internal int Find(ApiObject document, int parent, ReadOnlySpan<byte> name, out int elder)
    {
        Follow(document, parent);
        for (var slot = SlotOf(name); _slots[slot] != 0; slot = (slot + 1) & (_slots.Length - 1))
        {
            var member = _slots[slot];
            if (member == Removed || !document.NameOf(member).SequenceEqual(name))
                continue;
            elder = _elders[slot];
            return member;
        }
        elder = 0;
        return 0;
    }

    /// <summary>Notes that a member goes; called while it is still linked.</summary>
    internal void Remove(ApiObject document, int parent, int elder, int member)
    {
        Follow(document, parent);
        var next = document[member].Next;
        if (next != 0)
            _elders[SlotOfMember(document, next)] = elder;
        else
            _last = elder;
        _slots[SlotOfMember(document, member)] = Removed;
        _members--;
    }

    private void Follow(ApiObject document, int parent)
    {
        ref var container = ref document[parent];
        if ((_used + container.Count - _members) * 2 >= _slots.Length)
        {
            var size = 256;
            while (size < container.Count * 4)
                size *= 2;
            _slots = new int[size];
            _elders = new int[size];
            _used = _members = _last = 0;
        }
        var elder = _last;
        for (var member = elder == 0 ? container.First : document[elder].Next; member != 0; member = document[member].Next)
        {
            var slot = SlotOf(document.NameOf(member));
            while (_slots[slot] != 0)
                slot = (slot + 1) & (_slots.Length - 1);
            _slots[slot] = member;
            _elders[slot] = elder;
            _used++;
            _members++;
            elder = member;
        }
        _last = elder;
    }

    private int SlotOfMember(ApiObject document, int member)
    {
        var slot = SlotOf(document.NameOf(member));
        while (_slots[slot] != member)
            slot = (slot + 1) & (_slots.Length - 1);
        return slot;
    }

    // The hash is seeded for the process, so that nobody can make keys that meet in one slot.
    private int SlotOf(ReadOnlySpan<byte> name)
    {
        var hash = new HashCode();
        hash.AddBytes(name);
        return hash.ToHashCode() & (_slots.Length - 1);
    }
}
