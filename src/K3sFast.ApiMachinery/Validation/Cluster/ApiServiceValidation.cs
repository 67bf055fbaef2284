namespace K3sFast.ApiMachinery;

/// <summary>Validation of API services: the group and version that a server behind this one answers for.</summary>
internal static class ApiServiceValidation
{
    internal static void Service(At at, ApiNode service)
    {
        var spec = service["spec"u8];
        string group = spec["group"u8].AsString(), version = spec["version"u8].AsString(), name = $"{version}.{group}";
        // A missing name has its own cause.
        if (service["metadata"u8]["name"u8].AsString() is { Length: > 0 } given && given != name)
            at["metadata"]["name"].Invalid(service["metadata"u8]["name"u8], $"must be `spec.version+\".\"+spec.group`: {GoText.Quote(name)}");
        at = at["spec"];
        if (group.Length > 0)
            at["group"].Format(Format.Dns1123Subdomain, group);
        else if (version != "v1")
            at["group"].Required("only v1 may have an empty group and it better be legacy kube");
        at["version"].Format(Format.Dns1035Label, version);
        Priority(at["groupPriorityMinimum"], spec["groupPriorityMinimum"u8].AsInt64(), 20000);
        Priority(at["versionPriority"], spec["versionPriority"u8].AsInt64(), 1000);
        Backend(at, spec);
    }

    internal static void ServiceUpdate(At at, ApiNode service, ApiNode old) => Service(at, service);

    internal static void ServiceStatus(At at, ApiNode service, ApiNode old)
    {
        int i = 0;
        foreach (var condition in service["status"u8]["conditions"u8].Elements)
            at["status"]["conditions"][i++]["status"].OneOf(condition["status"u8], ["True", "False", "Unknown"]);
    }

    private static void Priority(At at, long value, int most)
    {
        if (value <= 0 || value > most)
            at.Invalid(value, $"must be positive and less than {most}");
    }

    private static void Backend(At at, ApiNode spec)
    {
        var backend = spec["service"u8];
        var bundle = spec["caBundle"u8];
        bool isInsecure = spec["insecureSkipTLSVerify"u8].AsBool();
        if (backend.Kind != NodeKind.Object)
        {
            if (!bundle.Utf8.IsEmpty)
                at["caBundle"].Invalid($"{Convert.FromBase64String(bundle.AsString()).Length} bytes", "local APIServices may not have a caBundle");
            if (isInsecure)
                at["insecureSkipTLSVerify"].Invalid(spec["insecureSkipTLSVerify"u8], "local APIServices may not have insecureSkipTLSVerify");
            return;
        }
        at["service"]["namespace"].RequiredText(backend["namespace"u8]);
        at["service"]["name"].RequiredText(backend["name"u8]);
        if (backend["port"u8].TryGetInt64(out long port) && port is < 1 or > 65535)
            at["service"]["port"].Invalid(port, "port is not valid: must be between 1 and 65535, inclusive");
        if (isInsecure && !bundle.Utf8.IsEmpty)
            at["insecureSkipTLSVerify"].Invalid(spec["insecureSkipTLSVerify"u8], "may not be true if caBundle is present");
    }
}
