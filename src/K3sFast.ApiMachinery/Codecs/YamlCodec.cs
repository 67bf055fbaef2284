namespace K3sFast.ApiMachinery;

/// <summary>YAML documents into trees by Kubernetes' YAML to JSON rules. Cold paths only.</summary>
public static class YamlCodec
{
    /// <summary>Parses all documents of a stream; empty ones are left out. The caller disposes each.</summary>
    public static IEnumerable<ApiObject> DecodeAll(ReadOnlySpan<byte> yaml) => throw new NotImplementedException();
}
