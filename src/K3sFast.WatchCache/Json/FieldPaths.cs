using System.Text;

namespace K3sFast.WatchCache.Json;

/// <summary>The members that a resource's selectable fields lead to, as a tree that is walked beside the JSON. Immutable.</summary>
internal sealed class FieldPaths
{
    public FieldPaths(IReadOnlyList<string> paths)
    {
        Paths = [.. paths];
        for (int i = 0; i < Paths.Length; i++)
        {
            var node = Root;
            foreach (string step in Paths[i].TrimStart('.').Split('.')) node = node.GetOrAdd(Encoding.UTF8.GetBytes(step));
            node.FieldIndex = i;
        }
        Metadata = Root.Find("metadata"u8);
        HasOthers = Root.Children > (Metadata is null ? 0 : 1);
    }

    public string[] Paths { get; }

    public Node Root { get; } = new([]);

    /// <summary>The node of metadata, if a path leads there.</summary>
    public Node? Metadata { get; }

    /// <summary>True = a path leads to another member of the object than its metadata.</summary>
    public bool HasOthers { get; }

    internal sealed class Node(byte[] name)
    {
        private Node[] _children = [];

        /// <summary>Which selectable field this is; -1 = only on the way to one.</summary>
        public int FieldIndex { get; set; } = -1;

        public int Children => _children.Length;

        public bool HasChildren => _children.Length > 0;

        private byte[] Name { get; } = name;

        public Node? Find(ReadOnlySpan<byte> name)
        {
            foreach (var child in _children)
            {
                if (name.SequenceEqual(child.Name)) return child;
            }
            return null;
        }

        public Node GetOrAdd(byte[] name)
        {
            if (Find(name) is { } found) return found;
            var added = new Node(name);
            _children = [.. _children, added];
            return added;
        }
    }
}
