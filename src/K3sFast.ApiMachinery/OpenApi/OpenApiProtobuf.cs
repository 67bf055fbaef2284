using System.Text;
using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Turns an OpenAPI document from JSON into the wire form of gnostic's messages (openapi.v2.Document, openapi.v3.Document), driven by the table of
/// <see cref="OpenApiMessages"/>. Members of a message go out in the order of their numbers, members that are no words of OpenAPI as extensions in YAML.
/// </summary>
/// <remarks>Cold: the JSON and the message are whole in memory once, a few megabytes that are let go afterwards.</remarks>
internal static class OpenApiProtobuf
{
    internal static PackedDocument Of(PackedDocument json, OpenApiDialect dialect)
    {
        var text = new byte[json.Length];
        using (var stream = json.Open())
            stream.ReadExactly(text);
        var reader = new Utf8JsonReader(text);
        reader.Read();
        return PackedDocument.OfParts(ReadMessage(ref reader, OpenApiMessages.Of(dialect), "Document").Parts);
    }

    // The big collections are taken entry by entry, so that no buffer of the shared pools grows to the document's size and stays there.
    private static WireParts ReadMessage(ref Utf8JsonReader reader, OpenApiMessages messages, string message)
    {
        var members = messages.Members(message);
        var byNumber = new SortedDictionary<int, WireParts>();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            var member = Array.Find(members, known => known.Name == name) ?? Array.Find(members, static known => known.Name == OpenApiMessages.Others)
                ?? throw new InvalidDataException($"{message} has no member {name} in the table of messages");
            if (!byNumber.TryGetValue(member.Number, out var parts))
                byNumber.Add(member.Number, parts = new WireParts());
            if (member.Shape == OpenApiShape.Map)
                parts.Add(member.Number, ReadMap(ref reader, messages, member.Message));
            else if (member.Message is "Paths" or "Components")
                parts.Add(member.Number, ReadMessage(ref reader, messages, member.Message));
            else
                parts.Add(ReadMember(ref reader, messages, member, name));
        }
        var all = new WireParts();
        foreach (var parts in byNumber.Values)
            all.Add(parts);
        return all;
    }

    private static WireParts ReadMap(ref Utf8JsonReader reader, OpenApiMessages messages, string message)
    {
        var entries = new WireParts();
        var entry = new OpenApiMember(OpenApiMessages.Others, 1, OpenApiShape.Message, message);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            entries.Add(ReadMember(ref reader, messages, entry, name));
        }
        return entries;
    }

    private static byte[] ReadMember(ref Utf8JsonReader reader, OpenApiMessages messages, OpenApiMember member, string name)
    {
        using var value = JsonDocument.ParseValue(ref reader);
        var output = new ProtoWriter(4096);
        try
        {
            if (member.Name == OpenApiMessages.Others)
                WriteEntry(ref output, messages, member.Number, member.Message, name, value.RootElement);
            else
                WriteMember(ref output, messages, member, value.RootElement);
            return output.Written.ToArray();
        }
        finally
        {
            output.Dispose();
        }
    }

    private static void WriteMessage(ref ProtoWriter output, OpenApiMessages messages, string message, JsonElement value)
    {
        if (messages.Unwrap(message, value) is (var number, var inner))
        {
            if (inner is null)
                output.NumberField(number, value.GetBoolean() ? 1 : 0);
            else
                WriteNested(ref output, messages, number, inner, value);
            return;
        }
        if (message == OpenApiMessages.Strings)
        {
            WriteStrings(ref output, 1, value);
            return;
        }
        foreach (var member in messages.Members(message))
        {
            if (member.Name == OpenApiMessages.Others)
                WriteNamed(ref output, messages, member, value, messages.Members(message));
            else if (member.Name == OpenApiMessages.Extensions)
                WriteExtensions(ref output, member.Number, value);
            else if (value.TryGetProperty(member.Name, out var found))
                WriteMember(ref output, messages, member, found);
        }
    }

    private static void WriteMember(ref ProtoWriter output, OpenApiMessages messages, OpenApiMember member, JsonElement value)
    {
        switch (member.Shape)
        {
            case OpenApiShape.Text:
                output.BytesField(member.Number, Encoding.UTF8.GetBytes(value.GetString()!));
                break;
            case OpenApiShape.Boolean:
                if (value.GetBoolean())
                    output.NumberField(member.Number, 1);
                break;
            case OpenApiShape.Yaml when value.ValueKind == JsonValueKind.Array:
                foreach (var element in value.EnumerateArray())
                    WriteYaml(ref output, member.Number, element);
                break;
            case OpenApiShape.Yaml:
                WriteYaml(ref output, member.Number, value);
                break;
            case OpenApiShape.Default:
                WriteDefault(ref output, member.Number, value);
                break;
            case OpenApiShape.Strings:
                WriteStrings(ref output, member.Number, value);
                break;
            case OpenApiShape.List:
                foreach (var element in value.EnumerateArray())
                    WriteNested(ref output, messages, member.Number, member.Message, element);
                break;
            case OpenApiShape.Map:
                var start = output.Begin(member.Number);
                foreach (var entry in value.EnumerateObject())
                    WriteEntry(ref output, messages, 1, member.Message, entry.Name, entry.Value);
                output.End(start);
                break;
            default:
                WriteNested(ref output, messages, member.Number, member.Message, value);
                break;
        }
    }

    private static void WriteNested(ref ProtoWriter output, OpenApiMessages messages, int number, string message, JsonElement value)
    {
        var start = output.Begin(number);
        WriteMessage(ref output, messages, message, value);
        output.End(start);
    }

    // Members whose names are free: paths, response codes, security requirements.
    private static void WriteNamed(ref ProtoWriter output, OpenApiMessages messages, OpenApiMember member, JsonElement value, OpenApiMember[] known)
    {
        foreach (var entry in value.EnumerateObject())
        {
            if (!IsExtension(entry) && !Array.Exists(known, other => other.Name == entry.Name))
                WriteEntry(ref output, messages, member.Number, member.Message, entry.Name, entry.Value);
        }
    }

    private static void WriteEntry(ref ProtoWriter output, OpenApiMessages messages, int number, string message, string name, JsonElement value)
    {
        var start = output.Begin(number);
        output.BytesField(1, Encoding.UTF8.GetBytes(name));
        WriteNested(ref output, messages, 2, message, value);
        output.End(start);
    }

    private static void WriteExtensions(ref ProtoWriter output, int number, JsonElement value)
    {
        foreach (var entry in value.EnumerateObject())
        {
            if (!IsExtension(entry))
                continue;
            var start = output.Begin(number);
            output.BytesField(1, Encoding.UTF8.GetBytes(entry.Name));
            WriteYaml(ref output, 2, entry.Value);
            output.End(start);
        }
    }

    private static bool IsExtension(JsonProperty entry) => entry.Name.StartsWith("x-", StringComparison.Ordinal);

    private static void WriteYaml(ref ProtoWriter output, int number, JsonElement value)
    {
        var start = output.Begin(number);
        output.BytesField(2, Encoding.UTF8.GetBytes(BlockYaml.Of(value)));
        output.End(start);
    }

    // A default is a number, a boolean or a text on the wire; an object or an array has no form there and leaves the message empty.
    private static void WriteDefault(ref ProtoWriter output, int number, JsonElement value)
    {
        var start = output.Begin(number);
        if (value.ValueKind == JsonValueKind.Number)
            output.DoubleField(1, value.GetDouble());
        else if (value.ValueKind == JsonValueKind.String)
            output.BytesField(3, Encoding.UTF8.GetBytes(value.GetString()!));
        else if (value.ValueKind is JsonValueKind.True or JsonValueKind.False)
            output.NumberField(2, value.GetBoolean() ? 1 : 0);
        output.End(start);
    }

    private static void WriteStrings(ref ProtoWriter output, int number, JsonElement value)
    {
        if (value.ValueKind == JsonValueKind.String)
        {
            output.BytesField(number, Encoding.UTF8.GetBytes(value.GetString()!));
            return;
        }
        foreach (var element in value.EnumerateArray())
            output.BytesField(number, Encoding.UTF8.GetBytes(element.GetString()!));
    }
}
