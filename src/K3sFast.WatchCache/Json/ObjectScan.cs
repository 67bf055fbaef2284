namespace K3sFast.WatchCache.Json;

/// <summary>
/// One pass over an object's JSON that notes where its identity, labels and selectable fields are, and where its resourceVersion
/// belongs. Offsets are into the JSON as given, before the resourceVersion is put in.
/// </summary>
internal ref struct ObjectScan
{
    private readonly ReadOnlySpan<byte> _json;
    private readonly Span<TextRange> _fields;

    private ObjectScan(ReadOnlySpan<byte> json, Span<TextRange> fields)
    {
        _json = json;
        _fields = fields;
    }

    public TextRange Name { get; private set; }

    public TextRange Namespace { get; private set; }

    public TextRange Uid { get; private set; }

    public TextRange Labels { get; private set; }

    /// <summary>The longest list of fields that one manager owns (a fieldsV1 of managedFields): what objects of one maker have in common. Nothing else noted lies in it.</summary>
    public TextRange Owned { get; private set; }

    /// <summary>The text from here for <see cref="Removed"/> bytes gives way to <c>"resourceVersion":"…"</c>; -1 = no metadata.</summary>
    public int SpliceAt { get; private set; }

    public int Removed { get; private set; }

    /// <summary>A member stands right before the splice: a comma must come first.</summary>
    public bool NeedsCommaBefore { get; private set; }

    /// <summary>A member follows the splice: a comma must come after.</summary>
    public bool NeedsCommaAfter { get; private set; }

    /// <summary>Scans; <paramref name="fields"/> receives the selectable fields' places (length 0 = absent).</summary>
    public static ObjectScan Run(ReadOnlySpan<byte> json, FieldPaths paths, Span<TextRange> fields)
    {
        var scan = new ObjectScan(json, fields) { SpliceAt = -1 };
        var walk = new JsonScanner(json);
        walk.EnterObject();
        while (walk.NextMember(out var name))
        {
            if (!name.SequenceEqual("metadata"u8) || walk.Peek() != '{')
            {
                scan.ScanMember(ref walk, paths.Root.Find(name));
                continue;
            }
            scan.ScanMetadata(ref walk, paths.Metadata);
            // Everything that is wanted is found: what follows is passed without a look at its members.
            if (!paths.HasOthers) walk.SkipRest();
        }
        return scan;
    }

    private void ScanMetadata(ref JsonScanner walk, FieldPaths.Node? node)
    {
        walk.EnterObject();
        SpliceAt = walk.Position;
        bool isOpen = true;
        while (walk.NextMember(out var name))
        {
            int memberStart = walk.MemberStart;
            int valueStart = walk.Position;
            var member = node?.Find(name);
            if (member is null && name.SequenceEqual("managedFields"u8) && walk.Peek() == '[') ScanOwners(ref walk);
            else ScanMember(ref walk, member);
            Note(name, new TextRange(valueStart, walk.Position - valueStart));
            if (name.SequenceEqual("resourceVersion"u8))
            {
                (SpliceAt, Removed) = (memberStart, walk.Position - memberStart);
                NeedsCommaBefore = NeedsCommaAfter = isOpen = false;
            }
            else if (isOpen && Precedes(name))
            {
                SpliceAt = walk.Position;
                NeedsCommaBefore = true;
            }
            else if (isOpen)
            {
                // The first member behind resourceVersion's place: the comma before it, if any, now stands before ours.
                SpliceAt = memberStart;
                NeedsCommaBefore = isOpen = false;
                NeedsCommaAfter = true;
            }
        }
    }

    private void ScanOwners(ref JsonScanner walk)
    {
        walk.EnterArray();
        while (walk.NextElement())
        {
            if (walk.Peek() != '{')
            {
                walk.SkipValue();
                continue;
            }
            walk.EnterObject();
            while (walk.NextMember(out var name))
            {
                int start = walk.Position;
                walk.SkipValue();
                if (walk.Position - start > Owned.Length && name.SequenceEqual("fieldsV1"u8)) Owned = new TextRange(start, walk.Position - start);
            }
        }
    }

    /// <summary>The members of metadata that come before resourceVersion in the canonical order (the order of ObjectMeta's fields).</summary>
    private static bool Precedes(ReadOnlySpan<byte> name) =>
        name.SequenceEqual("name"u8) || name.SequenceEqual("generateName"u8) || name.SequenceEqual("namespace"u8)
        || name.SequenceEqual("selfLink"u8) || name.SequenceEqual("uid"u8);

    private void Note(ReadOnlySpan<byte> name, TextRange value)
    {
        if (name.SequenceEqual("name"u8)) Name = value.Unquoted(_json);
        else if (name.SequenceEqual("namespace"u8)) Namespace = value.Unquoted(_json);
        else if (name.SequenceEqual("uid"u8)) Uid = value.Unquoted(_json);
        else if (name.SequenceEqual("labels"u8) && _json[value.Start] == '{') Labels = value;
    }

    private void ScanMember(ref JsonScanner walk, FieldPaths.Node? node)
    {
        if (node is null)
        {
            walk.SkipValue();
            return;
        }
        int start = walk.Position;
        if (walk.Peek() == '{' && node.HasChildren)
        {
            walk.EnterObject();
            while (walk.NextMember(out var name)) ScanMember(ref walk, node.Find(name));
            return;
        }
        walk.SkipValue();
        // null is absence; objects and arrays are not selectable.
        if (node.FieldIndex < 0 || _json[start] is (byte)'{' or (byte)'[' or (byte)'n') return;
        _fields[node.FieldIndex] = new TextRange(start, walk.Position - start).Unquoted(_json);
    }
}

/// <summary>A piece of a text.</summary>
internal readonly record struct TextRange(int Start, int Length)
{
    public int End => Start + Length;

    /// <summary>Without the quotes, if it has them.</summary>
    public TextRange Unquoted(ReadOnlySpan<byte> json) => Length >= 2 && json[Start] == '"' ? new TextRange(Start + 1, Length - 2) : this;

    public TextRange Shift(int by) => this with { Start = Start + by };
}
