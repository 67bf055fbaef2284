namespace K3sFast.ApiMachinery;

/// <summary>Validation of environment variables and of the references they and downward API files take their values from.</summary>
internal static class EnvValidation
{
    private static readonly string[] s_envFieldPaths =
    [
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    ];

    private static readonly string[] s_fileFieldPaths = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

    private static readonly string[] s_resources =
        ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];

    internal static void Variables(At at, ApiNode variables)
    {
        int i = 0;
        foreach (var variable in variables.Elements)
        {
            var place = at[i++];
            if (variable["name"u8].Utf8.IsEmpty)
                place["name"].Required();
            else
                place["name"].Format(Format.EnvName, variable["name"u8]);
            if (variable["valueFrom"u8].Kind == NodeKind.Object)
                ValueFrom(place["valueFrom"], variable["valueFrom"u8], hasValue: !variable["value"u8].Utf8.IsEmpty);
        }
    }

    internal static void Sources(At at, ApiNode sources)
    {
        int i = 0;
        foreach (var source in sources.Elements)
        {
            var place = at[i++];
            if (!source["prefix"u8].Utf8.IsEmpty)
                place["prefix"].Format(Format.EnvName, source["prefix"u8]);
            int count = 0;
            if (source["configMapRef"u8].Kind == NodeKind.Object)
            {
                count++;
                RequiredName(place["configMapRef"]["name"], source["configMapRef"u8]["name"u8]);
            }
            if (source["secretRef"u8].Kind == NodeKind.Object)
            {
                count++;
                RequiredName(place["secretRef"]["name"], source["secretRef"u8]["name"u8]);
            }
            if (count == 0)
                at.Invalid("", "must specify one of: `configMapRef` or `secretRef`");
            else if (count > 1)
                at.Invalid("", "may not have more than one field specified at a time");
        }
    }

    /// <summary>A field of the pod; <paramref name="isFile"/> for downward API volumes, which may name whole maps.</summary>
    internal static void FieldRef(At at, ApiNode reference, bool isFile)
    {
        var fieldPath = reference["fieldPath"u8];
        if (reference["apiVersion"u8].Utf8.IsEmpty)
        {
            at["apiVersion"].Required();
            return;
        }
        if (fieldPath.Utf8.IsEmpty)
        {
            at["fieldPath"].Required();
            return;
        }
        string path = fieldPath.AsString();
        int bracket = path.IndexOf("['", StringComparison.Ordinal);
        if (bracket > 0 && path.EndsWith("']", StringComparison.Ordinal))
        {
            string subscript = path[(bracket + 2)..^2];
            if (path[..bracket] is "metadata.annotations")
                at.Format(Format.LabelKey, subscript.ToLowerInvariant());
            else if (path[..bracket] is "metadata.labels")
                at.Format(Format.LabelKey, subscript);
            else
                at["fieldPath"].Invalid(path, $"error converting fieldPath: field label does not support subscript: {path}");
            return;
        }
        var supported = isFile ? s_fileFieldPaths : s_envFieldPaths;
        if (Array.IndexOf(supported, path) >= 0)
            return;
        // A path that the other use knows is refused by name; anything else is no field at all.
        if (IsFieldLabel(path))
            at["fieldPath"].NotSupported(fieldPath, supported);
        else
            at["fieldPath"].Invalid(path, $"error converting fieldPath: field label not supported: {path}");
    }

    internal static void ResourceFieldRef(At at, ApiNode reference, bool isFile)
    {
        string resource = reference["resource"u8].AsString();
        if (isFile && reference["containerName"u8].Utf8.IsEmpty)
            at["containerName"].Required();
        else if (resource.Length == 0)
            at["resource"].Required();
        else if (Array.IndexOf(s_resources, resource) < 0 && !resource.StartsWith("limits.hugepages-", StringComparison.Ordinal)
            && !resource.StartsWith("requests.hugepages-", StringComparison.Ordinal))
            at["resource"].NotSupported(reference["resource"u8], s_resources);
        Divisor(at["divisor"], resource, reference["divisor"u8]);
    }

    private static void ValueFrom(At at, ApiNode source, bool hasValue)
    {
        int count = 0;
        if (IsSet(source["fieldRef"u8], ref count))
            FieldRef(at["fieldRef"], source["fieldRef"u8], isFile: false);
        if (IsSet(source["resourceFieldRef"u8], ref count))
            ResourceFieldRef(at["resourceFieldRef"], source["resourceFieldRef"u8], isFile: false);
        if (IsSet(source["configMapKeyRef"u8], ref count))
            KeyRef(at["configMapKeyRef"], source["configMapKeyRef"u8]);
        if (IsSet(source["secretKeyRef"u8], ref count))
            KeyRef(at["secretKeyRef"], source["secretKeyRef"u8]);
        if (IsSet(source["fileKeyRef"u8], ref count))
            FileKeyRef(at["fileKeyRef"], source["fileKeyRef"u8]);
        if (count == 0)
            at.Invalid("", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
        else if (hasValue)
            at.Invalid("", "may not be specified when `value` is not empty");
        else if (count > 1)
            at.Invalid("", "may not have more than one field specified at a time");
    }

    private static void KeyRef(At at, ApiNode reference)
    {
        at["name"].Format(Format.Dns1123Subdomain, reference["name"u8]);
        if (reference["key"u8].Utf8.IsEmpty)
            at["key"].Required();
        else
            at["key"].Format(Format.ConfigKey, reference["key"u8]);
    }

    private static void FileKeyRef(At at, ApiNode reference)
    {
        if (reference["key"u8].Utf8.IsEmpty)
            at["key"].Required();
        else
            at["key"].Format(Format.EnvName, reference["key"u8]);
        if (reference["volumeName"u8].Utf8.IsEmpty)
            at["volumeName"].Required();
        else
            at["volumeName"].Format(Format.Dns1123Label, reference["volumeName"u8]);
        if (reference["path"u8].Utf8.IsEmpty)
            at["path"].Required();
        else
            Paths.NoBacksteps(at["path"], reference["path"u8]);
    }

    private static void RequiredName(At at, ApiNode name)
    {
        if (name.Utf8.IsEmpty)
            at.Required();
        else
            at.Format(Format.Dns1123Subdomain, name);
    }

    private static bool IsSet(ApiNode node, ref int count)
    {
        if (node.Kind != NodeKind.Object)
            return false;
        count++;
        return true;
    }

    private static bool IsFieldLabel(string path) => path is
        "metadata.annotations" or "metadata.labels" or "metadata.name" or "metadata.namespace" or "metadata.uid"
        or "spec.nodeName" or "spec.restartPolicy" or "spec.serviceAccountName" or "spec.schedulerName"
        or "status.phase" or "status.hostIP" or "status.hostIPs" or "status.podIP" or "status.podIPs";

    private static void Divisor(At at, string resource, ApiNode divisor)
    {
        string text = divisor.AsString();
        if (text is "" or "0")
            return;
        bool isByteUnit = text is "1" or "1k" or "1M" or "1G" or "1T" or "1P" or "1E" or "1Ki" or "1Mi" or "1Gi" or "1Ti" or "1Pi" or "1Ei";
        const string ByteUnits = "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the";
        switch (resource)
        {
            case "limits.cpu" or "requests.cpu":
                if (text is not ("1m" or "1"))
                    at.Invalid(resource, "only divisor's values 1m and 1 are supported with the cpu resource");
                break;
            case "limits.memory" or "requests.memory":
                if (!isByteUnit)
                    at.Invalid(resource, $"{ByteUnits} memory resource");
                break;
            case "limits.ephemeral-storage" or "requests.ephemeral-storage":
                if (!isByteUnit)
                    at.Invalid(resource, $"{ByteUnits} local ephemeral storage resource");
                break;
        }
    }
}
