namespace K3sFast.ApiMachinery;

/// <summary>Validation of device taint rules: taints that an administrator puts on devices from outside of their slices.</summary>
internal static class DeviceTaintRuleValidation
{
    private const int MaxConditions = 8;

    internal static void Create(At at, ApiNode rule) => Spec(at["spec"], rule["spec"u8], default);

    internal static void Update(At at, ApiNode rule, ApiNode old) => Spec(at["spec"], rule["spec"u8], old["spec"u8]["taint"u8]);

    internal static void UpdateStatus(At at, ApiNode rule, ApiNode old)
    {
        var conditions = rule["status"u8]["conditions"u8];
        ConditionValidation.Check(at["status"]["conditions"], conditions);
        DeviceRules.Fits(at["status"]["conditions"], conditions, MaxConditions);
    }

    private static void Spec(At at, ApiNode spec, ApiNode oldTaint)
    {
        var selector = spec["deviceSelector"u8];
        if (!selector["driver"u8].IsNullOrUndefined)
            StorageValidation.DriverName(at["deviceSelector"]["driver"], selector["driver"u8]);
        if (!selector["pool"u8].IsNullOrUndefined)
            DeviceRules.PoolName(at["deviceSelector"]["pool"], selector["pool"u8]);
        if (!selector["device"u8].IsNullOrUndefined)
            at["deviceSelector"]["device"].Format(Format.Dns1123Label, selector["device"u8].AsString());
        DeviceRules.Taint(at["taint"], spec["taint"u8], oldTaint);
    }
}
