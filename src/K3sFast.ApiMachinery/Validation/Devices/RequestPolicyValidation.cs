namespace K3sFast.ApiMachinery;

/// <summary>Validation of the policy by which a device's capacity is shared out: single values, or a range with steps.</summary>
internal static class RequestPolicyValidation
{
    private const int MaxOptions = 10;

    internal static void Check(At at, ApiNode capacity, ApiNode policy)
    {
        var values = policy["validValues"u8];
        var range = policy["validRange"u8];
        bool hasDefault = Quantity.TryParse(policy["default"u8].Utf8, out var byDefault);
        Quantity.TryParse(capacity.Utf8, out var whole);
        if (values.Count > 0 && range.Kind == NodeKind.Object)
            at.Forbidden("exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time");
        else if (values.Count > 0 && !hasDefault)
            at["default"].Required("required when validValues is defined");
        else if (values.Count > 0)
            Values(at["validValues"], values, byDefault, whole);
        else if (range.Kind == NodeKind.Object && !hasDefault)
            at["default"].Required("required when validRange is defined");
        else if (range.Kind == NodeKind.Object)
            Range(at["validRange"], range, byDefault, whole);
    }

    private static void Values(At at, ApiNode values, Quantity byDefault, Quantity whole)
    {
        Quantity? last = null;
        int i = 0;
        foreach (var value in values.Elements)
        {
            Quantity.TryParse(value.Utf8, out var option);
            if (last is { } before && before > option)
                at[i].Invalid(option.ToString(), "values must be sorted in ascending order");
            last = option;
            i++;
        }
        bool isFound = false;
        if (DeviceRules.Fits(at, values, MaxOptions))
        {
            i = 0;
            foreach (var value in values.Elements)
            {
                Quantity.TryParse(value.Utf8, out var option);
                if (option > whole)
                    at[i].Invalid(option.ToString(), $"option is larger than capacity value: {whole}");
                isFound |= option == byDefault;
                i++;
            }
            DeviceRules.NoDoubles(at, values, static value => Quantity.TryParse(value.Utf8, out var option) ? option.Value.ToString() : "");
        }
        if (!isFound)
            at.Invalid(byDefault.ToString(), "default value is not valid according to the requestPolicy");
    }

    private static void Range(At at, ApiNode range, Quantity byDefault, Quantity whole)
    {
        if (!Quantity.TryParse(range["min"u8].Utf8, out var min))
        {
            at["min"].Required("required when validRange is defined");
            return;
        }
        bool hasMax = Quantity.TryParse(range["max"u8].Utf8, out var max);
        if (min > whole)
            at["min"].Invalid(min.ToString(), $"min is larger than capacity value: {whole}");
        if (byDefault < min)
            at["min"].Invalid(byDefault.ToString(), $"default is less than min: {min}");
        if (hasMax && min > max)
            at["max"].Invalid(min.ToString(), $"min is larger than max: {max}");
        if (hasMax && max > whole)
            at["max"].Invalid(max.ToString(), $"max is larger than capacity value: {whole}");
        if (hasMax && byDefault > max)
            at["max"].Invalid(byDefault.ToString(), $"default is more than max: {max}");
        if (!Quantity.TryParse(range["step"u8].Utf8, out var step))
            return;
        var first = min + step;
        if (first > whole)
            at["step"].Invalid(step.ToString(), $"one step {first} is larger than capacity value: {whole}");
        Steps(at["step"], byDefault, min, step);
        if (hasMax)
            Steps(at["step"], max, min, step);
    }

    // A step of nothing, which upstream cannot divide by, reaches nothing but the start.
    private static void Steps(At at, Quantity value, Quantity min, Quantity step)
    {
        long distance = value.Value - min.Value;
        if (step.Value == 0 ? distance != 0 : distance % step.Value != 0)
            at.Invalid(value.ToString(), $"value is not a multiple of a given step ({step}) from ({min})");
    }
}
