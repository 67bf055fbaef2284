using Node = K3sFast.ApiMachinery.CelEstimator.Node;

namespace K3sFast.ApiMachinery;

/// <summary>What a call costs at worst beside its arguments, and how large its result may be; null = nothing is known of it.</summary>
internal static class CelCallEstimates
{
    private const ulong Nominal = 1;

    // The largest pattern behind a named format, in characters, and the longest name of a format.
    private const double FormatPattern = 128;
    private const ulong MaxFormatName = 64;

    private const double PerCharacter = CelCosts.PerCharacter;

    // An address has 4 or 16 bytes.
    private static readonly CelSize s_address = new(4, 16);

    internal static (ulong Cost, CelSize? Size) Of(string function, string overload, Node? target, Node[] args, CelSizeOf sizeOf)
    {
        switch (function)
        {
            case "check":
                return (CelCosts.Check, null);
            case "fieldSelector" or "labelSelector" when args.Length == 1:
                return (Selector(args[0].SizeOrUnknown), null);
            case "isSorted" or "sum" or "max" or "min" or "indexOf" or "lastIndexOf" when target is { } list:
                return (Look(list, sizeOf), null);
            case "url" or "jsonpatch.escapeKey" when args.Length == 1:
                return (args[0].SizeOrUnknown.Cost(PerCharacter), args[0].SizeOrUnknown);
            case "lowerAscii" or "upperAscii" or "substring" or "trim" when target is { } text:
                return (text.SizeOrUnknown.Cost(PerCharacter), text.SizeOrUnknown);
            case "replace" when target is { } text && args.Length >= 2:
                return (text.SizeOrUnknown.Cost(2 * PerCharacter), Replaced(text.SizeOrUnknown, args[0].SizeOrUnknown, args[1].SizeOrUnknown));
            case "split" when target is { } text:
                ulong parts = args.Length > 1 && args[1].Expression is CelExpr.Constant { Value: { Kind: CelKind.Int } count } ? (ulong)count.AsInt : text.SizeOrUnknown.Max;
                return (text.SizeOrUnknown.Cost(2 * PerCharacter), new CelSize(0, parts));
            case "join" when target is { } list:
                var joined = Joined(list, args, sizeOf);
                return (joined.Cost(PerCharacter), joined);
            case "find" or "findAll" when target is { } text && args.Length >= 1:
                return (Match(text.SizeOrUnknown, args[0].SizeOrUnknown), new CelSize(0, text.SizeOrUnknown.Max));
            case "ip" when overload == "cidr_ip":
                return (Nominal, null);
            case "cidr" or "isIP" or "isCIDR" or "ip" or "quantity" or "isQuantity" or "semver" or "isSemver" when args.Length >= 1:
                return (args[0].SizeOrUnknown.Cost(PerCharacter), null);
            case "ip.isCanonical" when args.Length >= 1:
                return (args[0].SizeOrUnknown.Cost(2 * PerCharacter), null);
            case "containsIP" when args.Length >= 1:
                return (CelSize.Add(s_address.Plus(s_address).Cost(PerCharacter), overload == "cidr_contains_ip_string" ? args[0].SizeOrUnknown.Cost(PerCharacter) : 0), null);
            case "containsCIDR" when args.Length >= 1:
                ulong both = s_address.Plus(s_address).Cost(PerCharacter) + s_address.Cost(PerCharacter) + 1;
                return (CelSize.Add(both, overload == "cidr_contains_cidr_string" ? args[0].SizeOrUnknown.Cost(PerCharacter) : 0), null);
            case "validate" when args.Length >= 1:
                return (CelSize.Cost(args[0].SizeOrUnknown.Cost(PerCharacter), FormatPattern * CelCosts.PerPatternCharacter), null);
            case "_==_" when Same(args) is { } cost:
                return (cost, null);
            default:
                return OfOverload(overload, target, args);
        }
    }

    private static (ulong Cost, CelSize? Size) OfOverload(string overload, Node? target, Node[] args)
    {
        switch (overload)
        {
            case "string_format" when target is { } text:
                return (text.SizeOrUnknown.Cost(PerCharacter), null);
            case "string_to_bytes" when args.Length == 1:
                return (args[0].SizeOrUnknown.Cost(PerCharacter), new CelSize(args[0].SizeOrUnknown.Min, unchecked(args[0].SizeOrUnknown.Max * 4)));
            case "bytes_to_string" when args.Length == 1:
                return (args[0].SizeOrUnknown.Cost(PerCharacter), new CelSize(args[0].SizeOrUnknown.Min / 4, args[0].SizeOrUnknown.Max));
            case "strings_quote" when args.Length == 1:
                return (args[0].SizeOrUnknown.Cost(PerCharacter), new CelSize(args[0].SizeOrUnknown.Min + 2, unchecked((args[0].SizeOrUnknown.Max * 2) + 2)));
            case "starts_with_string" or "ends_with_string" when args.Length == 1:
                return (args[0].SizeOrUnknown.Cost(PerCharacter), null);
            case "in_list" when args.Length == 2:
                return (args[1].SizeOrUnknown.Max, null);
            case "matches_string" when target is { } text && args.Length == 1:
                return (Match(text.SizeOrUnknown, args[0].SizeOrUnknown), null);
            case "contains_string" when target is { } text && args.Length == 1:
                return (CelSize.Multiply(text.SizeOrUnknown.Cost(PerCharacter), args[0].SizeOrUnknown.Cost(PerCharacter)), null);
            case "equals" or "not_equals" or "less_string" or "less_equals_string" or "greater_string" or "greater_equals_string"
                or "less_bytes" or "less_equals_bytes" or "greater_bytes" or "greater_equals_bytes":
                return (CelSize.Cost(Math.Min(args[0].SizeOrUnknown.Max, args[1].SizeOrUnknown.Max), PerCharacter), null);
            case "list_sets_contains_list" or "list_sets_intersects_list" or "list_sets_equivalent_list" when args.Length == 2:
                var product = args[0].SizeOrUnknown.Times(args[1].SizeOrUnknown);
                return (CelSize.Add(product.Cost(overload == "list_sets_equivalent_list" ? 2 : 1), Nominal), null);
            case "list_slice" when target is { } list:
                return Made(1, CelSize.Of(unchecked(Number(args[1], list.SizeOrUnknown.Max) - Number(args[0], 0))));
            case "lists_range":
                return Made(1, CelSize.Of(Number(args[0], ulong.MaxValue)));
            case "list_reverse" when target is { } list:
                return Made(1, list.SizeOrUnknown);
            case "list_flatten" or "list_flatten_int" when target is { } list:
                return Made(args.Length == 1 ? Number(args[0], ulong.MaxValue) : 1, list.SizeOrUnknown);
            case "list_distinct" when target is { } list:
                return Made(2, list.SizeOrUnknown.Times(list.SizeOrUnknown));
            default:
                if (target is { } sorted && overload.StartsWith("list_", StringComparison.Ordinal) && overload.EndsWith("_sort", StringComparison.Ordinal))
                    return Sorted(sorted, overload);
                if (args.Length == 1 && overload.EndsWith("_sortByAssociatedKeys", StringComparison.Ordinal))
                    return Sorted(args[0], overload);
                return (Nominal, null);
        }
    }

    private static ulong Selector(CelSize length)
    {
        // The shortest requirement is a key and a comma; each is a list and an object.
        ulong requirements = length.Cost(0.5);
        return CelSize.Add(CelSize.Add((ulong)CelCosts.ListBase, length.Cost(PerCharacter)), CelSize.Cost(requirements, CelCosts.ListBase + CelCosts.StructBase));
    }

    // Every element is looked at, text and bytes character by character; the target of indexOf may also be text.
    private static ulong Look(Node list, CelSizeOf sizeOf)
    {
        if (list.Type.Parameters.Length == 0)
            return list.SizeOrUnknown.Cost(PerCharacter);
        ulong each = list.Type.Parameters[0].Kind is CelKind.String or CelKind.Bytes ? CelSize.Add(1, Element(list, sizeOf).Cost(PerCharacter)) : 1;
        return CelSize.Multiply(list.SizeOrUnknown.Max, each);
    }

    private static CelSize Element(Node list, CelSizeOf sizeOf) => list.Path.Length == 0 ? CelSize.Unknown : sizeOf([.. list.Path, CelEstimator.Items]) ?? CelSize.Unknown;

    private static CelSize Joined(Node list, Node[] args, CelSizeOf sizeOf)
    {
        var size = list.SizeOrUnknown;
        var text = list.Type.Parameters.Length == 0 ? CelSize.Of(0) : size.Times(Element(list, sizeOf));
        if (args.Length == 0)
            return text;
        return text.Plus(args[0].SizeOrUnknown.Times(new CelSize(size.Min > 0 ? size.Min - 1 : 0, size.Max > 0 ? size.Max - 1 : 0)));
    }

    // Longest: the shortest part is replaced by the longest text as often as it fits; an empty part stands around every character. Shortest: the other way round.
    private static CelSize Replaced(CelSize text, CelSize part, CelSize with)
    {
        ulong maxCount = 0, maxKept = 0, minCount = 0, minKept = 0;
        if (part.Min == 0)
        {
            maxCount = CelSize.Add(text.Max, 1);
            maxKept = text.Max;
        }
        else if (with.Max <= part.Min)
        {
            maxKept = text.Max;
        }
        else
        {
            maxCount = Ceiling(text.Max, part.Min);
        }
        if (part.Max == 0)
        {
            minCount = CelSize.Add(text.Min, 1);
            minKept = text.Min;
        }
        else if (part.Max <= with.Min)
        {
            minKept = text.Min;
        }
        else
        {
            minCount = Ceiling(text.Min, part.Max);
        }
        return new CelSize(minCount, maxCount).Times(with).Plus(new CelSize(minKept, maxKept));
    }

    private static ulong Ceiling(ulong count, ulong by) => CelSize.Cost(1, (double)count / by);

    // One more character, so that an empty text still costs its pattern.
    private static ulong Match(CelSize text, CelSize pattern) =>
        CelSize.Multiply(text.Plus(CelSize.Of(1)).Cost(PerCharacter), pattern.Cost(CelCosts.PerPatternCharacter));

    private static ulong? Same(Node[] args)
    {
        if (!args[0].Type.IsExactly(args[1].Type))
            return null;
        string name = args[0].Type.Name;
        if (args[0].Type.Kind == CelKind.Opaque)
            return name == CelAddressLibrary.IPType.Name || name == CelAddressLibrary.CidrType.Name ? Nominal : null;
        if (args[0].Type.Kind != CelKind.Struct)
            return null;
        if (name == CelFormatLibrary.Type.Name)
            return CelSize.Cost(MaxFormatName, PerCharacter);
        if (name == CelUrlLibrary.Type.Name)
            return CelSize.Cost(args[1].Size?.Max ?? 1, PerCharacter);
        return CelLibraries.ExtensionType(name) is not null ? Nominal : null;
    }

    private static (ulong Cost, CelSize? Size) Sorted(Node keys, string overload)
    {
        bool isLong = overload.StartsWith("list_string_", StringComparison.Ordinal) || overload.StartsWith("list_bytes_", StringComparison.Ordinal);
        return Made(isLong ? 2 + PerCharacter : 2, keys.SizeOrUnknown.Times(keys.SizeOrUnknown));
    }

    // A new list of that size.
    private static (ulong Cost, CelSize? Size) Made(double each, CelSize size) => (CelSize.Add(size.Cost(each), Nominal + (ulong)CelCosts.ListBase), size);

    private static ulong Number(Node node, ulong otherwise) =>
        node.Expression is CelExpr.Constant { Value: { Kind: CelKind.Int } number } ? (ulong)Math.Max(number.AsInt, 0) : otherwise;
}
