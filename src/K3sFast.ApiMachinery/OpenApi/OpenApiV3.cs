namespace K3sFast.ApiMachinery;

/// <summary>OpenAPI v3 documents made from the schema on demand: the index (/openapi/v3) and one document per group and version.</summary>
public static class OpenApiV3
{
    /// <summary>The index document: serverRelativeURL with content hash of every enabled group version.</summary>
    public static byte[] WriteIndex() => throw new NotImplementedException();

    /// <summary>The document of one group version ("" = core); null when it is not served.</summary>
    public static byte[]? WriteGroupVersion(string group, string version) => throw new NotImplementedException();

    /// <summary>The upper-case hexadecimal content hash of a group version's document, as the index shows it; null when it is not served.</summary>
    public static string? HashOf(string group, string version) => throw new NotImplementedException();
}
