namespace K3sFast.ApiMachinery;

/// <summary>One member of an object: its name (valid until the document is disposed) and its value.</summary>
public readonly struct ApiMember
{
    internal ApiMember(ApiNode value) => Value = value;

    /// <summary>The member's name without escapes.</summary>
    public ReadOnlySpan<byte> Name => Value.Name;

    /// <summary>The member's value.</summary>
    public ApiNode Value { get; }
}

/// <summary>Members of an object in document order; empty for any other node. Allocates nothing.</summary>
public readonly struct MemberEnumerable
{
    private readonly ApiNode _object;

    internal MemberEnumerable(ApiNode node) => _object = node;

    /// <summary>For foreach.</summary>
    public Enumerator GetEnumerator() => new(_object.Kind == NodeKind.Object ? _object : default);

    /// <summary>Walks the members. The next member is noted before the current one is handed out, so the current one may be removed.</summary>
    public struct Enumerator
    {
        private readonly ApiObject? _document;
        private int _current;
        private int _next;

        internal Enumerator(ApiNode node)
        {
            _document = node.IsDefined ? node.Document : null;
            _next = node.IsDefined ? node.Document[node.Index].First : 0;
        }

        /// <summary>The current member.</summary>
        public readonly ApiMember Current => new(new ApiNode(_document!, _current));

        /// <summary>Goes to the next member.</summary>
        public bool MoveNext()
        {
            _current = _next;
            if (_current == 0)
                return false;
            _next = _document![_current].Next;
            return true;
        }
    }
}

/// <summary>Elements of an array in order; empty for any other node. Allocates nothing.</summary>
public readonly struct ElementEnumerable
{
    private readonly ApiNode _array;

    internal ElementEnumerable(ApiNode node) => _array = node;

    /// <summary>For foreach.</summary>
    public Enumerator GetEnumerator() => new(_array.Kind == NodeKind.Array ? _array : default);

    /// <summary>Walks the elements. The next element is noted before the current one is handed out, so the current one may be removed.</summary>
    public struct Enumerator
    {
        private readonly ApiObject? _document;
        private int _current;
        private int _next;

        internal Enumerator(ApiNode node)
        {
            _document = node.IsDefined ? node.Document : null;
            _next = node.IsDefined ? node.Document[node.Index].First : 0;
        }

        /// <summary>The current element.</summary>
        public readonly ApiNode Current => new(_document!, _current);

        /// <summary>Goes to the next element.</summary>
        public bool MoveNext()
        {
            _current = _next;
            if (_current == 0)
                return false;
            _next = _document![_current].Next;
            return true;
        }
    }
}
