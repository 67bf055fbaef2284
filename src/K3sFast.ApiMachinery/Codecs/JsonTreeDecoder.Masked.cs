namespace K3sFast.ApiMachinery;

// Documents of which only a part becomes a tree.
internal ref partial struct JsonTreeDecoder
{
    /// <summary>The parts that the mask takes, as a free document. What it does not take is passed, not looked at.</summary>
    public int DecodePart(ReadMask mask)
    {
        var root = DecodeMasked(mask);
        _scanner.ExpectEnd();
        return root;
    }

    private int DecodeMasked(ReadMask mask)
    {
        if (ReferenceEquals(mask, ReadMask.Everything))
            return DecodeFree();
        return _scanner.Peek() switch
        {
            (byte)'{' => DecodeMaskedObject(mask),
            (byte)'[' => DecodeMaskedArray(mask),
            _ => DecodeFree(),
        };
    }

    private int DecodeMaskedObject(ReadMask mask)
    {
        if (!TryOpen(NodeKind.Object, out var node))
            return node;
        do
        {
            var (start, length) = TakeName();
            var wanted = mask.For(_document.Text(start, length));
            _scanner.Peek();
            if (ReferenceEquals(wanted, ReadMask.Nothing) && _scanner.TrySkip())
                continue;
            AddMember(node, DecodeMasked(wanted), start, length, 0);
        }
        while (HasNextMember());
        DropDuplicates(node);
        return node;
    }

    private int DecodeMaskedArray(ReadMask mask)
    {
        if (!TryOpen(NodeKind.Array, out var node))
            return node;
        do
        {
            _document.Link(node, DecodeMasked(mask));
        }
        while (HasNextElement());
        return node;
    }
}
