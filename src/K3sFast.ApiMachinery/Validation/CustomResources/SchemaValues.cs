using System.Globalization;
using System.Net;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of a value by a structural schema, in the words of upstream's OpenAPI validator.</summary>
internal static class SchemaValues
{
    private const int MaxName = 4096;

    /// <summary>Reports what keeps the value from fitting the schema; fields below are named by their path.</summary>
    internal static void Check(At at, ApiNode value, ApiNode schema) => Check(at, "", value, schema);

    /// <summary>Whether the value fits.</summary>
    internal static bool Fits(ApiNode value, ApiNode schema)
    {
        var check = K3sFast.ApiMachinery.Check.Rent();
        Check(check.Root, "", value, schema);
        return check.Finish().Count == 0;
    }

    private static void Check(At at, string name, ApiNode value, ApiNode schema)
    {
        StackGuard.Enter();
        if (schema.Kind != NodeKind.Object)
            return;
        // A value that nests deeper than anybody would read does not make a longer path for every level.
        if (name.Length > MaxName)
            name = name[..MaxName];
        string path = name.Length == 0 ? at.ToString() : $"{at}.{name}";
        if (!Type(at, path, name, value, schema))
            return;
        Logic(at, path, name, value, schema);
        var errors = at.Check.Errors;
        if (schema["enum"u8].Count > 0 && !IsOneOf(value, schema["enum"u8]))
            errors.AddRaw(FieldErrorType.NotSupported, path, Text(value), "supported values: " + string.Join(", ", Allowed(schema["enum"u8])));
        switch (value.Kind)
        {
            case NodeKind.String:
                OfText(errors, path, name, value, schema);
                break;
            case NodeKind.Number:
                OfNumber(errors, path, name, value, schema);
                break;
            case NodeKind.Array:
                OfList(at, path, name, value, schema);
                break;
            case NodeKind.Object:
                OfObject(at, path, name, value, schema);
                break;
        }
    }

    private static bool Type(At at, string path, string name, ApiNode value, ApiNode schema)
    {
        string wanted = schema["type"u8].AsString(), actual = TypeOf(value);
        bool isIntOrString = schema["x-kubernetes-int-or-string"u8].AsBool();
        if (isIntOrString ? actual is "integer" or "string" : wanted.Length == 0 || wanted == actual || wanted == "number" && actual == "integer")
            return true;
        if (actual == "null" && schema["nullable"u8].AsBool())
            return true;
        at.Check.Errors.AddRaw(FieldErrorType.TypeInvalid, path, GoText.Quote(actual), $"{name} in body must be of type {(isIntOrString ? "integer,string" : wanted)}: {GoText.Quote(actual)}");
        return false;
    }

    private static void Logic(At at, string path, string name, ApiNode value, ApiNode schema)
    {
        var errors = at.Check.Errors;
        int fits = 0;
        foreach (var clause in schema["anyOf"u8].Elements)
            fits += Fits(value, clause) ? 1 : 0;
        if (schema["anyOf"u8].Count > 0 && fits == 0)
            errors.AddRaw(FieldErrorType.Invalid, at.ToString(), "\"\"", $"{GoText.Quote(name)} must validate at least one schema (anyOf)");
        fits = 0;
        foreach (var clause in schema["oneOf"u8].Elements)
            fits += Fits(value, clause) ? 1 : 0;
        if (schema["oneOf"u8].Count > 0 && fits != 1)
            errors.AddRaw(FieldErrorType.Invalid, at.ToString(), "\"\"",
                $"{GoText.Quote(name)} must validate one and only one schema (oneOf). {(fits == 0 ? "Found none valid" : $"Found {fits} valid alternatives")}");
        fits = 0;
        foreach (var clause in schema["allOf"u8].Elements)
            fits += Fits(value, clause) ? 1 : 0;
        if (fits < schema["allOf"u8].Count)
            errors.AddRaw(FieldErrorType.Invalid, at.ToString(), "\"\"", $"{GoText.Quote(name)} must validate all the schemas (allOf){(fits == 0 ? ". None validated" : "")}");
        if (schema["not"u8].Kind == NodeKind.Object && Fits(value, schema["not"u8]))
            errors.AddRaw(FieldErrorType.Invalid, at.ToString(), "\"\"", $"{GoText.Quote(name)} must not validate the schema (not)");
    }

    private static void OfText(FieldErrorList errors, string path, string name, ApiNode value, ApiNode schema)
    {
        string text = value.AsString();
        int length = text.EnumerateRunes().Count();
        if (schema["maxLength"u8].TryGetInt64(out long max) && length > max)
            errors.TooLong(path, (int)max);
        if (schema["minLength"u8].TryGetInt64(out long min) && length < min)
            errors.Invalid(path, text, $"{name} in body should be at least {min} chars long");
        string pattern = schema["pattern"u8].AsString();
        if (pattern.Length > 0 && !SchemaPattern.Matches(pattern, text))
            errors.Invalid(path, text, $"{name} in body should match '{pattern}'");
        string format = schema["format"u8].AsString();
        if (format.Length > 0 && !HasFormat(format, text))
            errors.Add(FieldErrorType.TypeInvalid, path, text, $"{name} in body must be of type {format}: {GoText.Quote(text)}");
    }

    private static void OfNumber(FieldErrorList errors, string path, string name, ApiNode value, ApiNode schema)
    {
        if (!TryNumber(value, out double number))
            return;
        if (TryNumber(schema["multipleOf"u8], out double factor) && factor > 0 && Math.Abs(Math.IEEERemainder(number, factor)) > 0)
            errors.Invalid(path, value, $"{name} in body should be a multiple of {schema["multipleOf"u8].AsString()}");
        if (TryNumber(schema["maximum"u8], out double max))
        {
            bool isExclusive = schema["exclusiveMaximum"u8].AsBool();
            if (number > max || isExclusive && number >= max)
                errors.Invalid(path, value, $"{name} in body should be less than {(isExclusive ? "" : "or equal to ")}{schema["maximum"u8].AsString()}");
        }
        if (TryNumber(schema["minimum"u8], out double min))
        {
            bool isExclusive = schema["exclusiveMinimum"u8].AsBool();
            if (number < min || isExclusive && number <= min)
                errors.Invalid(path, value, $"{name} in body should be greater than {(isExclusive ? "" : "or equal to ")}{schema["minimum"u8].AsString()}");
        }
    }

    private static void OfList(At at, string path, string name, ApiNode value, ApiNode schema)
    {
        var errors = at.Check.Errors;
        int i = 0;
        foreach (var element in value.Elements)
            Check(at, $"{name}[{i++}]", element, schema["items"u8]);
        if (schema["minItems"u8].TryGetInt64(out long min) && value.Count < min)
            errors.Invalid(path, value.Count, $"{name} in body should have at least {min} items");
        if (schema["maxItems"u8].TryGetInt64(out long max) && value.Count > max)
            errors.TooMany(path, value.Count, (int)max);
    }

    private static void OfObject(At at, string path, string name, ApiNode value, ApiNode schema)
    {
        var errors = at.Check.Errors;
        if (schema["minProperties"u8].TryGetInt64(out long min) && value.Count < min)
            errors.Invalid(path, value.Count, $"{name} in body should have at least {min} properties");
        if (schema["maxProperties"u8].TryGetInt64(out long max) && value.Count > max)
            errors.TooMany(path, value.Count, (int)max);
        foreach (var required in schema["required"u8].Elements)
            if (!value[required.Utf8].IsDefined)
                errors.Required($"{path}.{required.AsString()}");
        foreach (var member in value.Members)
        {
            var inner = schema["properties"u8][member.Name];
            inner = inner.Kind == NodeKind.Object ? inner : schema["additionalProperties"u8];
            string key = Encoding.UTF8.GetString(member.Name);
            Check(at, name.Length == 0 ? key : $"{name}.{key}", member.Value, inner);
        }
    }

    private static string TypeOf(ApiNode value) => value.Kind switch
    {
        NodeKind.String => "string",
        NodeKind.True or NodeKind.False => "boolean",
        NodeKind.Number => IsWhole(value) ? "integer" : "number",
        NodeKind.Array => "array",
        NodeKind.Object => "object",
        _ => "null",
    };

    private static bool IsWhole(ApiNode value) => value.TryGetInt64(out _) || TryNumber(value, out double number) && Math.Floor(number) == number && Math.Abs(number) < 1e18;

    private static bool TryNumber(ApiNode value, out double number)
    {
        number = 0;
        return value.Kind == NodeKind.Number && double.TryParse(value.AsString(), NumberStyles.Float, CultureInfo.InvariantCulture, out number);
    }

    private static bool IsOneOf(ApiNode value, ApiNode allowed)
    {
        foreach (var candidate in allowed.Elements)
            if (candidate.DeepEquals(value))
                return true;
        return false;
    }

    private static List<string> Allowed(ApiNode allowed)
    {
        var words = new List<string>();
        foreach (var candidate in allowed.Elements)
            words.Add(GoText.Quote(candidate.Kind == NodeKind.String ? candidate.AsString() : candidate.ToString()));
        return words;
    }

    private static string Text(ApiNode value) => value.Kind == NodeKind.String ? GoText.Quote(value.Utf8) : value.ToString();

    // Formats that nobody knows are no rule.
    private static bool HasFormat(string format, string text) => format switch
    {
        "date" => DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _),
        "date-time" or "datetime" => DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.None, out _) && text.Length > 10 && text[10] is 'T' or 't' or ' ',
        "ipv4" => IPAddress.TryParse(text, out var v4) && v4.GetAddressBytes().Length == 4 && text.Count(static c => c == '.') == 3,
        "ipv6" => text.Contains(':') && IPAddress.TryParse(text, out _),
        "cidr" => IPNetwork.TryParse(text, out _) || text.Contains('/') && IPAddress.TryParse(text[..text.IndexOf('/')], out _),
        "mac" => IsMac(text),
        "uuid" or "uuid3" or "uuid4" or "uuid5" => Guid.TryParse(text, out _),
        "byte" => Convert.TryFromBase64String(text, new byte[text.Length + 4], out _),
        "uri" => Uri.TryCreate(text, UriKind.Absolute, out _) || text.StartsWith('/'),
        "email" => text.IndexOf('@') is > 0 and var at && at < text.Length - 1,
        "k8s-short-name" => Formats.Is(Format.Dns1123Label, Encoding.UTF8.GetBytes(text)),
        "k8s-long-name" => Formats.Is(Format.Dns1123Subdomain, Encoding.UTF8.GetBytes(text)),
        _ => true,
    };

    private static bool IsMac(string text)
    {
        char separator = text.Length > 2 && text[2] is ':' or '-' ? text[2] : text.Length > 4 && text[4] == '.' ? '.' : '\0';
        string[] parts = separator == '\0' ? [] : text.Split(separator);
        int width = separator == '.' ? 4 : 2;
        return parts.Length * width / 2 is 6 or 8 or 20 && parts.All(part => part.Length == width && part.All(char.IsAsciiHexDigit));
    }
}
