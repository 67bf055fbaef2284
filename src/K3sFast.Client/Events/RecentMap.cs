using System.Diagnostics.CodeAnalysis;

namespace K3sFast.Client;

/// <summary>A bounded map that forgets what was not used for the longest time. One thread.</summary>
internal sealed class RecentMap<TValue>(int capacity) where TValue : class
{
    private readonly Dictionary<string, LinkedListNode<(string Key, TValue Value)>> _nodes = [];
    private readonly LinkedList<(string Key, TValue Value)> _order = new();

    internal int Count => _nodes.Count;

    internal TValue? Find(string key)
    {
        if (!TryUse(key, out var node))
            return null;
        return node.Value.Value;
    }

    internal void Set(string key, TValue value)
    {
        if (TryUse(key, out var node))
        {
            node.Value = (key, value);
            return;
        }
        if (_nodes.Count >= capacity)
        {
            _nodes.Remove(_order.First!.Value.Key);
            _order.RemoveFirst();
        }
        _nodes.Add(key, _order.AddLast((key, value)));
    }

    private bool TryUse(string key, [NotNullWhen(true)] out LinkedListNode<(string Key, TValue Value)>? node)
    {
        if (!_nodes.TryGetValue(key, out node))
            return false;
        _order.Remove(node);
        _order.AddLast(node);
        return true;
    }
}
