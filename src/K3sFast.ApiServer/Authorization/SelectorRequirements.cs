using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Selectors of a request as the requirements that authorizers see, and back. What cannot be read is left out: a requirement only narrows, so without it
/// more is asked for, never less.
/// </summary>
internal static class SelectorRequirements
{
    /// <summary>Writes the member <c>fieldSelector</c> of resource attributes, if there is anything to write.</summary>
    internal static void WriteFields(Utf8JsonWriter json, ReadOnlySpan<byte> escaped)
    {
        var terms = Fields(escaped);
        if (terms.Count == 0)
            return;
        json.WriteStartObject("fieldSelector"u8);
        json.WriteStartArray("requirements"u8);
        foreach (var (field, isEqual, value) in terms)
            Write(json, field, isEqual ? "In" : "NotIn", [value]);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>Writes the member <c>labelSelector</c> likewise.</summary>
    internal static void WriteLabels(Utf8JsonWriter json, ReadOnlySpan<byte> escaped)
    {
        if (escaped.IsEmpty)
            return;
        IReadOnlyList<LabelRequirement> requirements;
        try
        {
            requirements = LabelSelector.Parse(PercentEncoding.DecodeQuery(escaped)).Requirements;
        }
        catch (ApiStatusException)
        {
            return;
        }
        var known = requirements.Where(static r => r.Operator is not (LabelOperator.GreaterThan or LabelOperator.LessThan)).ToList();
        if (known.Count == 0)
            return;
        json.WriteStartObject("labelSelector"u8);
        json.WriteStartArray("requirements"u8);
        foreach (var requirement in known)
        {
            var name = requirement.Operator switch
            {
                LabelOperator.In or LabelOperator.Equals or LabelOperator.DoubleEquals => "In",
                LabelOperator.NotIn or LabelOperator.NotEquals => "NotIn",
                LabelOperator.Exists => "Exists",
                _ => "DoesNotExist",
            };
            Write(json, requirement.Key, name, requirement.Values);
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>The members <c>fieldSelector</c> and <c>labelSelector</c> of a request's resource attributes as an object. The caller disposes it.</summary>
    internal static ApiObject Describe(AuthorizationRequest request)
    {
        var text = new System.Buffers.ArrayBufferWriter<byte>(64);
        using (var json = new Utf8JsonWriter(text))
        {
            json.WriteStartObject();
            WriteFields(json, request.FieldSelector);
            WriteLabels(json, request.LabelSelector);
            json.WriteEndObject();
        }
        return JsonCodec.Decode(text.WrittenSpan, null, DecodeOptions.Free, null);
    }

    /// <summary>Requirements of a review (operator In or NotIn with one value) as an escaped field selector.</summary>
    internal static byte[] FieldText(ApiNode selector)
    {
        if (selector["rawSelector"u8].Utf8 is { IsEmpty: false } raw)
            return Encoding.UTF8.GetBytes(Uri.EscapeDataString(Encoding.UTF8.GetString(raw)));
        var terms = new List<string>();
        foreach (var requirement in selector["requirements"u8].Elements)
        {
            var values = requirement["values"u8];
            var operation = requirement["operator"u8].AsString();
            if (values.Count != 1 || operation is not ("In" or "NotIn"))
                continue;
            var value = values[0].AsString().Replace("\\", "\\\\", StringComparison.Ordinal).Replace(",", "\\,", StringComparison.Ordinal).Replace("=", "\\=", StringComparison.Ordinal);
            terms.Add($"{requirement["key"u8].AsString()}{(operation == "In" ? "=" : "!=")}{value}");
        }
        return Encoding.UTF8.GetBytes(Uri.EscapeDataString(string.Join(',', terms)));
    }

    /// <summary>Requirements of a review as an escaped label selector.</summary>
    internal static byte[] LabelText(ApiNode selector)
    {
        if (selector["rawSelector"u8].Utf8 is { IsEmpty: false } raw)
            return Encoding.UTF8.GetBytes(Uri.EscapeDataString(Encoding.UTF8.GetString(raw)));
        var terms = new List<string>();
        foreach (var requirement in selector["requirements"u8].Elements)
        {
            var key = requirement["key"u8].AsString();
            var values = new List<string>();
            foreach (var value in requirement["values"u8].Elements)
                values.Add(value.AsString());
            switch (requirement["operator"u8].AsString())
            {
                case "In": terms.Add($"{key} in ({string.Join(',', values)})"); break;
                case "NotIn": terms.Add($"{key} notin ({string.Join(',', values)})"); break;
                case "Exists": terms.Add(key); break;
                case "DoesNotExist": terms.Add("!" + key); break;
            }
        }
        return Encoding.UTF8.GetBytes(Uri.EscapeDataString(string.Join(',', terms)));
    }

    private static List<(string Field, bool IsEqual, string Value)> Fields(ReadOnlySpan<byte> escaped)
    {
        var terms = new List<(string, bool, string)>();
        if (escaped.IsEmpty)
            return terms;
        foreach (var term in PercentEncoding.DecodeQuery(escaped).Split(','))
        {
            var equals = term.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                continue;
            var isEqual = term[equals - 1] != '!';
            var value = term[(equals + 1)..];
            if (isEqual && value.StartsWith('='))
                value = value[1..];
            // Escapes in values are so rare that such a term is left out.
            if (!value.Contains('\\', StringComparison.Ordinal))
                terms.Add((term[..(isEqual ? equals : equals - 1)], isEqual, value));
        }
        return terms;
    }

    private static void Write(Utf8JsonWriter json, string key, string operation, IReadOnlyList<string> values)
    {
        json.WriteStartObject();
        json.WriteString("key"u8, key);
        json.WriteString("operator"u8, operation);
        if (values.Count > 0)
        {
            json.WriteStartArray("values"u8);
            foreach (var value in values)
                json.WriteStringValue(value);
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }
}
