namespace K3sFast.ApiMachinery;

/// <summary>Where a walker is, as references only; it becomes text when a path is put into a set. Owned by one walker.</summary>
internal sealed class FieldTrail
{
    private struct Step
    {
        public FieldSchema? Field;
        public ApiNode Member;
        public ListIndex? List;
        public int Element;
    }

    private Step[] _steps = new Step[32];

    public int Depth { get; private set; }

    public void Clear() => Depth = 0;

    public void Push(FieldSchema field) => Next().Field = field;

    /// <summary>A member of a map; its name is the key.</summary>
    public void Push(ApiNode member) => Next().Member = member;

    public void Push(ListIndex list, int element)
    {
        ref var step = ref Next();
        step.List = list;
        step.Element = element;
    }

    public void Pop() => Depth--;

    /// <summary>Puts the step into a set, below a node.</summary>
    public int AppendTo(FieldSet set, int parent, int depth)
    {
        ref var step = ref _steps[depth];
        if (step.Field is not null)
            return set.Append(parent, PathElement.Field, step.Field.JsonNameUtf8);
        return step.List is null ? set.Append(parent, PathElement.Field, step.Member.Name) : set.Append(parent, step.List.PathOf(step.Element));
    }

    private ref Step Next()
    {
        if (Depth == _steps.Length)
            Array.Resize(ref _steps, Depth * 2);
        ref var step = ref _steps[Depth++];
        step = default;
        return ref step;
    }
}

/// <summary>Puts the places of a trail into a set; steps that are there from the last time are not looked up again. Owned by one walker.</summary>
internal sealed class FieldSetWriter
{
    // Real objects stay below 30; deeper places of a hostile one are owned by what is above them.
    private const int MaxDepth = 256;

    private readonly int[] _nodes = new int[MaxDepth + 1];
    private FieldSet? _set;
    private int _valid;

    public void Begin(FieldSet set)
    {
        _set = set;
        _valid = 0;
        _nodes[0] = FieldSet.Root;
    }

    /// <summary>The trail has lost steps: what is deeper is no longer where the next path goes.</summary>
    public void Left(int depth) => _valid = Math.Min(_valid, depth);

    public void Add(FieldTrail trail)
    {
        var depth = Math.Min(trail.Depth, MaxDepth);
        // The top of an object has no owner.
        if (depth == 0)
            return;
        for (; _valid < depth; _valid++)
            _nodes[_valid + 1] = trail.AppendTo(_set!, _nodes[_valid], _valid);
        _set!.SetMember(_nodes[depth]);
    }
}
