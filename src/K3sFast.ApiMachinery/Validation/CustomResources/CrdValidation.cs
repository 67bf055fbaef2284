using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Validation of custom resource definitions. What all versions have alike is judged once and under the old place of it above the versions, as upstream's
/// internal form has it.
/// </summary>
internal static class CrdValidation
{
    private const string ApprovalAnnotation = "api-approved.kubernetes.io";
    private const string EnhancementsUrl = "https://github.com/kubernetes/enhancements/pull/1111";

    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec")!;

    internal static void Create(At at, ApiNode definition)
    {
        string required = $"{definition["spec"u8]["names"u8]["plural"u8].AsString()}.{definition["spec"u8]["group"u8].AsString()}";
        foreach (string name in (ReadOnlySpan<string>)["generateName", "name"])
        {
            var value = definition["metadata"u8][Encoding.ASCII.GetBytes(name)];
            if (!value.Utf8.IsEmpty && value.AsString() != required)
                at["metadata"][name].Invalid(value, "must be spec.names.plural+\".\"+spec.group");
        }
        Whole(at, definition, new CrdOptions());
    }

    internal static void Update(At at, ApiNode definition, ApiNode old)
    {
        var options = CrdOptions.ForUpdate(old);
        Whole(at, definition, options);
    }

    internal static void UpdateStatus(At at, ApiNode definition, ApiNode old) => Names(at["status"]["acceptedNames"], definition["status"u8]["acceptedNames"u8]);

    internal static bool IsEstablished(ApiNode definition)
    {
        foreach (var condition in definition["status"u8]["conditions"u8].Elements)
            if (condition["type"u8].Equals("Established"u8) && condition["status"u8].Equals("True"u8))
                return true;
        return false;
    }

    internal static bool NamesKnownReview(ApiNode versions)
    {
        foreach (var version in versions.Elements)
            if (version.Equals("v1"u8) || version.Equals("v1beta1"u8))
                return true;
        return false;
    }

    private static void Whole(At at, ApiNode definition, CrdOptions options)
    {
        Spec(at["spec"], definition["spec"u8], options);
        Names(at["status"]["acceptedNames"], definition["status"u8]["acceptedNames"u8]);
        StoredVersions(at["status"]["storedVersions"], definition["status"u8]["storedVersions"u8], definition["spec"u8]["versions"u8]);
        Approval(at["metadata"]["annotations"].Key(ApprovalAnnotation), definition, options.Old);
        if (definition["spec"u8]["preserveUnknownFields"u8].AsBool() && !options.Old["spec"u8]["preserveUnknownFields"u8].AsBool())
            at["spec"]["preserveUnknownFields"].Invalid(
                definition["spec"u8]["preserveUnknownFields"u8], "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
    }

    private static void Spec(At at, ApiNode spec, CrdOptions options)
    {
        var group = spec["group"u8];
        if (group.Utf8.IsEmpty)
            at["group"].Required();
        else if (!Formats.Is(Format.Dns1123Subdomain, group.Utf8))
            at["group"].Invalid(group, string.Join(',', Formats.Problems(Format.Dns1123Subdomain, group.AsString())));
        else if (group.Utf8.IndexOf((byte)'.') < 0)
            at["group"].Invalid(group, "should be a domain with at least one dot");
        at["scope"].RequiredOneOf(spec["scope"u8], ["Cluster", "Namespaced"]);
        var shared = new SharedParts(spec["versions"u8]);
        bool preserves = spec["preserveUnknownFields"u8].AsBool();
        var judged = options with { RequireStructuralSchema = options.RequireStructuralSchema || !preserves || HasExtensions(spec) };
        MissingSchemas(at["versions"], spec["versions"u8], judged.RequireOpenApiSchema, preserves, shared);
        if (HasDefaults(spec))
        {
            judged = judged with { RequireStructuralSchema = true };
            if (preserves)
                at["preserveUnknownFields"].Invalid(spec["preserveUnknownFields"u8], "must be false in order to use defaults in the schema");
        }
        Versions(at["versions"], spec, judged, shared);
        FirstVersion(at["version"], spec["versions"u8][0]["name"u8]);
        foreach (string name in (ReadOnlySpan<string>)["plural", "singular", "kind", "listKind"])
            at["names"][name].RequiredText(spec["names"u8][Encoding.ASCII.GetBytes(name)]);
        Names(at["names"], spec["names"u8]);
        Shared(at, spec["versions"u8], judged, shared);
        Conversion(at["conversion"], spec["conversion"u8], preserves, judged);
        if (options.Old.IsDefined)
            Immutables(at, spec, options);
    }

    private static void Immutables(At at, ApiNode spec, CrdOptions options)
    {
        var old = options.Old["spec"u8];
        if (options.RequireImmutableNames)
        {
            at["scope"].ImmutableMember(spec, old, "scope"u8, s_specType);
            at["names"]["kind"].Immutable(spec["names"u8]["kind"u8], old["names"u8]["kind"u8], null);
        }
        at["group"].ImmutableMember(spec, old, "group"u8, s_specType);
        at["names"]["plural"].Immutable(spec["names"u8]["plural"u8], old["names"u8]["plural"u8], null);
    }

    private static void MissingSchemas(At at, ApiNode versions, bool everyVersionNeedsOne, bool preserves, in SharedParts shared)
    {
        if (shared.HasSchema)
            return;
        int i = 0;
        foreach (var version in versions.Elements)
        {
            var place = at[i++]["schema"]["openAPIV3Schema"];
            if (version["schema"u8]["openAPIV3Schema"u8].Kind == NodeKind.Object)
                continue;
            if (everyVersionNeedsOne)
                place.Required();
            else if (!preserves && version["served"u8].AsBool())
                place.Required("because otherwise all fields are pruned");
        }
    }

    private static void Versions(At at, ApiNode spec, CrdOptions options, in SharedParts shared)
    {
        var versions = spec["versions"u8];
        var seen = new HashSet<string>();
        bool isUnique = true;
        int stored = 0, i = 0;
        foreach (var version in versions.Elements)
        {
            var place = at[i++];
            stored += version["storage"u8].AsBool() ? 1 : 0;
            isUnique &= seen.Add(version["name"u8].AsString());
            if (!Formats.Is(Format.Dns1035Label, version["name"u8].Utf8))
                place["name"].Invalid(version["name"u8], string.Join(',', Formats.Problems(Format.Dns1035Label, version["name"u8].AsString())));
            CrdVersionParts.Deprecation(place["deprecationWarning"], version);
            var first = versions[0];
            var subresources = shared.Subresources ? first["subresources"u8] : version["subresources"u8];
            if (!shared.Schema)
                CrdSchemas.Check(place["schema"], version, CrdVersionParts.HasStatus(subresources), options);
            if (!shared.Subresources)
                CrdVersionParts.Subresources(place["subresources"], version["subresources"u8]);
            if (!shared.Columns)
                CrdVersionParts.Columns(place["additionalPrinterColumns"], version["additionalPrinterColumns"u8]);
            if (!shared.SelectableFields && version["selectableFields"u8].Count > 0)
                CrdVersionParts.SelectableFields(place["selectableFields"], version, shared.Schema ? default : version["schema"u8]["openAPIV3Schema"u8],
                    "may only be set when `version.schema.openAPIV3Schema` is not included", options);
        }
        if (!isUnique)
            InvalidVersions(at, versions, shared, "must contain unique version names");
        if (stored != 1)
            InvalidVersions(at, versions, shared, "must have exactly one version marked as storage version");
    }

    // Shown without what stands above the versions in upstream's form.
    private static void InvalidVersions(At at, ApiNode versions, in SharedParts shared, string detail)
    {
        if (versions.Count == 0)
        {
            at.Invalid(default(ApiNode), detail);
            return;
        }
        var copy = versions.Document.NewObject().Set("versions"u8, versions);
        foreach (var version in copy.Elements)
        {
            if (shared.Schema)
                version.Remove("schema"u8);
            if (shared.Subresources)
                version.Remove("subresources"u8);
            if (shared.Columns)
                version.Remove("additionalPrinterColumns"u8);
            if (shared.SelectableFields)
                version.Remove("selectableFields"u8);
        }
        var holder = versions.Document.NewObject();
        holder.Set("versions"u8, copy);
        at.InvalidMember(holder, "versions", s_specType, detail);
    }

    private static void FirstVersion(At at, ApiNode name)
    {
        if (!name.Utf8.IsEmpty && !Formats.Is(Format.Dns1035Label, name.Utf8))
            at.Invalid(name, string.Join(',', Formats.Problems(Format.Dns1035Label, name.AsString())));
    }

    private static void Shared(At at, ApiNode versions, CrdOptions options, in SharedParts shared)
    {
        var first = versions[0];
        if (shared.Schema)
        {
            bool hasStatus = false;
            foreach (var version in versions.Elements)
                hasStatus |= CrdVersionParts.HasStatus(version["subresources"u8]);
            CrdSchemas.Check(at["validation"], first, hasStatus, options);
        }
        if (shared.Subresources)
            CrdVersionParts.Subresources(at["subresources"], first["subresources"u8]);
        if (shared.Columns)
            CrdVersionParts.Columns(at["additionalPrinterColumns"], first["additionalPrinterColumns"u8]);
        if (shared.SelectableFields && first["selectableFields"u8].Count > 0)
            CrdVersionParts.SelectableFields(at["selectableFields"], first, shared.Schema ? first["schema"u8]["openAPIV3Schema"u8] : default,
                "may only be set when validations.schema is included", options);
    }

    private static void Names(At at, ApiNode names)
    {
        Label(at["plural"], names["plural"u8]);
        Label(at["singular"], names["singular"u8]);
        Kind(at["kind"], names["kind"u8]);
        Kind(at["listKind"], names["listKind"u8]);
        int i = 0;
        foreach (var name in names["shortNames"u8].Elements)
            Label(at["shortNames"][i++], name, isRequired: true);
        if (!names["kind"u8].Utf8.IsEmpty && names["kind"u8].Equals(names["listKind"u8].Utf8))
            at["listKind"].Invalid(names["listKind"u8], "kind and listKind may not be the same");
        i = 0;
        foreach (var category in names["categories"u8].Elements)
            Label(at["categories"][i++], category, isRequired: true);
    }

    private static void Label(At at, ApiNode name, bool isRequired = false)
    {
        if ((isRequired || !name.Utf8.IsEmpty) && !Formats.Is(Format.Dns1035Label, name.Utf8))
            at.Invalid(name, string.Join(',', Formats.Problems(Format.Dns1035Label, name.AsString())));
    }

    private static void Kind(At at, ApiNode kind)
    {
        var problems = Formats.Problems(Format.Dns1035Label, kind.AsString().ToLowerInvariant());
        if (!kind.Utf8.IsEmpty && problems.Count > 0)
            at.Invalid(kind, "may have mixed case, but should otherwise match: " + string.Join(',', problems));
    }

    private static void Conversion(At at, ApiNode conversion, bool preserves, CrdOptions options)
    {
        if (conversion.Kind != NodeKind.Object)
            return;
        var strategy = conversion["strategy"u8];
        if (preserves && !strategy.Equals("None"u8))
            at["strategy"].Invalid(strategy, "must be None if spec.preserveUnknownFields is true");
        at["strategy"].RequiredOneOf(strategy, ["None", "Webhook"]);
        var webhook = conversion["webhook"u8];
        var client = webhook["clientConfig"u8];
        var reviews = webhook["conversionReviewVersions"u8];
        if (!strategy.Equals("Webhook"u8))
        {
            if (client.Kind == NodeKind.Object)
                at["webhookClientConfig"].Forbidden("should not be set when strategy is not set to Webhook");
            if (reviews.Count > 0)
                at["conversionReviewVersions"].Forbidden("should not be set when strategy is not set to Webhook");
            return;
        }
        if (client.Kind != NodeKind.Object)
            at["webhookClientConfig"].Required("required when strategy is set to Webhook");
        else
            WebhookValidation.ConversionClient(at["webhookClientConfig"], client, options.AllowInvalidBundle);
        ReviewVersions(at["conversionReviewVersions"], reviews, options.RequireKnownReviewVersion);
    }

    private static void ReviewVersions(At at, ApiNode versions, bool requiresKnown)
    {
        if (versions.Count == 0)
        {
            at.Required();
            return;
        }
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var version in versions.Elements)
        {
            var place = at[i++];
            if (!seen.Add(version.AsString()))
                place.Invalid(version, "duplicate version");
            else
                place.Format(Format.Dns1035Label, version);
        }
        if (requiresKnown && !NamesKnownReview(versions))
            at.Invalid(versions, "must include at least one of v1, v1beta1");
    }

    private static void StoredVersions(At at, ApiNode stored, ApiNode versions)
    {
        if (stored.Count == 0)
        {
            at.Invalid(default(ApiNode), "must have at least one stored version");
            return;
        }
        var left = new Dictionary<string, int>();
        int i = 0;
        foreach (var version in stored.Elements)
            left[version.AsString()] = i++;
        foreach (var version in versions.Elements)
        {
            string name = version["name"u8].AsString();
            if (!left.Remove(name) && version["storage"u8].AsBool())
                at.Invalid(stored, $"must have the storage version {name}");
        }
        foreach (var (name, index) in left.OrderBy(static entry => entry.Value))
            at[index].Invalid(name, $"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data "
                + $"remains persisted in {name} and removes {name} from status.storedVersions");
    }

    // Groups of the community need a reviewed API, or an owner who says that it is not.
    private static void Approval(At at, ApiNode definition, ApiNode old)
    {
        string group = definition["spec"u8]["group"u8].AsString();
        if (group is not ("k8s.io" or "kubernetes.io") && !group.EndsWith(".k8s.io", StringComparison.Ordinal) && !group.EndsWith(".kubernetes.io", StringComparison.Ordinal))
            return;
        string annotation = definition["metadata"u8]["annotations"u8]["api-approved.kubernetes.io"u8].AsString();
        int state = ApprovalOf(annotation);
        if (old.IsDefined && ApprovalOf(old["metadata"u8]["annotations"u8]["api-approved.kubernetes.io"u8].AsString()) == state)
            return;
        if (state == 0)
            at.Required($"protected groups must have approval annotation \"{ApprovalAnnotation}\", see {EnhancementsUrl}");
        else if (state == 3)
            at.Invalid(annotation, $"protected groups must have approval annotation \"{ApprovalAnnotation}\" with either a URL or a reason starting with \"unapproved\", see {EnhancementsUrl}");
    }

    private static int ApprovalOf(string annotation)
    {
        if (annotation.Length == 0)
            return 0;
        if (annotation.StartsWith("unapproved", StringComparison.Ordinal))
            return 1;
        return Uri.TryCreate(annotation, UriKind.Absolute, out var url) && url.Host.Length > 0 ? 2 : 3;
    }

    private static bool HasDefaults(ApiNode spec) => AnySchema(spec, static s => s["default"u8].IsDefined);

    private static bool HasExtensions(ApiNode spec) => AnySchema(spec, static s =>
        s["x-kubernetes-embedded-resource"u8].AsBool() || !s["x-kubernetes-preserve-unknown-fields"u8].IsNullOrUndefined || s["x-kubernetes-int-or-string"u8].AsBool()
        || s["x-kubernetes-list-map-keys"u8].Count > 0 || !s["x-kubernetes-list-type"u8].IsNullOrUndefined || s["x-kubernetes-validations"u8].Count > 0);

    private static bool AnySchema(ApiNode spec, Func<ApiNode, bool> isWanted)
    {
        foreach (var version in spec["versions"u8].Elements)
            if (CrdSchemas.Any(version["schema"u8]["openAPIV3Schema"u8], isWanted))
                return true;
        return false;
    }

    /// <summary>Which parts are the same in all versions.</summary>
    private readonly struct SharedParts
    {
        internal SharedParts(ApiNode versions)
        {
            Schema = AreSame(versions, "schema"u8);
            Subresources = AreSame(versions, "subresources"u8);
            Columns = AreSame(versions, "additionalPrinterColumns"u8);
            SelectableFields = AreSame(versions, "selectableFields"u8);
            HasSchema = Schema && versions[0]["schema"u8]["openAPIV3Schema"u8].Kind == NodeKind.Object;
        }

        internal bool Schema { get; }

        internal bool HasSchema { get; }

        internal bool Subresources { get; }

        internal bool Columns { get; }

        internal bool SelectableFields { get; }

        private static bool AreSame(ApiNode versions, ReadOnlySpan<byte> part)
        {
            var first = versions[0][part];
            foreach (var version in versions.Elements)
                if (!(version[part].IsNullOrUndefined && first.IsNullOrUndefined || version[part].DeepEquals(first)))
                    return false;
            return versions.Count > 0;
        }
    }
}
