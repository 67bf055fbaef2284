using System.Collections.Frozen;

namespace K3sFast.ApiMachinery;

/// <summary>What upstream warns of in custom resource definitions: formats that it knows nothing of and so does not check.</summary>
internal static class SchemaWarnings
{
    private static readonly FrozenSet<string> s_ofText = FrozenSet.Create(
        "bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5", "isbn", "isbn10", "isbn13", "creditcard", "ssn", "hexcolor",
        "rgbcolor", "byte", "password", "date", "duration", "datetime", "k8sshortname", "k8slongname");

    internal static void Of(ref WarningList warnings, ApiNode definition, ApiNode old)
    {
        var known = old.IsDefined ? Unrecognized(old) : [];
        foreach (string format in Unrecognized(definition))
            if (!known.Contains(format))
                warnings.Add($"unrecognized format {GoText.Quote(format)}");
    }

    private static List<string> Unrecognized(ApiNode definition)
    {
        var formats = new List<string>();
        foreach (var version in definition["spec"u8]["versions"u8].Elements)
        {
            CrdSchemas.Any(version["schema"u8]["openAPIV3Schema"u8], schema =>
            {
                string format = schema["format"u8].AsString();
                if (format.Length > 0 && !IsKnown(schema["type"u8].AsString(), format))
                    formats.Add(format);
                return false;
            });
        }
        return formats;
    }

    private static bool IsKnown(string type, string format) => type switch
    {
        "" or "string" => s_ofText.Contains(format.Replace("-", "", StringComparison.Ordinal)),
        "integer" => format is "int32" or "int64",
        "number" => format is "float" or "double",
        _ => false,
    };
}
