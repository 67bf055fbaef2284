namespace K3sFast.ApiMachinery;

/// <summary>How strictly a custom resource definition is judged: an update may keep what was stored before a rule was made.</summary>
internal sealed record CrdOptions
{
    internal bool RequireOpenApiSchema { get; init; } = true;

    internal bool RequireValidTypes { get; init; } = true;

    internal bool RequireStructuralSchema { get; init; } = true;

    internal bool RequirePrunedDefaults { get; init; } = true;

    internal bool RequireAtomicSets { get; init; } = true;

    internal bool RequireMapKeys { get; init; } = true;

    internal bool RequireKnownReviewVersion { get; init; } = true;

    internal bool RequireImmutableNames { get; init; }

    internal bool AllowInvalidBundle { get; init; } = true;

    /// <summary>The stored definition; undefined for a new one.</summary>
    internal ApiNode Old { get; init; }

    /// <summary>True when the version's schema is stored as it is now.</summary>
    internal bool IsStored(ApiNode version)
    {
        foreach (var stored in Old["spec"u8]["versions"u8].Elements)
        {
            if (stored["name"u8].Equals(version["name"u8].Utf8))
                return stored["schema"u8].DeepEquals(version["schema"u8]);
        }
        return false;
    }

    /// <summary>The options for an update of a stored definition.</summary>
    internal static CrdOptions ForUpdate(ApiNode old)
    {
        var schemas = new List<ApiNode>();
        bool everyVersionHasOne = true;
        foreach (var version in old["spec"u8]["versions"u8].Elements)
        {
            var schema = version["schema"u8]["openAPIV3Schema"u8];
            everyVersionHasOne &= schema.Kind == NodeKind.Object;
            if (schema.Kind == NodeKind.Object)
                schemas.Add(schema);
        }
        bool None(Func<ApiNode, bool> isBad) => !schemas.Exists(schema => CrdSchemas.Any(schema, isBad));
        var conversion = old["spec"u8]["conversion"u8]["webhook"u8];
        bool isEstablished = CrdValidation.IsEstablished(old);
        return new CrdOptions
        {
            RequireOpenApiSchema = everyVersionHasOne,
            RequireValidTypes = None(static s => !s["type"u8].Utf8.IsEmpty && !CrdSchemas.IsKnownType(s["type"u8])),
            RequireStructuralSchema = schemas.TrueForAll(static schema => StructuralSchema.Problem(schema) is null && StructuralSchema.Errors("", schema).Count == 0),
            RequirePrunedDefaults = schemas.TrueForAll(static schema => SchemaDefaults.ArePruned(schema)),
            RequireAtomicSets = None(CrdSchemas.HasOpenSet),
            RequireMapKeys = None(static s => CrdSchemas.HasLooseKeys(s)),
            RequireKnownReviewVersion = conversion["conversionReviewVersions"u8].Count == 0 || CrdValidation.NamesKnownReview(conversion["conversionReviewVersions"u8]),
            RequireImmutableNames = isEstablished,
            AllowInvalidBundle = !isEstablished || WebhookValidation.IsInvalidBundle(conversion["clientConfig"u8]["caBundle"u8]),
            Old = old,
        };
    }
}
