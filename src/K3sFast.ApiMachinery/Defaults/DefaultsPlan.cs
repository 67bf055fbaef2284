using System.Collections.Concurrent;

namespace K3sFast.ApiMachinery;

/// <summary>
/// What defaulting does to one type: its own rules, then the fields below which there are more. Plans are made from the schema
/// on first use and shared; a field that leads to no rule is in no plan, so a walk touches only paths that can matter.
/// </summary>
internal sealed class DefaultsPlan
{
    private static readonly ConcurrentDictionary<string, DefaultsPlan?> s_plans = new();
    private static readonly Lock s_gate = new();

    private readonly DefaultsLiteral[] _literals;
    private readonly Action<ApiNode>? _code;
    private readonly Child[] _children;

    private DefaultsPlan(DefaultsLiteral[] literals, Action<ApiNode>? code, Child[] children)
    {
        _literals = literals;
        _code = code;
        _children = children;
    }

    /// <summary>Upstream defaults a struct that the document leaves out: true when this type, or a struct inside it, has rules.</summary>
    private bool AppliesToAbsent => _literals.Length > 0 || _code is not null || Array.Exists(_children, static child => child.CreateWhenAbsent);

    /// <summary>The plan of a type; null when neither it nor anything below it has a rule.</summary>
    internal static DefaultsPlan? For(TypeSchema type)
    {
        if (s_plans.TryGetValue(type.FullName, out var plan))
            return plan;
        lock (s_gate)
            return Build(type, []);
    }

    /// <summary>Applies the plan. The type's own code runs first: it may need to see what was left out. Allocates nothing.</summary>
    internal void Apply(ApiNode node)
    {
        _code?.Invoke(node);
        foreach (var literal in _literals)
            literal.Apply(node);
        foreach (var child in _children)
        {
            var value = node[child.Name];
            switch (value.Kind)
            {
                case NodeKind.Object when child.Shape == FieldCardinality.One:
                    child.Plan.Apply(value);
                    break;
                case NodeKind.Object when child.Shape == FieldCardinality.Map:
                    foreach (var member in value.Members)
                        if (member.Value.Kind == NodeKind.Object)
                            child.Plan.Apply(member.Value);
                    break;
                case NodeKind.Array when child.Shape == FieldCardinality.List:
                    foreach (var element in value.Elements)
                        if (element.Kind == NodeKind.Object)
                            child.Plan.Apply(element);
                    break;
                case NodeKind.Undefined or NodeKind.Null when child.CreateWhenAbsent:
                    node.Remove(child.Name);
                    child.Plan.Apply(node.GetOrAddObject(child.Name));
                    break;
            }
        }
    }

    private static DefaultsPlan? Build(TypeSchema type, HashSet<string> building)
    {
        if (s_plans.TryGetValue(type.FullName, out var known))
            return known;
        // A type that contains itself (JSON schema) has no rules: the inner visit may answer "nothing".
        if (!building.Add(type.FullName))
            return null;
        var children = new List<Child>();
        foreach (var field in type.Fields)
        {
            if (field.Element is not { } element || Build(element, building) is not { } plan)
                continue;
            var shape = field.Cardinality;
            bool create = shape == FieldCardinality.One && !field.Pointer && plan.AppliesToAbsent;
            children.Add(new Child(field.JsonNameUtf8.ToArray(), shape, plan, create));
        }
        var literals = LiteralsOf(type);
        var code = DefaultingRules.For(type.FullName);
        var made = literals.Length == 0 && code is null && children.Count == 0 ? null : new DefaultsPlan(literals, code, children.ToArray());
        building.Remove(type.FullName);
        s_plans[type.FullName] = made;
        return made;
    }

    // The fields of an inlined type stand in the type itself, and so do their rules.
    private static DefaultsLiteral[] LiteralsOf(TypeSchema type)
    {
        var literals = DefaultsTable.For(type.FullName);
        foreach (var field in type.Declared)
            if (field.Inline && field.Element is { } inlined && LiteralsOf(inlined) is { Length: > 0 } more)
                literals = [.. literals, .. more];
        return literals;
    }

    private sealed record Child(byte[] Name, FieldCardinality Shape, DefaultsPlan Plan, bool CreateWhenAbsent);
}
