namespace K3sFast.ApiMachinery;

/// <summary>Which types fit where, and what the types to be inferred turn out to be.</summary>
internal sealed class CelInference
{
    private Dictionary<string, CelType> _known = [];
    private int _made;

    /// <summary>A new type that is not known yet.</summary>
    internal CelType Fresh() => CelType.Parameter($"_var{_made++}");

    /// <summary>True if a value of the second type may stand where the first is wanted; what that tells of unknown types is kept.</summary>
    internal bool Assign(CelType first, CelType second) => AssignAll([first], [second]);

    /// <inheritdoc cref="Assign"/>
    internal bool AssignAll(ReadOnlySpan<CelType> first, ReadOnlySpan<CelType> second)
    {
        if (first.Length != second.Length)
            return false;
        var before = _known;
        _known = new Dictionary<string, CelType>(before);
        for (int i = 0; i < first.Length; i++)
        {
            if (Fits(first[i], second[i]))
                continue;
            _known = before;
            return false;
        }
        return true;
    }

    /// <summary>The type with what is known put in; what is not known stays or becomes dyn.</summary>
    internal CelType Substitute(CelType type, bool unknownIsDyn)
    {
        if (type.Kind == CelKind.Parameter)
            return _known.TryGetValue(type.Name, out var known) ? Substitute(known, unknownIsDyn) : unknownIsDyn ? CelType.Dyn : type;
        if (type.Parameters.Length == 0)
            return type;
        var parameters = type.Parameters.Select(parameter => Substitute(parameter, unknownIsDyn)).ToArray();
        if (parameters.AsSpan().SequenceEqual(type.Parameters))
            return type;
        return type.Kind switch
        {
            CelKind.List => CelType.List(parameters[0]),
            CelKind.Map => CelType.Map(parameters[0], parameters[1]),
            CelKind.Type => CelType.TypeOf(parameters[0]),
            _ => CelType.Opaque(type.Name, parameters),
        };
    }

    /// <summary>The signature's types with fresh unknowns for its type parameters.</summary>
    internal (CelType[] Args, CelType Result) Instantiate(CelOverload overload)
    {
        if (overload.TypeParameters.Length == 0)
            return (overload.Args, overload.Result);
        var fresh = overload.TypeParameters.ToDictionary(static name => name, _ => Fresh());
        return ([.. overload.Args.Select(arg => Replace(arg, fresh))], Replace(overload.Result, fresh));
    }

    /// <summary>Of two types that fit each other, the one that allows more.</summary>
    internal static CelType MostGeneral(CelType first, CelType second) => IsEqualOrLessSpecific(first, second) ? first : second;

    private static CelType Replace(CelType type, Dictionary<string, CelType> fresh) => type.Kind switch
    {
        CelKind.Parameter => fresh[type.Name],
        _ when type.Parameters.Length == 0 => type,
        CelKind.List => CelType.List(Replace(type.Parameters[0], fresh)),
        CelKind.Map => CelType.Map(Replace(type.Parameters[0], fresh), Replace(type.Parameters[1], fresh)),
        CelKind.Type => CelType.TypeOf(Replace(type.Parameters[0], fresh)),
        _ => CelType.Opaque(type.Name, [.. type.Parameters.Select(parameter => Replace(parameter, fresh))]),
    };

    private bool Fits(CelType first, CelType second)
    {
        if (second.Kind == CelKind.Parameter)
        {
            var (fits, wasKnown) = Bind(first, second);
            if (fits || wasKnown)
                return fits;
        }
        if (first.Kind == CelKind.Parameter)
            return Bind(second, first).Fits;
        if (first.Kind is CelKind.Dyn or CelKind.Error || second.Kind is CelKind.Dyn or CelKind.Error)
            return true;
        if (first.Kind == CelKind.Null)
            return IsNullable(second);
        if (second.Kind == CelKind.Null)
            return IsNullable(first);
        if (first.Kind != second.Kind)
            return false;
        if (first.Kind == CelKind.Type)
            return true;
        if (first.Name != second.Name || first.Parameters.Length != second.Parameters.Length)
            return false;
        for (int i = 0; i < first.Parameters.Length; i++)
        {
            if (!Fits(first.Parameters[i], second.Parameters[i]))
                return false;
        }
        return true;
    }

    private static bool IsNullable(CelType type) => type.Kind is CelKind.Null or CelKind.Opaque or CelKind.Struct or CelKind.Duration or CelKind.Timestamp;

    private (bool Fits, bool WasKnown) Bind(CelType type, CelType unknown)
    {
        if (type.IsExactly(unknown))
            return (true, true);
        if (_known.TryGetValue(unknown.Name, out var known))
        {
            if (type.IsExactly(known))
                return (true, true);
            if (!Fits(type, known))
                return (false, true);
            var general = MostGeneral(type, known);
            if (IsNotWithin(unknown, general))
                _known[unknown.Name] = general;
            return (true, true);
        }
        if (!IsNotWithin(unknown, type))
            return (false, false);
        _known[unknown.Name] = type;
        return (true, false);
    }

    private bool IsNotWithin(CelType unknown, CelType type)
    {
        if (unknown.IsExactly(type))
            return false;
        if (type.Kind == CelKind.Parameter)
            return !_known.TryGetValue(type.Name, out var known) || IsNotWithin(unknown, known);
        foreach (var parameter in type.Parameters)
        {
            if (!IsNotWithin(unknown, parameter))
                return false;
        }
        return true;
    }

    private static bool IsEqualOrLessSpecific(CelType first, CelType second)
    {
        if (first.Kind is CelKind.Dyn or CelKind.Parameter)
            return true;
        if (second.Kind is CelKind.Dyn or CelKind.Parameter || first.Kind != second.Kind)
            return false;
        if (first.Kind is not (CelKind.Opaque or CelKind.List or CelKind.Map))
            return first.Kind == CelKind.Type || first.IsExactly(second);
        if (first.Name != second.Name || first.Parameters.Length != second.Parameters.Length)
            return false;
        for (int i = 0; i < first.Parameters.Length; i++)
        {
            if (!IsEqualOrLessSpecific(first.Parameters[i], second.Parameters[i]))
                return false;
        }
        return true;
    }
}
