namespace K3sFast.ApiMachinery;

/// <summary>The expressions by which claims and classes choose devices: over device.driver, .attributes, .capacity and .allowMultipleAllocations, with cel.bind.</summary>
internal static class DeviceExpressions
{
    // What an expression may cost at worst; upstream's figure.
    private const ulong MaxCost = 1_000_000;

    // The bounds that validation sets on devices.
    private const long MaxDriver = 63;
    private const long MaxDomain = 63;
    private const long MaxIdentifier = 32;
    private const long MaxAttribute = 64;
    private const long MaxQualities = 32;

    private static readonly CelShape s_device = Device();

    /// <summary>What the expressions may name.</summary>
    internal static CelEnvironment Environment { get; } = CelEnvironment.Kubernetes.WithBindings().With("device", s_device.Type);

    /// <summary>Tells what is wrong with an expression.</summary>
    internal static void Judge(At at, string expression)
    {
        var compiled = Environment.Compile(expression);
        if (compiled.Instantiation.Length > 0)
            at.Internal(compiled.Problem!);
        else if (compiled.Program is not { } program)
            at.Invalid(expression, compiled.Problem!);
        else if (!program.ResultType.IsDyn && program.ResultType.Kind != CelKind.Bool)
            at.Invalid(expression, $"must evaluate to bool or the unknown type, not {program.ResultType}");
        else if (WorstCase(program) > MaxCost)
            at.Forbidden("too complex, exceeds cost limit");
    }

    /// <summary>What the expression costs at worst for any device.</summary>
    internal static ulong WorstCase(CelProgram program) => program.WorstCase(static path => path[0] == "device" ? s_device.SizeAt(path) : null);

    private static CelShape Device()
    {
        var domain = CelShape.String(MaxDomain);
        var identifier = CelShape.String(MaxIdentifier);
        var attributes = CelShape.Map(identifier, new CelShape(CelType.Any, MaxAttribute, 1), MaxQualities) with { HasValuesAsFields = true };
        var capacity = CelShape.Map(identifier, new CelShape(CelQuantityLibrary.Type, 0, 8), MaxQualities);
        return CelShape.Object("kubernetes.DRADevice", new Dictionary<string, CelShape>
        {
            ["driver"] = CelShape.String(MaxDriver),
            ["attributes"] = CelShape.Map(domain, attributes, MaxQualities),
            ["capacity"] = CelShape.Map(domain, capacity, MaxQualities),
            ["allowMultipleAllocations"] = new CelShape(CelType.Bool, 1, 4),
        });
    }
}
