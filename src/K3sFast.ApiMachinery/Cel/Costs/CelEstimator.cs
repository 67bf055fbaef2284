using System.Runtime.InteropServices;

namespace K3sFast.ApiMachinery;

/// <summary>Tells the size of what stands at a path of names, whose first is a variable's; null = not known.</summary>
internal delegate CelSize? CelSizeOf(string[] path);

/// <summary>
/// Estimates what an expression costs at worst, before it ever runs, in the units of <see cref="CelCosts"/>. Sizes of literals are known, those of variables
/// are asked for by path, those of results follow from the arguments'; what is not known is taken for the largest number.
/// </summary>
/// <remarks>One use. Upstream decides by these figures which rules may be written, so each is a contract.</remarks>
internal sealed class CelEstimator
{
    internal const string Items = "@items";
    internal const string Values = "@values";
    internal const string Keys = "@keys";
    private const string Indices = "@indices";

    private const ulong Step = 1;

    private readonly CelSizeOf _sizeOf;
    private readonly Dictionary<CelExpr, string[]> _paths = [];
    private readonly Dictionary<CelExpr, CelSize> _sizes = [];
    private readonly Dictionary<CelExpr, EntrySize> _entries = [];
    private readonly Dictionary<string, Stack<Local>> _locals = [];

    private CelEstimator(CelSizeOf sizeOf) => _sizeOf = sizeOf;

    /// <summary>The most that the expression may cost.</summary>
    internal static ulong WorstCase(CelExpr tree, CelSizeOf sizeOf) => new CelEstimator(sizeOf).Cost(tree);

    private ulong Cost(CelExpr expression) => expression switch
    {
        CelExpr.Ident ident => Ident(ident, ident.Name.TrimStart('.')),
        CelExpr.Select { Variable: { } name } => Ident(expression, name.TrimStart('.')),
        CelExpr.Select select => Select(select),
        CelExpr.Call call => Call(call),
        CelExpr.ListOf list => List(list),
        CelExpr.MapOf map => Map(map),
        CelExpr.StructOf message => CelSize.Add(Sum(message.Children), (ulong)CelCosts.StructBase),
        CelExpr.Loop { IsBinding: true } binding => Binding(binding),
        CelExpr.Loop loop => Loop(loop),
        _ => 0,
    };

    private ulong Sum(IEnumerable<CelExpr> parts)
    {
        ulong sum = 0;
        foreach (var part in parts)
            sum = CelSize.Add(sum, Cost(part));
        return sum;
    }

    private ulong Ident(CelExpr expression, string name)
    {
        _paths[expression] = Find(name)?.Path ?? [name];
        return Step;
    }

    private ulong Select(CelExpr.Select select)
    {
        ulong cost = Cost(select.Operand);
        if (select.IsTest)
            return cost;
        _paths[select] = [.. PathOf(select.Operand), select.Field];
        return select.Operand.Type.Kind is CelKind.Map or CelKind.Struct or CelKind.Parameter ? CelSize.Add(cost, Step) : cost;
    }

    private ulong Call(CelExpr.Call call)
    {
        if (call.Function == "dyn")
        {
            ulong inner = Cost(call.Args[0]);
            CopySizes(call, call.Args[0]);
            return CelSize.Add(inner, Step);
        }
        var args = new Node[call.Args.Length];
        var costs = new ulong[args.Length];
        for (int i = 0; i < args.Length; i++)
        {
            costs[i] = Cost(call.Args[i]);
            args[i] = NodeOf(call.Args[i]);
        }
        if (call.Overloads.Count == 0)
            return 0;
        ulong targetCost = 0;
        Node? target = null;
        if (call.IsMember)
        {
            targetCost = Cost(call.Target!);
            target = NodeOf(call.Target!);
        }
        ulong most = 0;
        CelSize? size = null;
        foreach (var overload in call.Overloads)
        {
            var (cost, result) = Overload(call, overload.Id, target, args, costs);
            most = Math.Max(most, cost);
            if (result is { } known)
                size = size is { } before ? before.Or(known) : known;
            if (overload.Id is "index_list" or "index_map")
            {
                size = EntryOf(call.Args[0])?.Value;
                _paths[call] = [.. PathOf(call.Args[0]), overload.Id == "index_list" ? Items : Values];
            }
            size ??= SizeOf(call);
        }
        SetSize(call, size);
        return CelSize.Add(targetCost, most);
    }

    private (ulong Cost, CelSize? Size) Overload(CelExpr.Call call, string overload, Node? target, Node[] args, ulong[] costs)
    {
        ulong sum = 0;
        foreach (ulong cost in costs)
            sum = CelSize.Add(sum, cost);
        switch (overload)
        {
            case "logical_or" or "logical_and":
                return (CelSize.Add(costs[0], costs[1]), null);
            case "conditional":
                if (EntryOf(args[1].Expression!) is { } ifTrue && EntryOf(args[2].Expression!) is { } ifFalse)
                    _entries[call] = ifTrue.Or(ifFalse);
                return (CelSize.Add(costs[0], Math.Max(costs[1], costs[2])), args[1].SizeOrUnknown.Or(args[2].SizeOrUnknown));
            case "add_string" or "add_bytes" or "add_list":
                if (EntryOf(args[0].Expression!) is { } left && EntryOf(args[1].Expression!) is { } right)
                    _entries[call] = left.Or(right);
                var joined = args[0].SizeOrUnknown.Plus(args[1].SizeOrUnknown);
                return (CelSize.Add(sum, overload == "add_list" ? Step : joined.Cost(CelCosts.PerCharacter)), joined);
            default:
                var estimate = CelCallEstimates.Of(call.IsQualified ? call.Declared!.Name : call.Function, overload, target, args, _sizeOf);
                return (CelSize.Add(sum, estimate.Cost), estimate.Size);
        }
    }

    private ulong List(CelExpr.ListOf list)
    {
        ulong cost = 0;
        var item = list.Elements.Length == 0 ? CelSize.Of(0) : CelSize.None;
        foreach (var element in list.Elements)
        {
            cost = CelSize.Add(cost, Cost(element));
            item = item.Or(SizeOf(element) ?? CelSize.Unknown);
        }
        _entries[list] = new EntrySize(CelKind.List, CelSize.Of(1), item);
        return CelSize.Add(cost, (ulong)CelCosts.ListBase);
    }

    private ulong Map(CelExpr.MapOf map)
    {
        ulong cost = 0;
        CelSize key = map.Entries.Length == 0 ? CelSize.Of(0) : CelSize.None, value = key;
        foreach (var entry in map.Entries)
        {
            cost = CelSize.Add(CelSize.Add(cost, Cost(entry.Key)), Cost(entry.Value));
            key = key.Or(SizeOf(entry.Key) ?? CelSize.Unknown);
            value = value.Or(SizeOf(entry.Value) ?? CelSize.Unknown);
        }
        _entries[map] = new EntrySize(CelKind.Map, key, value);
        return CelSize.Add(cost, (ulong)CelCosts.MapBase);
    }

    private ulong Binding(CelExpr.Loop binding)
    {
        ulong cost = CelSize.Add(Cost(binding.Range), Cost(binding.Init));
        Push(binding.AccuVariable, new Local(PathOf(binding.Init), SizeOf(binding.Init), EntryOf(binding.Init)));
        cost = CelSize.Add(cost, Cost(binding.Result));
        _locals[binding.AccuVariable].Pop();
        CopySizes(binding, binding.Result);
        return cost;
    }

    private ulong Loop(CelExpr.Loop loop)
    {
        ulong cost = CelSize.Add(Cost(loop.Range), Cost(loop.Init));
        Push(loop.AccuVariable, new Local(PathOf(loop.Init), SizeOf(loop.Init), EntryOf(loop.Init)));
        var entry = EntryOf(loop.Range);
        bool isList = (entry?.Container ?? loop.Range.Type.Kind) == CelKind.List;
        var path = PathOf(loop.Range);
        if (loop.Variable2 is { } second)
        {
            Push(loop.Variable, new Local([.. path, isList ? Indices : Keys], entry?.Key, null));
            Push(second, new Local([.. path, isList ? Items : Values], entry?.Value, null));
        }
        else
        {
            Push(loop.Variable, new Local([.. path, isList ? Items : Keys], isList ? entry?.Value : entry?.Key, null));
        }
        ulong each = CelSize.Add(Cost(loop.Condition), Cost(loop.Step));
        _locals[loop.Variable].Pop();
        if (loop.Variable2 is not null)
            _locals[loop.Variable2].Pop();
        cost = CelSize.Add(cost, Cost(loop.Result));
        _locals[loop.AccuVariable].Pop();

        var count = SizeOf(loop.Range) ?? CelSize.Unknown;
        if (loop.Init is CelExpr.Constant)
        {
            SetSize(loop, SizeOf(loop.Init));
        }
        else if (loop.Init is CelExpr.ListOf or CelExpr.MapOf)
        {
            SetSize(loop, count);
            if (EntryOf(loop.Step) is { } made)
                _entries[loop] = made;
        }
        return CelSize.Add(cost, CelSize.Multiply(count.Max, each));
    }

    private void Push(string name, Local local)
    {
        ref var stack = ref CollectionsMarshal.GetValueRefOrAddDefault(_locals, name, out _);
        (stack ??= new Stack<Local>()).Push(local);
    }

    private Local? Find(string name) => _locals.TryGetValue(name, out var stack) && stack.TryPeek(out var local) ? local : null;

    private Local? LocalOf(CelExpr expression) => expression is CelExpr.Ident ident ? Find(ident.Name.TrimStart('.')) : null;

    private string[] PathOf(CelExpr expression) => LocalOf(expression)?.Path ?? _paths.GetValueOrDefault(expression) ?? [];

    private Node NodeOf(CelExpr expression) => new(expression, expression.Type, PathOf(expression), SizeOf(expression));

    private void SetSize(CelExpr expression, CelSize? size)
    {
        if (size is { } known)
            _sizes[expression] = known;
    }

    private void CopySizes(CelExpr to, CelExpr from)
    {
        SetSize(to, SizeOf(from));
        if (EntryOf(from) is { } entry)
            _entries[to] = entry;
    }

    private EntrySize? EntryOf(CelExpr expression) => _entries.TryGetValue(expression, out var entry) ? entry : LocalOf(expression)?.Entry;

    // What was worked out, what stands there, what is declared, what the type says, what the loop knows.
    private CelSize? SizeOf(CelExpr expression)
    {
        if (_sizes.TryGetValue(expression, out var known))
            return known;
        switch (expression)
        {
            case CelExpr.Constant constant:
                return CelSize.Of((ulong)CelCosts.ActualSize(constant.Value));
            case CelExpr.ListOf list:
                return CelSize.Of((ulong)list.Elements.Length);
            case CelExpr.MapOf map:
                return CelSize.Of((ulong)map.Entries.Length);
        }
        if (PathOf(expression) is { Length: > 0 } path && _sizeOf(path) is { } declared)
            return _sizes[expression] = declared;
        return IsScalar(expression.Type) ? CelSize.Of(1) : LocalOf(expression)?.Size;
    }

    private static bool IsScalar(CelType type) =>
        type.Kind is CelKind.Bool or CelKind.Double or CelKind.Duration or CelKind.Int or CelKind.Timestamp or CelKind.Uint || type.IsOptional && IsScalar(type.Parameters[0]);

    /// <summary>An argument or target of a call.</summary>
    internal readonly record struct Node(CelExpr? Expression, CelType Type, string[] Path, CelSize? Size)
    {
        internal CelSize SizeOrUnknown => Size ?? CelSize.Unknown;
    }

    /// <summary>The sizes of the keys (of a list: places) and values of a container.</summary>
    private readonly record struct EntrySize(CelKind Container, CelSize Key, CelSize Value)
    {
        internal EntrySize Or(EntrySize other) => new(Container, Key.Or(other.Key), Value.Or(other.Value));
    }

    private sealed record Local(string[] Path, CelSize? Size, EntrySize? Entry);
}
