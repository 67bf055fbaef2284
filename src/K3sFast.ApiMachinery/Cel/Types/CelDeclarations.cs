namespace K3sFast.ApiMachinery;

/// <summary>A function's body. Arguments are values; strict functions never see errors.</summary>
internal delegate CelValue CelCall(ReadOnlySpan<CelValue> args);

/// <summary>One signature of a function; for members the first argument is the target.</summary>
internal sealed class CelOverload(string id, bool isMember, CelType[] args, CelType result, CelCall? body)
{
    internal string Id { get; } = id;

    internal bool IsMember { get; } = isMember;

    internal CelType[] Args { get; } = args;

    internal CelType Result { get; } = result;

    internal CelCall? Body { get; } = body;

    /// <summary>The names of the types that are inferred at each call.</summary>
    internal string[] TypeParameters { get; } = [.. args.Append(result).SelectMany(Names).Distinct()];

    /// <summary>True if values of these kinds may be given at run time.</summary>
    internal bool Accepts(ReadOnlySpan<CelValue> values)
    {
        if (values.Length != Args.Length)
            return false;
        for (int i = 0; i < values.Length; i++)
        {
            var type = Args[i];
            if (type.Kind is CelKind.Dyn or CelKind.Parameter)
                continue;
            if (values[i].Kind != type.Kind)
                return false;
            if (type.Kind is CelKind.Struct or CelKind.Opaque && values[i].TypeName != type.Name)
                return false;
        }
        return true;
    }

    private static IEnumerable<string> Names(CelType type) => type.Kind == CelKind.Parameter ? [type.Name] : type.Parameters.SelectMany(Names);
}

/// <summary>A function: its signatures, and one body for all of them where the values' own kinds decide.</summary>
internal sealed class CelFunction(string name, CelOverload[] overloads, CelCall? body = null)
{
    internal string Name { get; } = name;

    internal CelOverload[] Overloads { get; } = overloads;

    internal CelCall? Body { get; } = body;

    /// <summary>This one with the signatures of another library behind its own.</summary>
    internal CelFunction With(CelFunction other) => new(Name, [.. Overloads, .. other.Overloads], Body ?? other.Body);
}
