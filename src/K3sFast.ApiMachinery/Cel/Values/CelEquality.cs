namespace K3sFast.ApiMachinery;

/// <summary>Equality and order: numbers of different kinds compare by value; values of different kinds are not equal and have no order.</summary>
internal static class CelEquality
{
    /// <summary>True, false, or the error of an extension's own comparison.</summary>
    internal static CelValue Equal(CelValue first, CelValue second)
    {
        if (first.Kind is CelKind.Int or CelKind.Uint or CelKind.Double)
            return CelValue.Of(second.Kind is CelKind.Int or CelKind.Uint or CelKind.Double && CelNumbers.Compare(first, second) == 0);
        if (first.Kind == CelKind.Null || second.Kind == CelKind.Null)
            return CelValue.Of(first.Kind == second.Kind);
        if (first.Reference is ICelObject extension)
            return extension.EqualTo(second);
        // Objects of the API compare as the maps that they are.
        bool areMaps = first.Kind is CelKind.Map or CelKind.Struct && second.Kind is CelKind.Map or CelKind.Struct && second.Reference is CelMap;
        if (first.Kind != second.Kind && !areMaps)
            return CelValue.False;
        return CelValue.Of(first.Kind switch
        {
            CelKind.Bool => first.AsBool == second.AsBool,
            CelKind.String => first.AsString == second.AsString,
            CelKind.Bytes => first.AsBytes.AsSpan().SequenceEqual(second.AsBytes),
            CelKind.Duration => first.AsInt == second.AsInt,
            CelKind.Timestamp => first.AsInt == second.AsInt && first.Nanos == second.Nanos,
            CelKind.Type => first.AsType.Name == second.AsType.Name,
            CelKind.List => AreEqual(first.AsList, second.AsList),
            CelKind.Map or CelKind.Struct => AreEqual(first.AsMap, second.AsMap),
            _ => false,
        });
    }

    private static bool AreEqual(CelList first, CelList second)
    {
        if (first.Count != second.Count)
            return false;
        for (int i = 0; i < first.Count; i++)
        {
            if (!Equal(first[i], second[i]).IsTrue)
                return false;
        }
        return true;
    }

    internal static bool AreEqual(CelMap first, CelMap second)
    {
        if (first.Count != second.Count)
            return false;
        foreach (var key in first.Keys)
        {
            if (!first.TryGet(key, out var mine) || !second.TryGet(key, out var theirs) || !Equal(mine, theirs).IsTrue)
                return false;
        }
        return true;
    }

    /// <summary>Less, equal, greater as -1, 0, 1; an error when the two have no order.</summary>
    internal static CelValue Compare(CelValue first, CelValue second)
    {
        if (first.Kind is CelKind.Int or CelKind.Uint or CelKind.Double && second.Kind is CelKind.Int or CelKind.Uint or CelKind.Double)
        {
            if (first.Kind == CelKind.Double && double.IsNaN(first.AsDouble) || second.Kind == CelKind.Double && double.IsNaN(second.AsDouble))
                return CelValue.Error("NaN values cannot be ordered");
            return CelValue.Of((long)CelNumbers.Compare(first, second));
        }
        if (first.Kind != second.Kind)
            return CelValue.NoSuchOverload;
        return first.Kind switch
        {
            CelKind.Bool => CelValue.Of((long)first.AsBool.CompareTo(second.AsBool)),
            CelKind.String => CelValue.Of((long)Math.Sign(CompareText(first.AsString, second.AsString))),
            CelKind.Bytes => CelValue.Of((long)Math.Sign(first.AsBytes.AsSpan().SequenceCompareTo(second.AsBytes))),
            CelKind.Duration => CelValue.Of((long)first.AsInt.CompareTo(second.AsInt)),
            CelKind.Timestamp => CelValue.Of((long)(first.AsInt != second.AsInt ? first.AsInt.CompareTo(second.AsInt) : first.Nanos.CompareTo(second.Nanos))),
            _ => CelValue.NoSuchOverload,
        };
    }

    /// <summary>Order of the UTF-8 bytes, which differs from that of UTF-16 units where surrogates stand.</summary>
    internal static int CompareText(string first, string second)
    {
        int common = first.AsSpan().CommonPrefixLength(second);
        if (common == first.Length || common == second.Length)
            return first.Length - second.Length;
        char left = first[common], right = second[common];
        bool leftIsPair = char.IsSurrogate(left), rightIsPair = char.IsSurrogate(right);
        return leftIsPair == rightIsPair ? left - right : leftIsPair ? 1 : -1;
    }
}
