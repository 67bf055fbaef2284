namespace K3sFast.ApiMachinery;

/// <summary>Kubernetes' strategic merge patch.</summary>
public static class StrategicMergePatch
{
    /// <summary>Changes the target by the patch, with the merge keys of the type.</summary>
    public static void Apply(ApiObject target, ReadOnlySpan<byte> patch, TypeSchema type) => throw new NotImplementedException();
}
