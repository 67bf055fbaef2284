namespace K3sFast.ApiMachinery;

/// <summary>A node of a parsed expression. The checker writes its type, and what names and calls mean, into the node.</summary>
internal abstract class CelExpr(int offset)
{
    /// <summary>Where the node stands in the source, in UTF-16 units; for operators and calls the place of the sign.</summary>
    internal int Offset { get; } = offset;

    /// <summary>The type, once checked.</summary>
    internal CelType Type { get; set; } = CelType.Dyn;

    /// <summary>How deep the tree is from here: bounded by the parser, so that every walk is.</summary>
    internal virtual int Depth => 1;

    /// <summary>A deep copy.</summary>
    internal abstract CelExpr Copy();

    /// <summary>The nodes right below.</summary>
    internal abstract IEnumerable<CelExpr> Children { get; }

    internal sealed class Constant(int offset, CelValue value) : CelExpr(offset)
    {
        internal CelValue Value { get; } = value;

        internal override CelExpr Copy() => new Constant(Offset, Value);

        internal override IEnumerable<CelExpr> Children => [];
    }

    internal sealed class Ident(int offset, string name) : CelExpr(offset)
    {
        internal string Name { get; } = name;

        /// <summary>The place of a loop's variable among the locals, once checked; -1 for what the environment declares.</summary>
        internal int Slot { get; set; } = -1;

        internal override CelExpr Copy() => new Ident(Offset, Name);

        internal override IEnumerable<CelExpr> Children => [];
    }

    internal sealed class Select(int offset, CelExpr operand, string field, bool isTest) : CelExpr(offset)
    {
        internal CelExpr Operand { get; } = operand;

        internal string Field { get; } = field;

        internal bool IsTest { get; } = isTest;

        /// <summary>The declared variable of a dotted name that the whole selection is; null when it selects.</summary>
        internal string? Variable { get; set; }

        internal override int Depth { get; } = operand.Depth + 1;

        internal override CelExpr Copy() => new Select(Offset, Operand.Copy(), Field, IsTest);

        internal override IEnumerable<CelExpr> Children => [Operand];
    }

    internal sealed class Call(int offset, string function, CelExpr? target, CelExpr[] args) : CelExpr(offset)
    {
        internal string Function { get; } = function;

        internal CelExpr? Target { get; } = target;

        internal CelExpr[] Args { get; } = args;

        /// <summary>The overloads that may be meant, once checked.</summary>
        internal List<CelOverload> Overloads { get; } = [];

        /// <summary>The function, once checked.</summary>
        internal CelFunction? Declared { get; set; }

        /// <summary>True when the target is not a value but part of the function's dotted name.</summary>
        internal bool IsQualified { get; set; }

        internal bool IsMember => Target is not null && !IsQualified;

        /// <summary>True when the overload of that name may be meant.</summary>
        internal bool May(string overload) => Overloads.Exists(candidate => candidate.Id == overload);

        internal override int Depth { get; } = Math.Max(target?.Depth ?? 0, args.Length == 0 ? 0 : args.Max(static arg => arg.Depth)) + 1;

        internal override CelExpr Copy() => new Call(Offset, Function, Target?.Copy(), [.. Args.Select(static arg => arg.Copy())]);

        internal override IEnumerable<CelExpr> Children => Target is null || IsQualified ? Args : [Target, .. Args];
    }

    /// <summary>Elements; those with a mark are left out when their optional is empty.</summary>
    internal sealed class ListOf(int offset, CelExpr[] elements, bool[] isOptional) : CelExpr(offset)
    {
        internal CelExpr[] Elements { get; } = elements;

        internal bool[] IsOptional { get; } = isOptional;

        internal override int Depth { get; } = (elements.Length == 0 ? 0 : elements.Max(static element => element.Depth)) + 1;

        internal override CelExpr Copy() => new ListOf(Offset, [.. Elements.Select(static element => element.Copy())], IsOptional);

        internal override IEnumerable<CelExpr> Children => Elements;
    }

    internal sealed record Entry(int Offset, CelExpr Key, CelExpr Value, bool IsOptional);

    internal sealed class MapOf(int offset, Entry[] entries) : CelExpr(offset)
    {
        internal Entry[] Entries { get; } = entries;

        internal override int Depth { get; } = (entries.Length == 0 ? 0 : entries.Max(static entry => Math.Max(entry.Key.Depth, entry.Value.Depth))) + 1;

        internal override CelExpr Copy() => new MapOf(Offset, [.. Entries.Select(static entry => new Entry(entry.Offset, entry.Key.Copy(), entry.Value.Copy(), entry.IsOptional))]);

        internal override IEnumerable<CelExpr> Children => Entries.SelectMany(static entry => (CelExpr[])[entry.Key, entry.Value]);
    }

    internal sealed record FieldOf(int Offset, string Name, CelExpr Value, bool IsOptional);

    internal sealed class StructOf(int offset, string typeName, FieldOf[] fields) : CelExpr(offset)
    {
        internal string TypeName { get; } = typeName;

        internal FieldOf[] Fields { get; } = fields;

        internal override int Depth { get; } = (fields.Length == 0 ? 0 : fields.Max(static member => member.Value.Depth)) + 1;

        internal override CelExpr Copy() => new StructOf(Offset, TypeName, [.. Fields.Select(static member => new FieldOf(member.Offset, member.Name, member.Value.Copy(), member.IsOptional))]);

        internal override IEnumerable<CelExpr> Children => Fields.Select(static member => member.Value);
    }

    /// <summary>A loop over a list or a map, which all macros become: accu = init; for each: if !condition break; accu = step; result.</summary>
    internal sealed class Loop(int offset, CelExpr range, string variable, string? variable2, string accuVariable, CelExpr init, CelExpr condition, CelExpr step, CelExpr result) : CelExpr(offset)
    {
        internal CelExpr Range { get; } = range;

        internal string Variable { get; } = variable;

        internal string? Variable2 { get; } = variable2;

        internal string AccuVariable { get; } = accuVariable;

        internal CelExpr Init { get; } = init;

        internal CelExpr Condition { get; } = condition;

        internal CelExpr Step { get; } = step;

        internal CelExpr Result { get; } = result;

        /// <summary>The place of the accumulator among the locals; the other variables follow. Set by the checker.</summary>
        internal int Slot { get; set; }

        /// <summary>True when this only gives a value a name: the range is empty and the result uses the accumulator.</summary>
        internal bool IsBinding => Range is ListOf { Elements.Length: 0 } && Condition is Constant { Value: { Kind: CelKind.Bool, AsBool: false } } && AccuVariable != CelMacros.Accumulator;

        internal override int Depth { get; } = new[] { range, init, condition, step, result }.Max(static part => part.Depth) + 1;

        internal override CelExpr Copy() => new Loop(Offset, Range.Copy(), Variable, Variable2, AccuVariable, Init.Copy(), Condition.Copy(), Step.Copy(), Result.Copy());

        internal override IEnumerable<CelExpr> Children => [Range, Init, Condition, Step, Result];
    }
}
