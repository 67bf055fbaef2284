using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace K3sFast.ApiMachinery.Testing;

/// <summary>Objects of any type by its schema: every field may be there, with values that upstream would accept on the wire, odd texts among them.</summary>
internal sealed class ObjectGenerator(Random random)
{
    // Deeper than this only what must be there: types that contain themselves end.
    private const int MaxDepth = 7;

    private static readonly string[] s_texts =
    [
        "a", "some text", "yes", "no", "null", "~", "1", "0x1F", "1e3", "-", "2020-01-01", "#x", "a: b", "- a", "'", "\"", "\\", "line\nline\n", "\ttab", " space ",
        "ümlaut", "日本", "😀", "<a&b>", "\u2028", "a\r\nb", "{", "[", "*x", "&x", "!x", "%x", "@x", "`x", "true", "012", "1_000", ".5", "+1", "=", "|", ">",
    ];

    private static readonly string[] s_quantities = ["0", "1", "100m", "1Gi", "1500Mi", "2k", "5e3", "-3", "1.5", "12345678901", "1u"];

    private static readonly string[] s_durations = ["0s", "1s", "1h2m3s", "100ms", "-1.5s", "1m0s"];

    /// <summary>An object of the kind, with its kind and apiVersion.</summary>
    internal JsonObject Generate(TypeSchema type)
    {
        var root = Message(type, 0);
        root["kind"] = type.Kind;
        root["apiVersion"] = type.ApiVersion;
        return root;
    }

    private JsonObject Message(TypeSchema type, int depth)
    {
        var result = new JsonObject();
        foreach (var field in type.Declared)
        {
            if (field.Inline)
            {
                // Kind and version of an object within another are not on the protobuf wire.
                if (field.ProtoNumber > 0)
                {
                    foreach (var (name, value) in Message(field.Element!, depth).ToList())
                        result[name] = value?.DeepClone();
                }
                continue;
            }
            // The deeper, the rarer.
            if (depth >= MaxDepth || random.Next(2 + depth) != 0)
                continue;
            if (Field(field, depth + 1) is { } content)
                result[field.JsonName] = content;
        }
        return result;
    }

    private JsonNode? Field(FieldSchema field, int depth)
    {
        switch (field.Cardinality)
        {
            case FieldCardinality.List:
                var list = new JsonArray();
                for (var i = random.Next(1, 4); i > 0; i--)
                    list.Add(Element(field, depth));
                return list;
            case FieldCardinality.Map:
                var map = new JsonObject();
                for (var i = random.Next(1, 4); i > 0; i--)
                    map[$"key{i}{Text()}"] = Element(field, depth);
                return map;
            default:
                return Element(field, depth);
        }
    }

    private JsonNode? Element(FieldSchema field, int depth) => field.Kind switch
    {
        FieldKind.String => field.Enum.Length > 0 ? field.Enum[random.Next(field.Enum.Length)] : Text(),
        FieldKind.Boolean => random.Next(2) == 0,
        FieldKind.Int32 => random.Next(5) switch { 0 => 0, 1 => int.MaxValue, 2 => int.MinValue, _ => random.Next(-1000, 100000) },
        FieldKind.Int64 => random.Next(5) switch { 0 => 0, 1 => long.MaxValue, 2 => long.MinValue, _ => random.NextInt64(-1000, 1L << 40) },
        FieldKind.Double => random.Next(4) switch { 0 => 0.5, 1 => 1e21, 2 => -2.25, _ => (double)random.Next(1000) },
        FieldKind.Bytes => Convert.ToBase64String(Encoding.UTF8.GetBytes(Text())),
        FieldKind.Message => Message(field.Element!, depth),
        FieldKind.Quantity => s_quantities[random.Next(s_quantities.Length)],
        FieldKind.IntOrString => random.Next(2) == 0 ? random.Next(70000) : Text(),
        FieldKind.Time => Time().ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture),
        FieldKind.MicroTime => Time().AddTicks(random.Next(1_000_000) * 10L).ToString("yyyy-MM-ddTHH:mm:ss.ffffffZ", CultureInfo.InvariantCulture),
        FieldKind.Duration => s_durations[random.Next(s_durations.Length)],
        // In YAML the names of free objects are sorted.
        FieldKind.RawExtension => new JsonObject { ["apiVersion"] = "example.com/v1", ["kind"] = "Other", ["x"] = Free(0) },
        FieldKind.FieldsV1 => new JsonObject { ["f:metadata"] = new JsonObject { ["f:labels"] = new JsonObject() } },
        FieldKind.Any => Free(0),
        FieldKind.StringList => new JsonArray(Text(), Text()),
        FieldKind.SchemaOrArray => Message(field.Element!, depth),
        FieldKind.SchemaOrBool => random.Next(2) == 0 ? true : Message(field.Element!, depth),
        FieldKind.SchemaOrStringArray => random.Next(2) == 0 ? new JsonArray(Text(), Text()) : Message(field.Element!, depth),
        _ => throw new InvalidOperationException($"a generator for {field.Kind} is missing"),
    };

    private JsonNode Free(int depth) => random.Next(depth > 2 ? 3 : 5) switch
    {
        0 => Text(),
        1 => random.Next(1000),
        2 => random.Next(2) == 0,
        3 => new JsonArray(Free(depth + 1), Free(depth + 1)),
        _ => new JsonObject { ["a"] = Free(depth + 1), ["b"] = Free(depth + 1) },
    };

    private string Text() => s_texts[random.Next(s_texts.Length)];

    private DateTime Time() => DateTime.UnixEpoch.AddSeconds(random.NextInt64(0, 4_000_000_000));
}
