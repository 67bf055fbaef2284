namespace K3sFast.ApiMachinery;

/// <summary>What calls cost at run time, in upstream's units: about one for a step, a tenth for a character, a quarter for a character of a pattern.</summary>
internal static class CelCosts
{
    internal const long ListBase = 10;
    internal const long MapBase = 30;
    internal const long StructBase = 40;
    internal const double PerCharacter = 0.1;
    internal const double PerPatternCharacter = 0.25;

    /// <summary>A question to the authorizer: so much that a few of them use up a call's budget.</summary>
    internal const long Check = 350_000;

    /// <summary>What the call cost, by its function and by the overload that was taken (null when the values' kinds decided).</summary>
    internal static long OfCall(CelExpr.Call call, CelOverload? overload, ReadOnlySpan<CelValue> args, CelValue result)
    {
        switch (call.Function)
        {
            case "check":
                return Check;
            case "fieldSelector" or "labelSelector" when args.Length >= 2:
                long length = ActualSize(args[1]);
                return ListBase + Ceiling(length * PerCharacter) + Ceiling(Math.Ceiling(length * 0.5) * (ListBase + StructBase));
            case "isSorted" or "sum" or "max" or "min" or "indexOf" or "lastIndexOf":
                return Traversal(args[0]);
            case "url" or "lowerAscii" or "upperAscii" or "substring" or "trim" or "jsonpatch.escapeKey" or "cidr" or "isIP" or "isCIDR" or "quantity" or "isQuantity" or "semver" or "isSemver"
                or "startsWith" or "endsWith" or "bytes" or "strings.quote" or "format":
                return Ceiling(ActualSize(args[0]) * PerCharacter);
            case "string" when args[0].Kind == CelKind.Bytes:
                return Ceiling(ActualSize(args[0]) * PerCharacter);
            case "ip" when call.Qualified() == "ip.isCanonical":
                return Ceiling(ActualSize(args[0]) * 2 * PerCharacter);
            case "isCanonical" or "replace" or "split":
                return Ceiling(ActualSize(args[0]) * 2 * PerCharacter);
            case "ip":
                return overload?.Id == "cidr_ip" ? 1 : Ceiling(ActualSize(args[0]) * PerCharacter);
            case "join":
                return Ceiling(ActualSize(result) * 2 * PerCharacter);
            case "find" or "findAll" or "matches":
                return Ceiling((1 + ActualSize(args[0])) * PerCharacter) * Ceiling(ActualSize(args[1]) * PerPatternCharacter);
            case "containsIP":
                return Ceiling(2 * ActualSize(args[0]) * PerCharacter) + (args[1].Kind == CelKind.String ? Ceiling(ActualSize(args[1]) * PerCharacter) : 0);
            case "containsCIDR":
                return Ceiling(2 * ActualSize(args[0]) * PerCharacter) + Ceiling(ActualSize(args[0]) * PerCharacter) + 1
                    + (args[1].Kind == CelKind.String ? Ceiling(ActualSize(args[1]) * PerCharacter) : 0);
            case "validate" when args[0].Reference is CelFormat format:
                return Ceiling((1 + ActualSize(args[1])) * PerCharacter) * Ceiling(format.PatternSize * PerPatternCharacter);
            case "contains" when args[0].Kind == CelKind.String:
                return Ceiling(ActualSize(args[0]) * PerCharacter) * Ceiling(ActualSize(args[1]) * PerCharacter);
            case "contains" or "intersects" or "equivalent" when args[0].Kind == CelKind.List:
                return 1 + (ActualSize(args[0]) * ActualSize(args[1]) * (call.Function == "equivalent" ? 2 : 1));
            case "slice" or "range":
                return 1 + ListBase + ActualSize(result);
            case "reverse" when args[0].Kind == CelKind.List:
                return 1 + ListBase + ActualSize(result);
            case "flatten":
                return 1 + ListBase + (ActualSize(args[0]) * (args.Length == 2 ? args[1].AsInt : 1));
            case "distinct" or "sort":
                return SelfComparison(args[0]);
            case "@sortByAssociatedKeys":
                return SelfComparison(args[1]);
            case "_==_" or "_!=_":
                if (args[0].Reference is ICelObject and not (CelOptional or CelStruct))
                    return 1;
                return Ceiling(Math.Min(ActualSize(args[0]), ActualSize(args[1])) * PerCharacter);
            case "_<_" or "_<=_" or "_>_" or "_>=_" when args[0].Kind is CelKind.String or CelKind.Bytes:
                return Ceiling(Math.Min(ActualSize(args[0]), ActualSize(args[1])) * PerCharacter);
            case "_+_" when args[0].Kind is CelKind.String or CelKind.Bytes:
                return Ceiling((ActualSize(args[0]) + ActualSize(args[1])) * PerCharacter);
            case "@in" when args[1].Kind == CelKind.List:
                return ActualSize(args[1]);
            default:
                return 1;
        }
    }

    private static string Qualified(this CelExpr.Call call) => call.Declared?.Name ?? call.Function;

    internal static long Ceiling(double cost) => (long)Math.Ceiling(cost);

    /// <summary>Characters, bytes, elements or members; 1 for what has no size.</summary>
    internal static long ActualSize(CelValue value) => value.Kind switch
    {
        CelKind.String => CelIssues.CodePoints(value.AsString),
        CelKind.Bytes => value.AsBytes.Length,
        CelKind.List => value.AsList.Count,
        CelKind.Map => value.AsMap.Count,
        CelKind.Struct or CelKind.Opaque => value.Reference is CelMap map ? map.Count : ((ICelObject)value.Reference!).CostSize,
        _ => 1,
    };

    private static long SelfComparison(CelValue list)
    {
        long size = ActualSize(list);
        double factor = size > 0 && list.AsList[0].Kind is CelKind.String or CelKind.Bytes ? 2 + PerCharacter : 2;
        return (long)(size * size * factor) + 1 + ListBase;
    }

    private static long Traversal(CelValue value)
    {
        switch (value.Kind)
        {
            case CelKind.String:
                return (long)(System.Text.Encoding.UTF8.GetByteCount(value.AsString) * PerCharacter);
            case CelKind.Bytes:
                return (long)(value.AsBytes.Length * PerCharacter);
            case CelKind.List:
                long cost = 0;
                for (int i = 0; i < value.AsList.Count; i++)
                    cost += Traversal(value.AsList[i]);
                return cost;
            case CelKind.Map:
                cost = 0;
                foreach (var key in value.AsMap.Keys)
                    cost += Traversal(key) + (value.AsMap.TryGet(key, out var member) ? Traversal(member) : 0);
                return cost;
            default:
                return 1;
        }
    }
}
