using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.ApiMachinery;

/// <summary>Rules of the volume sources that pods and persistent volumes share: storage systems outside of the cluster.</summary>
internal static partial class VolumeSourceRules
{
    private const string PartitionRange = "must be between 1 and 255, inclusive";

    /// <summary>Validates one source at its place; a persistent volume says where its secrets are, a pod's are beside it.</summary>
    /// <param name="at">The source's place.</param>
    /// <param name="field">Its name.</param>
    /// <param name="source">The source.</param>
    /// <param name="isPersistent">Whether it is that of a persistent volume.</param>
    /// <param name="owner">The persistent volume's name.</param>
    internal static void Check(At at, string field, ApiNode source, bool isPersistent, string owner = "")
    {
        switch (field)
        {
            case "gcePersistentDisk":
                at["pdName"].RequiredText(source["pdName"u8]);
                Partition(at["partition"], source["partition"u8]);
                break;
            case "awsElasticBlockStore":
                at["volumeID"].RequiredText(source["volumeID"u8]);
                Partition(at["partition"], source["partition"u8]);
                break;
            case "gitRepo":
                at["repository"].RequiredText(source["repository"u8]);
                Paths.Descending(at["directory"], source["directory"u8]);
                break;
            case "glusterfs":
                Glusterfs(at, source, isPersistent);
                break;
            case "flocker":
                Flocker(at, source);
                break;
            case "nfs":
                at["server"].RequiredText(source["server"u8]);
                at["path"].RequiredText(source["path"u8]);
                if (!source["path"u8].Utf8.StartsWith("/"u8))
                    at["path"].Invalid(source["path"u8].AsString(), "must be an absolute path");
                break;
            case "rbd":
                RequiredList(at["monitors"], source["monitors"u8]);
                at["image"].RequiredText(source["image"u8]);
                break;
            case "quobyte":
                Quobyte(at, source);
                break;
            case "cephfs":
                RequiredList(at["monitors"], source["monitors"u8]);
                break;
            case "iscsi":
                Iscsi(at, source, isPersistent, owner);
                break;
            case "cinder":
                at["volumeID"].RequiredText(source["volumeID"u8]);
                SecretReference(at["secretRef"], source["secretRef"u8], isPersistent);
                break;
            case "fc":
                FibreChannel(at, source);
                break;
            case "flexVolume":
                FlexVolume(at, source);
                break;
            case "azureFile":
                at["secretName"].RequiredText(source["secretName"u8]);
                at["shareName"].RequiredText(source["shareName"u8]);
                if (isPersistent && !source["secretNamespace"u8].IsNullOrUndefined)
                    at["secretNamespace"].RequiredText(source["secretNamespace"u8]);
                break;
            case "vsphereVolume":
                at["volumePath"].RequiredText(source["volumePath"u8]);
                break;
            case "photonPersistentDisk":
                at["pdID"].RequiredText(source["pdID"u8]);
                break;
            case "portworxVolume":
                at["volumeID"].RequiredText(source["volumeID"u8]);
                break;
            case "azureDisk":
                AzureDisk(at, source);
                break;
            case "scaleIO":
                at["gateway"].RequiredText(source["gateway"u8]);
                at["system"].RequiredText(source["system"u8]);
                at["volumeName"].RequiredText(source["volumeName"u8]);
                break;
            case "storageos":
                StorageOs(at, source, isPersistent);
                break;
        }
    }

    /// <summary>A path on the node.</summary>
    internal static void HostPath(At at, ApiNode source, string[] types)
    {
        if (source["path"u8].Utf8.IsEmpty)
        {
            at["path"].Required();
            return;
        }
        Paths.NoBacksteps(at["path"], source["path"u8]);
        at["type"].OptionalOneOf(source["type"u8], types);
    }

    private static void Partition(At at, ApiNode partition)
    {
        if (partition.AsInt64() is < 0 or > 255)
            at.Invalid(partition, PartitionRange);
    }

    private static void RequiredList(At at, ApiNode list)
    {
        if (list.Count == 0)
            at.Required();
    }

    private static void SecretReference(At at, ApiNode reference, bool needsNamespace)
    {
        if (reference.Kind != NodeKind.Object)
            return;
        at["name"].RequiredText(reference["name"u8]);
        if (needsNamespace)
            at["namespace"].RequiredText(reference["namespace"u8]);
    }

    private static void Glusterfs(At at, ApiNode source, bool isPersistent)
    {
        at["endpoints"].RequiredText(source["endpoints"u8]);
        at["path"].RequiredText(source["path"u8]);
        var space = source["endpointsNamespace"u8];
        if (!isPersistent || space.IsNullOrUndefined)
            return;
        if (space.Utf8.IsEmpty)
            at["endpointsNamespace"].Invalid(space, "if the endpointnamespace is set, it must be a valid namespace name");
        else
            at["endpointsNamespace"].Format(Format.Dns1123Label, space);
    }

    private static void Flocker(At at, ApiNode source)
    {
        var name = source["datasetName"u8];
        bool hasName = !name.Utf8.IsEmpty, hasUuid = !source["datasetUUID"u8].Utf8.IsEmpty;
        if (!hasName && !hasUuid)
            at.Required("one of datasetName and datasetUUID is required");
        if (hasName && hasUuid)
            at.Invalid("resource", "datasetName and datasetUUID can not be specified simultaneously");
        if (name.Utf8.IndexOf((byte)'/') >= 0)
            at["datasetName"].Invalid(name, "must not contain '/'");
    }

    private static void Quobyte(At at, ApiNode source)
    {
        const string Pairs = "must be a host:port pair or multiple pairs separated by commas";
        var registry = source["registry"u8];
        if (registry.Utf8.IsEmpty)
            at["registry"].Required(Pairs);
        else if (source["tenant"u8].Utf8.Length >= 65)
            at["tenant"].Required("must be a UUID and may not exceed a length of 64 characters");
        else
            foreach (string pair in registry.AsString().Split(','))
                if (!HostAndPort().IsMatch(pair))
                    at["registry"].Invalid(registry, Pairs);
        at["volume"].RequiredText(source["volume"u8]);
    }

    private static void Iscsi(At at, ApiNode source, bool isPersistent, string owner)
    {
        var portal = source["targetPortal"u8];
        var initiator = source["initiatorName"u8];
        at["targetPortal"].RequiredText(portal);
        if (isPersistent && !initiator.IsNullOrUndefined && Encoding.UTF8.GetByteCount(owner) + 1 + portal.Utf8.Length > 64)
            at["targetportal"].Invalid(portal, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.");
        if (source["iqn"u8].Utf8.IsEmpty)
            at["iqn"].Required();
        else
            IscsiName(at["iqn"], source["iqn"u8], isPersistent);
        if (source["lun"u8].AsInt64() is < 0 or > 255)
            at["lun"].Invalid(source["lun"u8], "must be between 0 and 255, inclusive");
        if ((source["chapAuthDiscovery"u8].AsBool() || source["chapAuthSession"u8].AsBool()) && source["secretRef"u8].Kind != NodeKind.Object)
            at["secretRef"].Required();
        if (isPersistent)
            SecretReference(at["secretRef"], source["secretRef"u8], needsNamespace: false);
        if (!initiator.IsNullOrUndefined)
            IscsiName(at["initiatorname"], initiator, isPersistent);
    }

    private static void IscsiName(At at, ApiNode name, bool isPersistent)
    {
        string text = name.AsString();
        bool isKnown = text.StartsWith("iqn", StringComparison.Ordinal) || text.StartsWith("eui", StringComparison.Ordinal) || text.StartsWith("naa", StringComparison.Ordinal);
        if (!isKnown)
            at.Invalid(name, isPersistent ? "must be valid format" : "must be valid format starting with iqn, eui, or naa");
        else if (!(text[0] switch { 'i' => Iqn(), 'e' => Eui(), _ => Naa() }).IsMatch(text))
            at.Invalid(name, "must be valid format");
    }

    private static void FibreChannel(At at, ApiNode source)
    {
        var targets = source["targetWWNs"u8];
        if (targets.Count == 0)
        {
            if (source["wwids"u8].Count == 0)
                at["targetWWNs"].Required("must specify either targetWWNs or wwids, but not both");
            return;
        }
        if (source["wwids"u8].Count > 0)
            at["targetWWNs"].Invalid(targets, "targetWWNs and wwids can not be specified simultaneously");
        if (source["lun"u8].IsNullOrUndefined)
            at["lun"].Required("lun is required if targetWWNs is specified");
        else
            at["lun"].InRange(source["lun"u8], 0, 255);
    }

    private static void FlexVolume(At at, ApiNode source)
    {
        at["driver"].RequiredText(source["driver"u8]);
        foreach (var option in source["options"u8].Members)
        {
            string key = Encoding.UTF8.GetString(option.Name), space = "." + key.Split('/')[0].ToLowerInvariant();
            if (space.EndsWith(".kubernetes.io", StringComparison.Ordinal) || space.EndsWith(".k8s.io", StringComparison.Ordinal))
                at["options"].Key(option).Invalid(key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }

    private static void AzureDisk(At at, ApiNode source)
    {
        var kind = source["kind"u8];
        var uri = source["diskURI"u8];
        at["diskName"].RequiredText(source["diskName"u8]);
        at["diskURI"].RequiredText(uri);
        at["cachingMode"].OptionalOneOf(source["cachingMode"u8], ["None", "ReadOnly", "ReadWrite"]);
        at["kind"].OptionalOneOf(kind, ["Dedicated", "Managed", "Shared"]);
        if (kind.IsNullOrUndefined)
            return;
        if (kind.Equals("Managed"u8) && !uri.Utf8.StartsWith("/subscriptions/"u8))
            at["diskURI"].NotSupported(uri, ["/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"]);
        if (!kind.Equals("Managed"u8) && !uri.Utf8.StartsWith("https://"u8))
            at["diskURI"].NotSupported(uri, ["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"]);
    }

    private static void StorageOs(At at, ApiNode source, bool isPersistent)
    {
        var name = source["volumeName"u8];
        if (name.Utf8.IsEmpty)
            at["volumeName"].Required();
        else
            at["volumeName"].Format(Format.Dns1123Label, name);
        PodValidation.FormatWhenSet(at["volumeNamespace"], source["volumeNamespace"u8], Format.Dns1123Label);
        SecretReference(at["secretRef"], source["secretRef"u8], isPersistent);
    }

    [GeneratedRegex(@"^(\[[^\[\]]*\]|[^:\[\]]*):[^:\[\]]*$", RegexOptions.CultureInvariant)]
    private static partial Regex HostAndPort();

    [GeneratedRegex(@"iqn\.[0-9]{4}-[0-9]{2}\.([a-zA-Z0-9.-]+)(:[^,;*&$|\s]+)$", RegexOptions.CultureInvariant)]
    private static partial Regex Iqn();

    [GeneratedRegex("^eui.[a-zA-Z0-9]{16}$", RegexOptions.CultureInvariant)]
    private static partial Regex Eui();

    [GeneratedRegex("^naa.[a-zA-Z0-9]{32}$", RegexOptions.CultureInvariant)]
    private static partial Regex Naa();
}
