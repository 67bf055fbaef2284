using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of default values in structural schemas: they fit their own schema and hold nothing that pruning would take away.</summary>
internal static class SchemaDefaults
{
    /// <summary>What is wrong with the defaults in the schema at that path, in the order of the schema.</summary>
    internal static FieldErrorList Errors(string path, ApiNode schema, bool requiresPruned)
    {
        var check = Check.Rent();
        Walk(check.Root[path], schema, requiresPruned);
        return check.Finish();
    }

    /// <summary>Whether no default has fields that the schema does not know.</summary>
    internal static bool ArePruned(ApiNode schema) =>
        !CrdSchemas.Any(schema, static s => s["default"u8].IsDefined && HasUnknown(s["default"u8], s, isResource: s["x-kubernetes-embedded-resource"u8].AsBool()));

    private static void Walk(At at, ApiNode schema, bool requiresPruned)
    {
        StackGuard.Enter();
        if (schema.Kind != NodeKind.Object)
            return;
        var value = schema["default"u8];
        if (!value.IsNullOrUndefined)
        {
            if (requiresPruned && HasUnknown(value, schema, schema["x-kubernetes-embedded-resource"u8].AsBool()))
                at["default"].Invalid(value, "must not have unknown fields");
            SchemaValues.Check(at["default"], value, schema);
        }
        Walk(at["items"], schema["items"u8], requiresPruned);
        foreach (var property in schema["properties"u8].Members)
            Walk(at["properties"].Key(property), property.Value, requiresPruned);
    }

    private static bool HasUnknown(ApiNode value, ApiNode schema, bool isResource)
    {
        StackGuard.Enter();
        if (schema["x-kubernetes-preserve-unknown-fields"u8].AsBool())
        {
            // What is known below is still cut to what it knows.
            foreach (var member in value.Members)
                if (schema["properties"u8][member.Name] is { Kind: NodeKind.Object } known && HasUnknown(member.Value, known, known["x-kubernetes-embedded-resource"u8].AsBool()))
                    return true;
            return false;
        }
        if (value.Kind == NodeKind.Array)
        {
            foreach (var element in value.Elements)
                if (HasUnknown(element, schema["items"u8], schema["items"u8]["x-kubernetes-embedded-resource"u8].AsBool()))
                    return true;
            return false;
        }
        foreach (var member in value.Members)
        {
            if (isResource && (member.Name.SequenceEqual("metadata"u8) || member.Name.SequenceEqual("kind"u8) || member.Name.SequenceEqual("apiVersion"u8)))
                continue;
            var inner = schema["properties"u8][member.Name];
            if (inner.Kind != NodeKind.Object)
            {
                var additional = schema["additionalProperties"u8];
                if (additional.IsNullOrUndefined || additional.Kind == NodeKind.False)
                    return true;
                inner = additional;
            }
            if (inner.Kind == NodeKind.Object && HasUnknown(member.Value, inner, inner["x-kubernetes-embedded-resource"u8].AsBool()))
                return true;
        }
        return false;
    }
}
