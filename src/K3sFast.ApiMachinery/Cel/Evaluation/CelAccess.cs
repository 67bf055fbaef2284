namespace K3sFast.ApiMachinery;

/// <summary>Members of values: fields by name, elements by place, entries by key.</summary>
internal static class CelAccess
{
    /// <summary>The field or entry of that name. What has no members has none of that name.</summary>
    internal static bool TryField(CelValue operand, string name, out CelValue member)
    {
        if (operand.Reference is CelMap map)
            return map.TryGet(name, out member);
        member = default;
        if (operand.Kind != CelKind.List)
            return false;
        member = CelValue.Error("unsupported index type 'string' in list");
        return true;
    }

    /// <summary>The element or entry; an error as the member for a key of the wrong kind.</summary>
    internal static bool TryMember(CelValue operand, CelValue key, out CelValue member)
    {
        if (operand.Reference is CelMap map)
            return map.TryGet(key, out member);
        member = default;
        if (operand.Kind != CelKind.List)
            return false;
        if (!TryPlace(key, out long place))
        {
            member = CelValue.Error(key.Kind is CelKind.Double or CelKind.Uint ? $"unsupported index value {CelText.Print(key)} in list" : $"unsupported index type '{key.TypeName}' in list");
            return true;
        }
        var list = operand.AsList;
        if (place < 0 || place >= list.Count)
            return false;
        member = list[(int)place];
        return true;
    }

    private static bool TryPlace(CelValue key, out long place)
    {
        place = key.Kind == CelKind.Double ? (long)key.AsDouble : key.AsInt;
        return key.Kind == CelKind.Int || key.Kind == CelKind.Uint && key.AsUint <= long.MaxValue || key.Kind == CelKind.Double && key.AsDouble == place;
    }
}
