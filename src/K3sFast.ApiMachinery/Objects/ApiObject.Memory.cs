using System.Buffers;
using System.Runtime.CompilerServices;

namespace K3sFast.ApiMachinery;

// The document's memory: documents, nodes and text are pooled; what a document has outgrown is kept until it is returned.
public sealed partial class ApiObject
{
    private const int InitialNodes = 256;
    private const int InitialText = 4096;

    // A returned document keeps arrays up to these sizes; bigger ones go back to the shared pool, so that one huge body does not stay resident.
    private const int MaxKeptNodes = 8192;
    private const int MaxKeptText = 256 * 1024;

    private static readonly ApiObject?[] s_pool = new ApiObject?[16];

    private List<byte[]>? _outgrown;
    private bool _isReturned;

    private ApiObject(int textCapacity) => Reset(textCapacity);

    /// <summary>Returns the document's memory. Handles and spans are invalid from here on. A second call in a row does nothing.</summary>
    public void Dispose()
    {
        if (_isReturned)
            return;
        _isReturned = true;
        ReleaseOutgrown();
        if (_nodes.Length > MaxKeptNodes)
            ReturnNodes();
        if (_text.Length > MaxKeptText)
            ReturnText();
        for (var i = 0; i < s_pool.Length; i++)
        {
            if (Volatile.Read(ref s_pool[i]) is null && Interlocked.CompareExchange(ref s_pool[i], this, null) is null)
                return;
        }
        ReturnNodes();
        ReturnText();
    }

    /// <summary>A pooled document without any node, for codecs that build it.</summary>
    internal static ApiObject RentForDecode(int textCapacity)
    {
        for (var i = 0; i < s_pool.Length; i++)
        {
            var pooled = Volatile.Read(ref s_pool[i]);
            if (pooled is not null && Interlocked.CompareExchange(ref s_pool[i], null, pooled) == pooled)
            {
                pooled.Reset(textCapacity);
                return pooled;
            }
        }
        return new ApiObject(textCapacity);
    }

    private void Reset(int textCapacity)
    {
        _isReturned = false;
        MaxNodes = int.MaxValue;
        RootIndex = 0;
        _nodeCount = 1;
        _textLength = 0;
        _indexes = null;
        _elementIndexes = null;
        _lastArray = 0;
        if (_nodes.Length == 0)
            _nodes = ArrayPool<Node>.Shared.Rent(InitialNodes);
        _nodes[0] = default;
        if (_text.Length < textCapacity || _text.Length == 0)
        {
            ReturnText();
            _text = ArrayPool<byte>.Shared.Rent(Math.Max(textCapacity, InitialText));
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void GrowNodes()
    {
        if (_nodeCount >= MaxNodes)
            throw ApiStatus.RequestEntityTooLarge($"the object has more than {MaxNodes} values").ToException();
        var grown = ArrayPool<Node>.Shared.Rent(_nodes.Length * 2);
        _nodes.AsSpan(0, _nodeCount).CopyTo(grown);
        ArrayPool<Node>.Shared.Return(_nodes);
        _nodes = grown;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void GrowText(int needed)
    {
        var grown = ArrayPool<byte>.Shared.Rent(checked(Math.Max(_text.Length * 2, _textLength + needed)));
        _text.AsSpan(0, _textLength).CopyTo(grown);
        (_outgrown ??= []).Add(_text);
        _text = grown;
    }

    private void ReleaseOutgrown()
    {
        if (_outgrown is null)
            return;
        foreach (var buffer in _outgrown)
            ArrayPool<byte>.Shared.Return(buffer);
        _outgrown.Clear();
    }

    private void ReturnNodes()
    {
        if (_nodes.Length > 0)
            ArrayPool<Node>.Shared.Return(_nodes);
        _nodes = [];
    }

    private void ReturnText()
    {
        if (_text.Length > 0)
            ArrayPool<byte>.Shared.Return(_text);
        _text = [];
    }
}
