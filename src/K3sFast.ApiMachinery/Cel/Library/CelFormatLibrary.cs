using System.Globalization;
using System.Text;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Named text formats: format.dns1123Label().validate("x") answers nothing, or what is wrong.</summary>
internal static class CelFormatLibrary
{
    internal static readonly CelType Type = CelType.Extension("kubernetes.NamedFormat");

    // Sizes of the patterns that upstream counts for a check's cost.
    private static readonly Dictionary<string, CelFormat> s_formats = new()
    {
        ["dns1123Label"] = new("DNS1123Label", 30, static text => Formats.Problems(Format.Dns1123Label, text)),
        ["dns1123Subdomain"] = new("DNS1123Subdomain", 60, static text => Formats.Problems(Format.Dns1123Subdomain, text)),
        ["dns1035Label"] = new("DNS1035Label", 30, static text => Formats.Problems(Format.Dns1035Label, text)),
        ["qualifiedName"] = new("QualifiedName", 60, static text => Formats.Problems(Format.LabelKey, text)),
        ["dns1123LabelPrefix"] = new("DNS1123LabelPrefix", 30, static text => Formats.Problems(Format.Dns1123Label, Masked(text))),
        ["dns1123SubdomainPrefix"] = new("DNS1123SubdomainPrefix", 60, static text => Formats.Problems(Format.Dns1123Subdomain, Masked(text))),
        ["dns1035LabelPrefix"] = new("DNS1035LabelPrefix", 30, static text => Formats.Problems(Format.Dns1035Label, Masked(text))),
        ["labelValue"] = new("LabelValue", 40, static text => Formats.Problems(Format.LabelValue, text)),
        ["uri"] = new("URI", 1103, static text => CelUrlLibrary.Problem(text) is { } problem ? [problem] : []),
        ["uuid"] = new("uuid", 67, static text => IsUuid(text) ? [] : ["does not match the UUID format"]),
        ["byte"] = new("byte", 84, static text => IsBase64(text) ? [] : ["invalid base64"]),
        ["date"] = new("date", 107, static text => DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _) ? [] : ["invalid date"]),
        ["datetime"] = new("datetime", 107, static text => IsDateTime(text) ? [] : ["invalid datetime"]),
    };

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("validate", Member("format-validate", [Type, CelType.String], CelType.Optional(CelType.List(CelType.String)), static args => Validate((CelFormat)args[0].Reference!, args[1].AsString))),
        Function("format.named", Global("format-named", [CelType.String], CelType.Optional(Type),
            static args => s_formats.TryGetValue(args[0].AsString, out var format) ? CelOptional.Some(CelValue.Struct(format)) : CelOptional.None)),
        .. s_formats.Select(static pair => Function($"format.{pair.Key}", Global($"format.{pair.Key}", [], Type, _ => CelValue.Struct(pair.Value)))),
    ];

    private static CelValue Validate(CelFormat format, string text)
    {
        var problems = format.Problems(text);
        return problems.Count == 0 ? CelOptional.None : CelOptional.Some(CelValue.Of(problems));
    }

    // A prefix may end in a dash, because something follows.
    private static string Masked(string prefix) => prefix.Length > 1 && prefix.EndsWith('-') ? prefix[..^1] + "a" : prefix;

    private static bool IsUuid(string text) => text.Length switch
    {
        36 => Guid.TryParseExact(text, "D", out _),
        32 => Guid.TryParseExact(text, "N", out _),
        _ => false,
    };

    private static bool IsBase64(string text) => text.Length > 0 && System.Buffers.Text.Base64.IsValid(Encoding.UTF8.GetBytes(text)) && !text.Any(char.IsWhiteSpace);

    private static bool IsDateTime(string text) => CelTime.TryParse(text.ToUpperInvariant(), out var time) && !time.IsError;
}

/// <summary>A format that has a name.</summary>
internal sealed class CelFormat(string name, int patternSize, Func<string, List<string>> problems) : ICelObject
{
    internal int PatternSize { get; } = patternSize;

    internal Func<string, List<string>> Problems { get; } = problems;

    public string TypeName => "kubernetes.NamedFormat";

    public CelValue EqualTo(CelValue other) => other.Reference is CelFormat ? CelValue.Of(ReferenceEquals(other.Reference, this)) : CelValue.NoSuchOverload;

    public override string ToString() => name;
}
