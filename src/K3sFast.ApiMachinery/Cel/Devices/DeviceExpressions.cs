namespace K3sFast.ApiMachinery;

/// <summary>The expressions by which claims and classes choose devices: over device.driver, .attributes, .capacity and .allowMultipleAllocations, with cel.bind.</summary>
internal static class DeviceExpressions
{
    private static readonly CelEnvironment s_environment = CelEnvironment.Kubernetes.WithBindings().With("device", CelType.Object("kubernetes.DRADevice", new Dictionary<string, CelType>
    {
        ["driver"] = CelType.String,
        ["attributes"] = CelType.Map(CelType.String, CelType.Map(CelType.String, CelType.Any)),
        ["capacity"] = CelType.Map(CelType.String, CelType.Map(CelType.String, CelQuantityLibrary.Type)),
        ["allowMultipleAllocations"] = CelType.Bool,
    }));

    /// <summary>Tells what is wrong with an expression.</summary>
    internal static void Judge(At at, string expression)
    {
        var compiled = s_environment.Compile(expression);
        if (compiled.Instantiation.Length > 0)
            at.Internal(compiled.Problem!);
        else if (compiled.Program is not { } program)
            at.Invalid(expression, compiled.Problem!);
        else if (!program.ResultType.IsDyn && program.ResultType.Kind != CelKind.Bool)
            at.Invalid(expression, $"must evaluate to bool or the unknown type, not {program.ResultType}");
    }
}
