using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Structural schemas: every field has its type outside of the logic (allOf, anyOf, oneOf, not), which only narrows values, and metadata is left to the
/// server. Upstream answers the errors sorted by their text.
/// </summary>
internal static class StructuralSchema
{
    private enum Level
    {
        Root,
        Item,
        Field,
    }

    /// <summary>What keeps the schema from being read as a structural one at all; null when nothing does.</summary>
    internal static string? Problem(ApiNode schema)
    {
        StackGuard.Enter();
        if (schema.Kind != NodeKind.Object)
            return null;
        if (!schema["id"u8].Utf8.IsEmpty)
            return "OpenAPIV3Schema 'id' is not supported";
        if (!schema["$schema"u8].Utf8.IsEmpty)
            return "OpenAPIV3Schema 'schema' is not supported";
        if (!schema["$ref"u8].Utf8.IsEmpty)
            return "OpenAPIV3Schema '$ref' is not supported";
        if (schema["patternProperties"u8].Count > 0)
            return "OpenAPIV3Schema 'patternProperties' is not supported";
        if (schema["dependencies"u8].Count > 0)
            return "OpenAPIV3Schema 'dependencies' is not supported";
        if (!schema["additionalItems"u8].IsNullOrUndefined)
            return "OpenAPIV3Schema 'additionalItems' is not supported";
        if (schema["definitions"u8].Count > 0)
            return "OpenAPIV3Schema 'definitions' is not supported";
        if (Problem(schema["not"u8]) is { } ofNot)
            return ofNot;
        foreach (var name in (ReadOnlySpan<string>)["allOf", "anyOf", "oneOf"])
            foreach (var clause in schema[Encoding.ASCII.GetBytes(name)].Elements)
                if (Problem(clause) is { } problem)
                    return problem;
        if (schema["x-kubernetes-preserve-unknown-fields"u8].Kind == NodeKind.False)
            return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
        if (schema["items"u8].Kind == NodeKind.Array)
            return "OpenAPIV3Schema 'items' must be a schema, but is an array";
        if (Problem(schema["items"u8]) is { } ofItems)
            return ofItems;
        foreach (var property in schema["properties"u8].Members)
            if (Problem(property.Value) is { } problem)
                return problem;
        return Problem(schema["additionalProperties"u8]);
    }

    /// <summary>What is wrong with the root schema at that path, sorted.</summary>
    internal static FieldErrorList Errors(string path, ApiNode schema)
    {
        var check = Check.Rent();
        var at = path.Length == 0 ? check.Root : check.Root[path];
        Invariants(at, schema, Level.Root);
        Complete(at, at, schema, schema);
        var errors = check.Finish();
        var sorted = errors.OrderBy(static error => error.ToString(), StringComparer.Ordinal).ToList();
        errors.Clear();
        errors.AddRange(sorted);
        return errors;
    }

    private static void Invariants(At at, ApiNode schema, Level level)
    {
        StackGuard.Enter();
        if (schema.Kind != NodeKind.Object)
            return;
        var type = schema["type"u8];
        if (type.Equals("array"u8) && schema["items"u8].Kind != NodeKind.Object)
            at["items"].Required("must be specified");
        Invariants(at["items"], schema["items"u8], Level.Item);
        foreach (var property in schema["properties"u8].Members)
            Invariants(at["properties"].Key(property), property.Value, Level.Field);
        var additional = schema["additionalProperties"u8];
        if (!additional.IsNullOrUndefined && level == Level.Root)
            at["additionalProperties"].Forbidden("must not be used at the root");
        Invariants(at["additionalProperties"], additional, Level.Field);
        bool isIntOrString = schema["x-kubernetes-int-or-string"u8].AsBool(), preserves = schema["x-kubernetes-preserve-unknown-fields"u8].AsBool();
        bool isResource = schema["x-kubernetes-embedded-resource"u8].AsBool();
        if (isIntOrString && preserves)
            at["x-kubernetes-preserve-unknown-fields"].Invalid(schema["x-kubernetes-preserve-unknown-fields"u8], "must be false if x-kubernetes-int-or-string is true");
        if (isIntOrString && isResource)
            at["x-kubernetes-embedded-resource"].Invalid(schema["x-kubernetes-embedded-resource"u8], "must be false if x-kubernetes-int-or-string is true");
        Values(at, schema, IsIntOrString(schema["anyOf"u8]), IsIntOrString(schema["allOf"u8][0]["anyOf"u8]));
        Type(at, schema, level, isResource, isIntOrString || preserves);
        if (isResource && !additional.IsNullOrUndefined)
            at["additionalProperties"].Forbidden("must not be used if x-kubernetes-embedded-resource is set");
        if (level == Level.Root && !type.Utf8.IsEmpty && !type.Equals("object"u8))
            at["type"].Invalid(type, "must be object at the root");
        if (level == Level.Root || isResource)
            TypeMeta(at["properties"], schema["properties"u8]);
        Metadata(at["properties"].Key("metadata"), schema["properties"u8]["metadata"u8], level == Level.Root || isResource, level);
        if (isResource && !preserves && schema["properties"u8].Count == 0)
            at["properties"].Required("must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
    }

    private static void Type(At at, ApiNode schema, Level level, bool isResource, bool mayBeAnything)
    {
        var type = schema["type"u8];
        if (isResource && !type.Equals("object"u8))
        {
            if (type.Utf8.IsEmpty)
                at["type"].Required("must be object if x-kubernetes-embedded-resource is true");
            else
                at["type"].Invalid(type, "must be object if x-kubernetes-embedded-resource is true");
        }
        else if (type.Utf8.IsEmpty && !mayBeAnything)
        {
            at["type"].Required(level switch
            {
                Level.Root => "must not be empty at the root",
                Level.Item => "must not be empty for specified array items",
                _ => "must not be empty for specified object fields",
            });
        }
    }

    private static void TypeMeta(At at, ApiNode properties)
    {
        foreach (var name in (ReadOnlySpan<string>)["kind", "apiVersion"])
        {
            var property = properties[Encoding.ASCII.GetBytes(name)];
            if (property.IsDefined && !property["type"u8].Equals("string"u8))
                at.Key(name)["type"].Invalid(property["type"u8].AsString(), "must be string");
        }
    }

    private static void Metadata(At at, ApiNode metadata, bool isChecked, Level level)
    {
        if (!metadata.IsDefined)
            return;
        if (isChecked && !metadata["type"u8].Equals("object"u8))
            at["type"].Invalid(metadata["type"u8].AsString(), "must be object");
        if (level != Level.Root)
            return;
        bool isPlain = true;
        foreach (var property in metadata["properties"u8].Members)
            isPlain &= property.Name.SequenceEqual("name"u8) || property.Name.SequenceEqual("generateName"u8);
        foreach (var member in metadata.Members)
            isPlain &= member.Name.SequenceEqual("type"u8) || member.Name.SequenceEqual("properties"u8) || member.Name.SequenceEqual("default"u8)
                || member.Value.IsNullOrUndefined || member.Value.Kind == NodeKind.False || member.Value.Kind is NodeKind.Array or NodeKind.Object && member.Value.Count == 0;
        if (!isPlain)
            at.Forbidden("must not specify anything other than name and generateName, but metadata is implicitly specified");
    }

    // The one place where types stand in logic: a number or a text.
    private static bool IsIntOrString(ApiNode clauses) =>
        clauses.Count == 2 && clauses[0].Count == 1 && clauses[1].Count == 1 && clauses[0]["type"u8].Equals("integer"u8) && clauses[1]["type"u8].Equals("string"u8);

    private static void Values(At at, ApiNode schema, bool skipsAnyOf, bool skipsFirstAllOf)
    {
        int i = 0;
        if (!skipsAnyOf)
            foreach (var clause in schema["anyOf"u8].Elements)
                Nested(at["anyOf"][i++], clause, false);
        i = 0;
        foreach (var clause in schema["allOf"u8].Elements)
            Nested(at["allOf"][i], clause, skipsFirstAllOf && i++ == 0);
        i = 0;
        foreach (var clause in schema["oneOf"u8].Elements)
            Nested(at["oneOf"][i++], clause, false);
        Nested(at["not"], schema["not"u8], false);
        if (!schema["pattern"u8].Utf8.IsEmpty && SchemaPattern.Problem(schema["pattern"u8].AsString()) is { } problem)
            at["pattern"].Invalid(schema["pattern"u8], $"must be a valid regular expression, but isn't: {problem}");
    }

    private static void Nested(At at, ApiNode clause, bool skipsAnyOf)
    {
        StackGuard.Enter();
        if (clause.Kind != NodeKind.Object)
            return;
        Values(at, clause, skipsAnyOf, false);
        Nested(at["items"], clause["items"u8], false);
        foreach (var property in clause["properties"u8].Members)
            Nested(at["properties"].Key(property), property.Value, false);
        Empty(at, clause, "type", "must be empty to be structural");
        if (clause["additionalProperties"u8].Kind is NodeKind.Object or NodeKind.True)
            at["additionalProperties"].Forbidden("must be undefined to be structural");
        Empty(at, clause, "default", "must be undefined to be structural");
        Empty(at, clause, "title", "must be empty to be structural");
        Empty(at, clause, "description", "must be empty to be structural");
        foreach (string name in (ReadOnlySpan<string>)["nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"])
            if (clause[Encoding.ASCII.GetBytes(name)].AsBool())
                at[name].Forbidden("must be false to be structural");
        Empty(at, clause, "x-kubernetes-list-map-keys", "must be empty to be structural");
        Empty(at, clause, "x-kubernetes-list-type", "must be undefined to be structural");
        Empty(at, clause, "x-kubernetes-map-type", "must be undefined to be structural");
        Empty(at, clause, "x-kubernetes-validations", "must be empty to be structural");
        if (clause["properties"u8]["metadata"u8].IsDefined)
            at["properties"].Key("metadata").Forbidden("must not be specified in a nested context");
    }

    private static void Empty(At at, ApiNode clause, string name, string detail)
    {
        var value = clause[Encoding.ASCII.GetBytes(name)];
        bool isEmpty = value.IsNullOrUndefined || value.Kind == NodeKind.String && value.Utf8.IsEmpty && name != "default" || value.Kind == NodeKind.Array && value.Count == 0 && name != "default";
        if (!isEmpty)
            at[name].Forbidden(detail);
    }

    // Whatever logic speaks of has to be there outside of it.
    private static void Complete(At schemaAt, At at, ApiNode clause, ApiNode schema)
    {
        if (clause["not"u8].Kind == NodeKind.Object)
            CompleteNested(schemaAt, at["not"], clause["not"u8], schema);
        foreach (var name in (ReadOnlySpan<string>)["allOf", "anyOf", "oneOf"])
        {
            int i = 0;
            foreach (var inner in clause[Encoding.ASCII.GetBytes(name)].Elements)
                CompleteNested(schemaAt, at[name][i++], inner, schema);
        }
    }

    private static void CompleteNested(At schemaAt, At at, ApiNode clause, ApiNode schema)
    {
        if (schema.Kind != NodeKind.Object)
        {
            schemaAt.Required($"because it is defined in {at}");
            return;
        }
        Complete(schemaAt, at, clause, schema);
        if (clause["items"u8].Kind == NodeKind.Object)
            CompleteNested(schemaAt["items"], at["items"], clause["items"u8], schema["items"u8]);
        foreach (var property in clause["properties"u8].Members)
            CompleteNested(schemaAt["properties"].Key(property), at["properties"].Key(property), property.Value, schema["properties"u8][property.Name]);
    }
}

/// <summary>Patterns of schemas, which are Go's regular expressions.</summary>
internal static class SchemaPattern
{
    /// <summary>What is wrong with the pattern, in Go's words; null when it can be read.</summary>
    internal static string? Problem(string pattern)
    {
        try
        {
            _ = new Regex(pattern, RegexOptions.CultureInvariant | RegexOptions.NonBacktracking);
            return null;
        }
        catch (NotSupportedException)
        {
            return $"error parsing regexp: invalid or unsupported Perl syntax: `{pattern}`";
        }
        catch (RegexParseException problem)
        {
            return "error parsing regexp: " + problem.Error switch
            {
                RegexParseError.InsufficientClosingParentheses => $"missing closing ): `{pattern}`",
                RegexParseError.InsufficientOpeningParentheses => $"unexpected ): `{pattern}`",
                RegexParseError.UnterminatedBracket => $"missing closing ]: `{pattern[pattern.LastIndexOf('[')..]}`",
                RegexParseError.QuantifierAfterNothing => $"missing argument to repetition operator: `{pattern[Math.Max(0, Math.Min(pattern.Length, problem.Offset) - 1)]}`",
                RegexParseError.NestedQuantifiersNotParenthesized => $"invalid nested repetition operator: `{pattern[Math.Max(0, problem.Offset - 2)..Math.Min(pattern.Length, problem.Offset)]}`",
                RegexParseError.UnescapedEndingBackslash => "trailing backslash at end of expression: ``",
                RegexParseError.ReversedCharacterRange => $"invalid character class range: `{pattern}`",
                _ => $"invalid escape sequence: `{pattern}`",
            };
        }
    }

    /// <summary>Whether the text has the pattern somewhere.</summary>
    internal static bool Matches(string pattern, string text)
    {
        try
        {
            return Regex.IsMatch(text, pattern, RegexOptions.CultureInvariant | RegexOptions.NonBacktracking);
        }
        catch (ArgumentException)
        {
            return false;
        }
    }
}
