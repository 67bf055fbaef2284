using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>How a member of gnostic's messages stands on the wire.</summary>
internal enum OpenApiShape : byte
{
    Text,
    Boolean,

    /// <summary>Any { string yaml = 2 }; an array is repeated.</summary>
    Yaml,

    /// <summary>DefaultType of version 3.</summary>
    Default,

    /// <summary>repeated string.</summary>
    Strings,

    Message,

    /// <summary>A repeated message.</summary>
    List,

    /// <summary>A message of repeated { string name = 1; value = 2 } in its field 1.</summary>
    Map,
}

/// <summary>A member of a message: its name in JSON, its number and shape, and the message that it holds.</summary>
internal sealed record OpenApiMember(string Name, int Number, OpenApiShape Shape, string Message);

/// <summary>
/// The messages of gnostic's openapiv2 and openapiv3 (OpenAPIv2.proto, OpenAPIv3.proto) as far as documents of an API server use them. Each line is
/// <c>Message: jsonName=number shape …</c> in the order of numbers, with shapes s text, b boolean, y any value, d default, l strings, :M message,
/// []M list of messages, {}M map to messages; "+" stands for members of any other name, "-" for extensions.
/// </summary>
internal sealed class OpenApiMessages
{
    internal const string Others = "+";
    internal const string Extensions = "-";
    internal const string Strings = "Strings";

    private const string Version2 = """
        Document: swagger=1s info=2:Info paths=8:Paths definitions=9{}Schema parameters=10{}Parameter security=12[]Security securityDefinitions=13{}SecurityItem -=16y
        Info: title=1s version=2s description=3s -=7y
        Paths: -=1y +=2:PathItem
        PathItem: $ref=1s get=2:Operation put=3:Operation post=4:Operation delete=5:Operation options=6:Operation head=7:Operation patch=8:Operation parameters=9[]ParametersItem -=10y
        Operation: tags=1l summary=2s description=3s operationId=5s produces=6l consumes=7l parameters=8[]ParametersItem responses=9:Responses schemes=10l deprecated=11b -=13y
        Reference: $ref=1s description=2s
        Body: description=1s name=2s in=3s required=4b schema=5:Schema -=6y
        Query: required=1b in=2s description=3s name=4s type=6s format=7s uniqueItems=20b -=23y
        Path: required=1b in=2s description=3s name=4s type=5s format=6s uniqueItems=19b -=22y
        Responses: +=1:ResponseValue -=2y
        Response: description=1s schema=2:SchemaItem -=5y
        Schema: $ref=1s format=2s title=3s description=4s default=5y required=19l enum=20y additionalProperties=21:Additional type=22:Strings items=23:Items allOf=24[]Schema properties=25{}Schema -=31y
        Security: +=1:Strings
        ApiKey: type=1s name=2s in=3s description=4s -=5y
        """;

    private const string Version3 = """
        Document: openapi=1s info=2:Info paths=4:Paths components=5:Components -=9y
        Info: title=1s description=2s version=6s -=7y
        Paths: +=1:PathItem -=2y
        PathItem: get=4:Operation put=5:Operation post=6:Operation delete=7:Operation options=8:Operation head=9:Operation patch=10:Operation parameters=13[]ParameterOr -=14y
        Operation: tags=1l summary=2s description=3s operationId=5s parameters=6[]ParameterOr requestBody=7:BodyOr responses=8:Responses deprecated=10b -=13y
        Reference: $ref=1s summary=2s description=3s
        Parameter: name=1s in=2s description=3s required=4b schema=10:SchemaOr -=14y
        Body: description=1s content=2{}Media required=3b -=4y
        Media: schema=1:SchemaOr -=5y
        Responses: default=1:ResponseOr +=2:ResponseOr -=3y
        Response: description=1s content=3{}Media -=5y
        Components: schemas=1{}SchemaOr securitySchemes=7{}SecurityOr -=10y
        Security: type=1s description=2s name=3s in=4s -=9y
        Schema: nullable=1b title=9s uniqueItems=20b required=23l enum=24y type=25s allOf=26[]SchemaOr oneOf=27[]SchemaOr anyOf=28[]SchemaOr items=30:Items properties=31{}SchemaOr additionalProperties=32:Additional default=33d description=34s format=35s -=36y
        """;

    private readonly Dictionary<string, OpenApiMember[]> _members = [];
    private readonly OpenApiDialect _dialect;

    private OpenApiMessages(OpenApiDialect dialect)
    {
        _dialect = dialect;
        foreach (var line in (dialect == OpenApiDialect.V2 ? Version2 : Version3).Split('\n'))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            _members.Add(line[..colon], Array.ConvertAll(line[(colon + 2)..].TrimEnd().Split(' '), Read));
        }
    }

    internal static OpenApiMessages Of(OpenApiDialect dialect) => new(dialect);

    internal OpenApiMember[] Members(string message) => _members[message];

    /// <summary>
    /// For a message that only holds one of several: the number of the one that the value is, and its message; a null message is a boolean. Null for every
    /// other message.
    /// </summary>
    internal (int Number, string? Message)? Unwrap(string message, JsonElement value) => (_dialect, message) switch
    {
        (OpenApiDialect.V2, "ParametersItem") => IsReference(value) ? (2, "Reference") : (1, "Parameter"),
        (OpenApiDialect.V2, "Parameter") => IsIn(value, "body") ? (1, "Body") : (2, "NonBody"),
        (OpenApiDialect.V2, "NonBody") => IsIn(value, "path") ? (4, "Path") : (3, "Query"),
        (OpenApiDialect.V2, "ResponseValue") => (1, "Response"),
        (OpenApiDialect.V2, "SchemaItem" or "Items") => (1, "Schema"),
        (OpenApiDialect.V2, "Additional") => value.ValueKind is JsonValueKind.True or JsonValueKind.False ? (2, null) : (1, "Schema"),
        (OpenApiDialect.V2, "SecurityItem") => (2, "ApiKey"),
        (OpenApiDialect.V3, "SchemaOr") => IsReference(value) ? (2, "Reference") : (1, "Schema"),
        (OpenApiDialect.V3, "ParameterOr") => IsReference(value) ? (2, "Reference") : (1, "Parameter"),
        (OpenApiDialect.V3, "BodyOr") => IsReference(value) ? (2, "Reference") : (1, "Body"),
        (OpenApiDialect.V3, "ResponseOr") => IsReference(value) ? (2, "Reference") : (1, "Response"),
        (OpenApiDialect.V3, "SecurityOr") => IsReference(value) ? (2, "Reference") : (1, "Security"),
        (OpenApiDialect.V3, "Items") => (1, "SchemaOr"),
        (OpenApiDialect.V3, "Additional") => value.ValueKind is JsonValueKind.True or JsonValueKind.False ? (2, null) : (1, "SchemaOr"),
        _ => null,
    };

    private static bool IsReference(JsonElement value) => value.ValueKind == JsonValueKind.Object && value.TryGetProperty("$ref"u8, out _);

    private static bool IsIn(JsonElement value, string place) => value.TryGetProperty("in"u8, out var found) && found.ValueEquals(place);

    private static OpenApiMember Read(string text)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        var digits = equals + 1;
        while (char.IsAsciiDigit(text[digits]))
            digits++;
        var number = int.Parse(text.AsSpan(equals + 1, digits - equals - 1), System.Globalization.CultureInfo.InvariantCulture);
        var shape = text[digits..];
        return new OpenApiMember(text[..equals], number, shape[0] switch
        {
            's' => OpenApiShape.Text,
            'b' => OpenApiShape.Boolean,
            'y' => OpenApiShape.Yaml,
            'd' => OpenApiShape.Default,
            'l' => OpenApiShape.Strings,
            '[' => OpenApiShape.List,
            '{' => OpenApiShape.Map,
            _ => OpenApiShape.Message,
        }, shape[0] is ':' ? shape[1..] : shape[0] is '[' or '{' ? shape[2..] : "");
    }
}
