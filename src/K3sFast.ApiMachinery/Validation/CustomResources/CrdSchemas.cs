using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of the OpenAPI schemas in a custom resource definition: what OpenAPI allows is narrowed to what a server can serve well.</summary>
internal static class CrdSchemas
{
    private static readonly string[] s_types = ["array", "boolean", "integer", "number", "object", "string"];
    private static readonly string[] s_reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

    private static readonly string[] s_allowedAtRoot =
    [
        "Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength", "MinLength", "Pattern", "MaxItems", "MinItems",
        "UniqueItems", "MultipleOf", "Required", "Items", "Properties", "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations",
    ];

    private static readonly TypeSchema s_type = Schema.BuiltIn.FindType("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")!;

    /// <summary>Validates one version's schema (or that of all versions, then the first is given).</summary>
    internal static void Check(At at, ApiNode version, bool hasStatus, CrdOptions options)
    {
        var schema = version["schema"u8]["openAPIV3Schema"u8];
        if (schema.Kind != NodeKind.Object)
            return;
        var errors = at.Check.Errors;
        int before = errors.Count;
        var root = at["openAPIV3Schema"];
        if (hasStatus)
            RootWithStatus(root, schema);
        if (schema["nullable"u8].AsBool())
            root["nullable"].Forbidden("nullable cannot be true at the root");
        string? problem = null;
        bool isSound = false;
        if (options.RequireStructuralSchema)
        {
            problem = StructuralSchema.Problem(schema);
            var structural = problem is null ? StructuralSchema.Errors(root.ToString(), schema) : [];
            var defaults = problem is null && structural.Count == 0 ? SchemaDefaults.Errors(root.ToString(), schema, options.RequirePrunedDefaults) : [];
            errors.AddRange(structural);
            errors.AddRange(defaults);
            isSound = problem is null && structural.Count == 0 && defaults.Count == 0;
        }
        int beforeOpenApi = errors.Count;
        new Walk(options).Schema(root, schema, isRoot: true, new Context(true, "", false));
        if (errors.Count == before && problem is not null)
            root.Invalid("", problem);
        if (isSound && errors.Count == beforeOpenApi)
            CrdExpressions.Judge(root, schema, options.IsStored(version));
    }

    /// <summary>Whether the schema or one below it is so.</summary>
    internal static bool Any(ApiNode schema, Func<ApiNode, bool> isWanted)
    {
        StackGuard.Enter();
        if (schema.Kind != NodeKind.Object)
            return false;
        if (isWanted(schema))
            return true;
        foreach (var name in (ReadOnlySpan<string>)["items", "not", "additionalProperties", "additionalItems"])
        {
            var below = schema[Encoding.ASCII.GetBytes(name)];
            if (below.Kind == NodeKind.Array ? AnyOf(below, isWanted) : Any(below, isWanted))
                return true;
        }
        foreach (var name in (ReadOnlySpan<string>)["allOf", "anyOf", "oneOf"])
            if (AnyOf(schema[Encoding.ASCII.GetBytes(name)], isWanted))
                return true;
        foreach (var name in (ReadOnlySpan<string>)["properties", "patternProperties", "definitions", "dependencies"])
            foreach (var member in schema[Encoding.ASCII.GetBytes(name)].Members)
                if (Any(member.Value, isWanted))
                    return true;
        return false;
    }

    internal static bool IsKnownType(ApiNode type) => s_types.Contains(type.AsString());

    /// <summary>A set whose elements could be merged: they must be atomic.</summary>
    internal static bool HasOpenSet(ApiNode schema)
    {
        var items = schema["items"u8];
        if (!schema["x-kubernetes-list-type"u8].Equals("set"u8) || items.Kind != NodeKind.Object)
            return false;
        if (items["type"u8].Equals("array"u8))
            return !items["x-kubernetes-list-type"u8].IsNullOrUndefined && !items["x-kubernetes-list-type"u8].Equals("atomic"u8);
        return items["type"u8].Equals("object"u8) && !items["x-kubernetes-map-type"u8].Equals("atomic"u8);
    }

    internal static bool HasLooseKeys(ApiNode schema)
    {
        var check = K3sFast.ApiMachinery.Check.Rent();
        MapKeys(check.Root, schema);
        return check.Finish().Count > 0;
    }

    private static bool AnyOf(ApiNode schemas, Func<ApiNode, bool> isWanted)
    {
        foreach (var schema in schemas.Elements)
            if (Any(schema, isWanted))
                return true;
        return false;
    }

    // The status' own schema is cut out of the root, so nothing there may speak of the whole.
    private static void RootWithStatus(At at, ApiNode schema)
    {
        foreach (var (name, field, _, _) in GoLayout.Of(s_type))
        {
            var value = schema[field!.JsonNameUtf8];
            if (value.IsNullOrUndefined || value.Kind == NodeKind.False || value.Kind == NodeKind.String && value.Utf8.IsEmpty)
                continue;
            if (name == "Type")
            {
                if (value.Equals("object"u8))
                    continue;
                at["type"].Invalid(value, "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled");
                return;
            }
            if (s_allowedAtRoot.Contains(name))
                continue;
            at.InvalidValue(schema, s_type, $"only [{string.Join(' ', s_allowedAtRoot)}] fields are allowed at the root of the schema if the status subresource is enabled");
            return;
        }
    }

    private static void MapKeys(At at, ApiNode schema)
    {
        var items = schema["items"u8];
        var type = schema["x-kubernetes-list-type"u8];
        bool isMap = type.Equals("map"u8);
        if (items.Kind != NodeKind.Object || !isMap && !type.Equals("set"u8))
            return;
        if (items["nullable"u8].AsBool())
            at["items"]["nullable"].Forbidden($"cannot be nullable when x-kubernetes-list-type is {type.AsString()}");
        foreach (var key in schema["x-kubernetes-list-map-keys"u8].Elements)
        {
            var property = items["properties"u8][key.Utf8];
            if (!isMap || property.Kind != NodeKind.Object)
                continue;
            var place = at["items"]["properties"].Key(key.AsString());
            if (!Contains(items["required"u8], key.Utf8) && property["default"u8].IsNullOrUndefined)
                place["default"].Required("this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
            if (property["nullable"u8].AsBool())
                place["nullable"].Forbidden("this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
        }
    }

    private static bool Contains(ApiNode list, ReadOnlySpan<byte> value)
    {
        foreach (var element in list.Elements)
            if (element.Equals(value))
                return true;
        return false;
    }

    /// <summary>What a schema's place in the whole forbids it.</summary>
    private readonly record struct Context(bool AllowsDefaults, string WhyNot, bool IsInsideMetadata)
    {
        internal Context WithoutDefaults(string why) => this with { AllowsDefaults = false, WhyNot = why };
    }

    private readonly struct Walk(CrdOptions options)
    {
        internal void Schema(At at, ApiNode schema, bool isRoot, Context context)
        {
            StackGuard.Enter();
            if (schema.Kind != NodeKind.Object)
                return;
            Unsupported(at, schema, context);
            if (schema["uniqueItems"u8].AsBool())
                at["uniqueItems"].Forbidden("uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
            var additional = schema["additionalProperties"u8];
            if (!additional.IsNullOrUndefined)
            {
                if (schema["properties"u8].Count > 0 && additional.Kind != NodeKind.True)
                    at["additionalProperties"].Forbidden("additionalProperties and properties are mutual exclusive");
                Schema(at["additionalProperties"], additional, false,
                    context.IsInsideMetadata ? context.WithoutDefaults("inside additionalProperties applying to object metadata") : context);
            }
            foreach (var property in schema["properties"u8].Members)
            {
                var inner = context;
                string name = Encoding.UTF8.GetString(property.Name);
                if ((isRoot || schema["x-kubernetes-embedded-resource"u8].AsBool()) && name is "metadata" or "kind" or "apiVersion")
                {
                    inner = inner with { IsInsideMetadata = true };
                    if (isRoot)
                        inner = inner.WithoutDefaults($"in top-level {name}");
                }
                Schema(at["properties"].Key(property), property.Value, false, inner);
            }
            Schema(at["not"], schema["not"u8], false, context);
            foreach (var name in (ReadOnlySpan<string>)["allOf", "oneOf", "anyOf"])
                List(at[name], schema[Encoding.ASCII.GetBytes(name)], context);
            foreach (var definition in schema["definitions"u8].Members)
                Schema(at["definitions"].Key(definition), definition.Value, false, context);
            if (schema["items"u8].Kind == NodeKind.Array)
                List(at["items"], schema["items"u8], context);
            else
                Schema(at["items"], schema["items"u8], false, context);
            foreach (var dependency in schema["dependencies"u8].Members)
                Schema(at["dependencies"].Key(dependency), dependency.Value, false, context);
            Extensions(at, schema);
        }

        private void List(At at, ApiNode schemas, Context context)
        {
            int i = 0;
            foreach (var schema in schemas.Elements)
                Schema(at[i++], schema, false, context);
        }

        private void Unsupported(At at, ApiNode schema, Context context)
        {
            var type = schema["type"u8];
            if (options.RequireValidTypes && !type.Utf8.IsEmpty && !IsKnownType(type))
                at["type"].NotSupported(type, s_types);
            if (!schema["default"u8].IsNullOrUndefined && !context.AllowsDefaults)
                at["default"].Forbidden(context.WhyNot.Length == 0 ? "must not be set" : $"must not be set {context.WhyNot}");
            if (!schema["id"u8].Utf8.IsEmpty)
                at["id"].Forbidden("id is not supported");
            foreach (var name in (ReadOnlySpan<string>)["additionalItems", "patternProperties", "definitions", "dependencies", "$ref"])
            {
                var value = schema[Encoding.ASCII.GetBytes(name)];
                if (!value.IsNullOrUndefined && (value.Kind != NodeKind.Object || value.Count > 0 || name is "additionalItems" or "dependencies"))
                    at[name].Forbidden($"{name} is not supported");
            }
            if (type.Equals("null"u8))
                at["type"].Forbidden("type cannot be set to null, use nullable as an alternative");
            if (schema["items"u8].Kind == NodeKind.Array && schema["items"u8].Count > 0)
                at["items"].Forbidden("items must be a schema object and not an array");
            if (context.IsInsideMetadata && schema["x-kubernetes-embedded-resource"u8].AsBool())
                at["x-kubernetes-embedded-resource"].Forbidden("must not be used inside of resource meta");
        }

        private void Extensions(At at, ApiNode schema)
        {
            if (schema["x-kubernetes-preserve-unknown-fields"u8].Kind == NodeKind.False)
                at["x-kubernetes-preserve-unknown-fields"].Invalid(schema["x-kubernetes-preserve-unknown-fields"u8], "must be true or undefined");
            var mapType = schema["x-kubernetes-map-type"u8];
            if (!mapType.IsNullOrUndefined)
            {
                TypeFor(at["type"], schema["type"u8], "object", "x-kubernetes-map-type");
                at["x-kubernetes-map-type"].OneOf(mapType, ["atomic", "granular"]);
            }
            var listType = schema["x-kubernetes-list-type"u8];
            if (!listType.IsNullOrUndefined && !TypeFor(at["type"], schema["type"u8], "array", "x-kubernetes-list-type"))
            {
            }
            else if (options.RequireAtomicSets && HasOpenSet(schema))
            {
                bool isArray = schema["items"u8]["type"u8].Equals("array"u8);
                at["items"][isArray ? "x-kubernetes-list-type" : "x-kubernetes-map-type"].Invalid(
                    schema["items"u8]["x-kubernetes-list-type"u8], "must be atomic as item of a list with x-kubernetes-list-type=set");
            }
            if (!listType.IsNullOrUndefined)
                at["x-kubernetes-list-type"].OneOf(listType, ["atomic", "set", "map"]);
            ListMap(at, schema, listType);
            if (options.RequireMapKeys)
                MapKeys(at, schema);
            Rules(at["x-kubernetes-validations"], schema);
        }

        private static bool TypeFor(At at, ApiNode type, string wanted, string because)
        {
            if (type.AsString() == wanted)
                return true;
            if (type.Utf8.IsEmpty)
                at.Required($"must be {wanted} if {because} is specified");
            else
                at.Invalid(type, $"must be {wanted} if {because} is specified");
            return false;
        }

        private static void ListMap(At at, ApiNode schema, ApiNode listType)
        {
            var keys = schema["x-kubernetes-list-map-keys"u8];
            if (keys.Count > 0 && listType.IsNullOrUndefined)
                at["x-kubernetes-list-type"].Required("must be map if x-kubernetes-list-map-keys is non-empty");
            else if (keys.Count > 0 && !listType.Equals("map"u8))
                at["x-kubernetes-list-type"].Invalid(listType, "must be map if x-kubernetes-list-map-keys is non-empty");
            if (!listType.Equals("map"u8))
                return;
            if (keys.Count == 0)
                at["x-kubernetes-list-map-keys"].Required("must not be empty if x-kubernetes-list-type is map");
            var items = schema["items"u8];
            if (items.IsNullOrUndefined)
                at["items"].Required("must have a schema if x-kubernetes-list-type is map");
            else if (items.Kind == NodeKind.Array)
                at["items"].InvalidMember(schema, "items", s_type, "must only have a single schema if x-kubernetes-list-type is map");
            else if (!items["type"u8].Equals("object"u8))
                at["items"]["type"].Invalid(items["type"u8].AsString(), "must be object if parent array's x-kubernetes-list-type is map");
            else
                Keys(at, items, keys);
        }

        private static void Keys(At at, ApiNode items, ApiNode keys)
        {
            var seen = new HashSet<string>();
            foreach (var key in keys.Elements)
            {
                var property = items["properties"u8][key.Utf8];
                if (property.Kind != NodeKind.Object)
                    at["x-kubernetes-list-map-keys"].Invalid(keys, "entries must all be names of item properties");
                else if (property["type"u8].AsString() is "array" or "object")
                    at["items"]["properties"].Key(key.AsString())["type"].Invalid(items["type"u8], "must be a scalar type if parent array's x-kubernetes-list-type is map");
                if (!seen.Add(key.AsString()))
                    at["x-kubernetes-list-map-keys"].Invalid(keys, "must not contain duplicate entries");
            }
        }

        private static void Rules(At at, ApiNode schema)
        {
            int i = 0;
            foreach (var rule in schema["x-kubernetes-validations"u8].Elements)
            {
                var place = at[i++];
                string text = rule["rule"u8].AsString().Trim(), message = rule["message"u8].AsString(), fieldPath = rule["fieldPath"u8].AsString();
                if (text.Length == 0)
                    place["rule"].Required("rule is not specified");
                else if (message.Length > 0 && message.Trim().Length == 0)
                    place["message"].Invalid(message, "must be non-empty if specified");
                else if (HasLineBreak(message.Trim()))
                    place["message"].Invalid(message, "must not contain line breaks");
                else if (HasLineBreak(text) && message.Trim().Length == 0)
                    place["message"].Required("message must be specified if rule contains line breaks");
                string expression = rule["messageExpression"u8].AsString();
                if (expression.Length > 0 && expression.Trim().Length == 0)
                    place["messageExpression"].Required("messageExpression must be non-empty if specified");
                if (!rule["reason"u8].IsNullOrUndefined)
                    place["reason"].OneOf(rule["reason"u8], s_reasons);
                if (fieldPath.Length == 0)
                    continue;
                if (fieldPath.Trim().Length == 0)
                    place["fieldPath"].Invalid(fieldPath, "must be non-empty if specified");
                if (HasLineBreak(fieldPath))
                    place["fieldPath"].Invalid(fieldPath, "must not contain line breaks");
                if (StructuralSchema.Problem(schema) is null && SchemaPath.Find(fieldPath, schema, allowsBrackets: true, out _, out _) is not null)
                    place["fieldPath"].Invalid(fieldPath, "must be a valid path");
            }
        }

        private static bool HasLineBreak(string text) => text.AsSpan().IndexOfAny('\n', '\r') >= 0;
    }
}
