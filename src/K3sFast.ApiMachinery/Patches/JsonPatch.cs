namespace K3sFast.ApiMachinery;

/// <summary>JSON patch, RFC 6902.</summary>
public static class JsonPatch
{
    /// <summary>Changes the target by the operations; throws <see cref="ApiStatusException"/> in upstream's words and then the target is undefined.</summary>
    public static void Apply(ApiObject target, ReadOnlySpan<byte> patch) => throw new NotImplementedException();
}
