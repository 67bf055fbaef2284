namespace K3sFast.ApiMachinery;

/// <summary>The types of what admission expressions see: the request and the namespace, with upstream's names.</summary>
internal static class AdmissionTypes
{
    private static readonly CelType s_strings = CelType.List(CelType.String);
    private static readonly CelType s_labels = CelType.Map(CelType.String, CelType.String);

    private static readonly CelType s_kind = Of("kubernetes.GroupVersionKind", ("group", CelType.String), ("version", CelType.String), ("kind", CelType.String));
    private static readonly CelType s_resource = Of("kubernetes.GroupVersionResource", ("group", CelType.String), ("version", CelType.String), ("resource", CelType.String));

    private static readonly CelType s_user = Of("kubernetes.UserInfo",
        ("username", CelType.String), ("uid", CelType.String), ("groups", s_strings), ("extra", CelType.Map(CelType.String, s_strings)));

    /// <summary>The variable request.</summary>
    internal static CelType Request { get; } = Of("kubernetes.AdmissionRequest",
        ("kind", s_kind), ("resource", s_resource), ("subResource", CelType.String), ("requestKind", s_kind), ("requestResource", s_resource), ("requestSubResource", CelType.String),
        ("name", CelType.String), ("namespace", CelType.String), ("operation", CelType.String), ("userInfo", s_user), ("dryRun", CelType.Bool), ("options", CelType.Dyn));

    /// <summary>The variable namespaceObject.</summary>
    internal static CelType Namespace { get; } = Of("kubernetes.Namespace",
        ("metadata", Of("kubernetes.NamespaceMetadata",
            ("name", CelType.String), ("generateName", CelType.String), ("namespace", CelType.String), ("labels", s_labels), ("annotations", s_labels), ("UID", CelType.String),
            ("creationTimestamp", CelType.Timestamp), ("deletionGracePeriodSeconds", CelType.Int), ("deletionTimestamp", CelType.Timestamp), ("generation", CelType.Int),
            ("resourceVersion", CelType.String), ("finalizers", s_strings))),
        ("spec", Of("kubernetes.NamespaceSpec", ("finalizers", s_strings))),
        ("status", Of("kubernetes.NamespaceStatus",
            ("conditions", CelType.List(Of("kubernetes.NamespaceCondition",
                ("status", CelType.String), ("type", CelType.String), ("lastTransitionTime", CelType.Timestamp), ("message", CelType.String), ("reason", CelType.String)))),
            ("phase", CelType.String))));

    private static CelType Of(string name, params (string Name, CelType Type)[] fields) => CelType.Object(name, fields.ToDictionary(static field => field.Name, static field => field.Type));
}
