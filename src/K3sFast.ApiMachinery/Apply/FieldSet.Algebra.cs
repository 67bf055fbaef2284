namespace K3sFast.ApiMachinery;

public sealed partial class FieldSet
{
    /// <summary>Adds every path of the other set.</summary>
    public void UnionWith(FieldSet other) => Union(Root, other, Root);

    /// <summary>Takes out every path that is in the other set; what lies below such a path stays.</summary>
    public void Subtract(FieldSet other) => Subtract(Root, other, Root, isRecursive: false);

    /// <summary>Takes out every path that is in the other set, with everything below it.</summary>
    public void SubtractRecursive(FieldSet other) => Subtract(Root, other, Root, isRecursive: true);

    /// <summary>The paths that are in both sets, as a new set.</summary>
    public FieldSet Intersect(FieldSet other)
    {
        var both = Rent();
        Intersect(both, Root, Root, other, Root);
        return both;
    }

    /// <summary>True if every path of this set is in the other one.</summary>
    public bool IsSubsetOf(FieldSet other) => IsSubsetOf(Root, other, Root);

    /// <summary>True if both sets have the same paths.</summary>
    public bool SetEquals(FieldSet other) => IsSubsetOf(other) && other.IsSubsetOf(this);

    /// <summary>True if the path of dotted field names is in the set.</summary>
    public bool Contains(string path)
    {
        var node = Root;
        foreach (var name in path.Split('.'))
        {
            node = ChildField(node, System.Text.Encoding.UTF8.GetBytes(name));
            if (node == 0)
                return false;
        }
        return _nodes[node].IsMember;
    }

    private void Union(int node, FieldSet other, int otherNode)
    {
        StackGuard.Enter();
        int previous = 0, mine = _nodes[node].First, theirs = other._nodes[otherNode].First;
        while (theirs != 0)
        {
            var order = mine == 0 ? 1 : PathElement.Compare(ElementOf(mine), other.ElementOf(theirs));
            if (order < 0)
            {
                previous = mine;
                mine = _nodes[mine].Next;
                continue;
            }
            if (order > 0)
            {
                previous = InsertAfter(node, previous, other.ElementOf(theirs));
                _nodes[previous].IsMember = other._nodes[theirs].IsMember;
                CopyChildren(previous, other, theirs);
            }
            else
            {
                _nodes[mine].IsMember |= other._nodes[theirs].IsMember;
                Union(mine, other, theirs);
                previous = mine;
                mine = _nodes[mine].Next;
            }
            theirs = other._nodes[theirs].Next;
        }
    }

    private void Subtract(int node, FieldSet other, int otherNode, bool isRecursive)
    {
        StackGuard.Enter();
        int previous = 0, mine = _nodes[node].First, theirs = other._nodes[otherNode].First;
        while (mine != 0 && theirs != 0)
        {
            var order = PathElement.Compare(ElementOf(mine), other.ElementOf(theirs));
            if (order > 0)
            {
                theirs = other._nodes[theirs].Next;
                continue;
            }
            var next = _nodes[mine].Next;
            var isGone = false;
            if (order == 0)
            {
                var isNamed = other._nodes[theirs].IsMember;
                if (isNamed)
                    _nodes[mine].IsMember = false;
                if (isNamed && isRecursive)
                    _nodes[mine].First = _nodes[mine].Last = 0;
                else
                    Subtract(mine, other, theirs, isRecursive);
                isGone = !_nodes[mine].IsMember && _nodes[mine].First == 0;
                theirs = other._nodes[theirs].Next;
            }
            if (isGone)
                Unlink(node, previous, mine);
            else
                previous = mine;
            mine = next;
        }
    }

    private void Intersect(FieldSet both, int into, int node, FieldSet other, int otherNode)
    {
        StackGuard.Enter();
        int mine = _nodes[node].First, theirs = other._nodes[otherNode].First;
        while (mine != 0 && theirs != 0)
        {
            var order = PathElement.Compare(ElementOf(mine), other.ElementOf(theirs));
            if (order < 0)
            {
                mine = _nodes[mine].Next;
                continue;
            }
            if (order == 0)
            {
                var last = both._nodes[into].Last;
                var child = both.Append(into, ElementOf(mine));
                both._nodes[child].IsMember = _nodes[mine].IsMember && other._nodes[theirs].IsMember;
                Intersect(both, child, mine, other, theirs);
                if (!both._nodes[child].IsMember && both._nodes[child].First == 0)
                    both.Unlink(into, last, child);
                mine = _nodes[mine].Next;
            }
            theirs = other._nodes[theirs].Next;
        }
    }

    private bool IsSubsetOf(int node, FieldSet other, int otherNode)
    {
        StackGuard.Enter();
        int mine = _nodes[node].First, theirs = other._nodes[otherNode].First;
        while (mine != 0)
        {
            if (theirs == 0)
                return false;
            var order = PathElement.Compare(ElementOf(mine), other.ElementOf(theirs));
            if (order < 0)
                return false;
            if (order == 0)
            {
                if ((_nodes[mine].IsMember && !other._nodes[theirs].IsMember) || !IsSubsetOf(mine, other, theirs))
                    return false;
                mine = _nodes[mine].Next;
            }
            theirs = other._nodes[theirs].Next;
        }
        return true;
    }

    private void CopyChildren(int into, FieldSet other, int otherNode)
    {
        StackGuard.Enter();
        for (var theirs = other._nodes[otherNode].First; theirs != 0; theirs = other._nodes[theirs].Next)
        {
            var child = Append(into, other.ElementOf(theirs));
            _nodes[child].IsMember = other._nodes[theirs].IsMember;
            CopyChildren(child, other, theirs);
        }
    }

    private int InsertAfter(int parent, int previous, ReadOnlySpan<byte> element)
    {
        if (previous == _nodes[parent].Last)
            return Append(parent, element);
        // Linked at the end first, then moved to its place.
        var last = _nodes[parent].Last;
        var wasUnsorted = _nodes[parent].IsUnsorted;
        var node = Append(parent, element);
        _nodes[parent].IsUnsorted = wasUnsorted;
        _nodes[parent].Last = last;
        _nodes[last].Next = 0;
        if (previous == 0)
        {
            _nodes[node].Next = _nodes[parent].First;
            _nodes[parent].First = node;
        }
        else
        {
            _nodes[node].Next = _nodes[previous].Next;
            _nodes[previous].Next = node;
        }
        return node;
    }

    private void Unlink(int parent, int previous, int child)
    {
        if (previous == 0)
            _nodes[parent].First = _nodes[child].Next;
        else
            _nodes[previous].Next = _nodes[child].Next;
        if (_nodes[parent].Last == child)
            _nodes[parent].Last = previous;
        _nodes[child].Next = 0;
    }
}
