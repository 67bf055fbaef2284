using System.Buffers;

namespace K3sFast.ApiMachinery;

// What was appended in any order comes into order.
public sealed partial class FieldSet
{
    /// <summary>Brings children that were appended out of order into order and unites equal ones.</summary>
    internal void Sort()
    {
        if (!_hasUnsorted)
            return;
        _hasUnsorted = false;
        for (var node = Root; node < _nodeCount; node++)
        {
            if (_nodes[node].IsUnsorted)
                SortChildren(node);
        }
    }

    private void SortChildren(int node)
    {
        var count = 0;
        for (var child = _nodes[node].First; child != 0; child = _nodes[child].Next)
            count++;
        var children = ArrayPool<int>.Shared.Rent(count);
        var heads = ArrayPool<ulong>.Shared.Rent(count);
        var hasHeads = true;
        for (int i = 0, child = _nodes[node].First; child != 0; child = _nodes[child].Next)
        {
            hasHeads &= ElementOf(child)[0] == ElementOf(_nodes[node].First)[0] && TryGetHead(ElementOf(child), out heads[i]);
            children[i++] = child;
        }
        if (hasHeads)
            SortByHead(heads.AsSpan(0, count), children.AsSpan(0, count));
        else
            SortWhole(children.AsSpan(0, count));
        ArrayPool<ulong>.Shared.Return(heads);
        ref var container = ref _nodes[node];
        container.IsUnsorted = false;
        container.First = container.Last = 0;
        foreach (var child in children.AsSpan(0, count))
        {
            if (_nodes[node].Last is var last and not 0 && PathElement.Compare(ElementOf(last), ElementOf(child)) == 0)
            {
                Unite(last, child);
                continue;
            }
            _nodes[child].Next = 0;
            if (_nodes[node].Last == 0)
                _nodes[node].First = child;
            else
                _nodes[_nodes[node].Last].Next = child;
            _nodes[node].Last = child;
        }
        ArrayPool<int>.Shared.Return(children);
    }

    // Names and texts by their first eight bytes, which tell nearly all of them apart; those that are alike there are looked at whole.
    private void SortByHead(Span<ulong> heads, Span<int> children)
    {
        heads.Sort(children);
        for (int start = 0, end; start < heads.Length; start = end)
        {
            for (end = start + 1; end < heads.Length && heads[end] == heads[start]; end++)
            {
            }
            if (end - start > 1)
                SortWhole(children[start..end]);
        }
    }

    private void SortWhole(Span<int> children) => children.Sort((left, right) =>
    {
        var order = PathElement.Compare(ElementOf(left), ElementOf(right));
        return order != 0 ? order : left - right;
    });

    private static bool TryGetHead(ReadOnlySpan<byte> element, out ulong head)
    {
        head = 0;
        var isText = element[0] == PathElement.Value && element.Length >= 4 && element[2] == '"' && element.IndexOf((byte)'\\') < 0;
        if (element[0] != PathElement.Field && !isText)
            return false;
        var text = isText ? element[3..^1] : element[2..];
        for (var i = 0; i < sizeof(ulong); i++)
            head = (head << 8) | (i < text.Length ? text[i] : (byte)0);
        return true;
    }

    // Hangs the children of an equal node behind those of the first. They come to their order when the loop in Sort reaches the node, which has a
    // higher number than its parent.
    private void Unite(int node, int twin)
    {
        _nodes[node].IsMember |= _nodes[twin].IsMember;
        if (_nodes[twin].First == 0)
            return;
        if (_nodes[node].First == 0)
            _nodes[node].First = _nodes[twin].First;
        else
            _nodes[_nodes[node].Last].Next = _nodes[twin].First;
        _nodes[node].Last = _nodes[twin].Last;
        _nodes[node].IsUnsorted = true;
    }
}
