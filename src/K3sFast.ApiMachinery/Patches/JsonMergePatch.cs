namespace K3sFast.ApiMachinery;

/// <summary>JSON merge patch, RFC 7386.</summary>
public static class JsonMergePatch
{
    /// <summary>Changes the target by the patch.</summary>
    public static void Apply(ApiObject target, ReadOnlySpan<byte> patch) => throw new NotImplementedException();
}
