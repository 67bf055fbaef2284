using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of a pod's volumes: names, exactly one source, and the sources that run here.</summary>
internal static class VolumeValidation
{
    // Of several sources upstream checks the first in this order and complains of the others.
    private static readonly string[] s_order =
    [
        "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi", "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder",
        "cephfs", "quobyte", "downwardAPI", "fc", "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk", "storageos",
        "projected", "scaleIO", "csi", "ephemeral", "image",
    ];

    private static readonly string[] s_hostPathTypes = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

    /// <summary>Checks all volumes; the answer is the names of those with errors, or null.</summary>
    internal static HashSet<string>? Volumes(At at, in PodFacts pod)
    {
        var volumes = pod.Spec["volumes"u8];
        HashSet<string>? names = null, broken = null;
        int i = 0;
        foreach (var volume in volumes.Elements)
        {
            var place = at[i++];
            var name = volume["name"u8];
            int errors = at.Check.Errors.Count;
            Source(place, volume, pod);
            if (name.Utf8.IsEmpty)
                place["name"].Required();
            else
                place["name"].Format(Format.Dns1123Label, name);
            if (volumes.Count > 1 && !(names ??= []).Add(name.AsString()))
                place["name"].Duplicate(name);
            else if (at.Check.Errors.Count > errors)
                (broken ??= []).Add(name.AsString());
            if (pod.IsPod && volume["persistentVolumeClaim"u8].Kind == NodeKind.Object)
                NotOurOwnClaim(place["persistentVolumeClaim"]["claimName"], volume["persistentVolumeClaim"u8]["claimName"u8], pod);
        }
        return broken;
    }

    // The claim that an ephemeral volume of this pod makes cannot be named as one that is there.
    private static void NotOurOwnClaim(At at, ApiNode claim, in PodFacts pod)
    {
        foreach (var volume in pod.Spec["volumes"u8].Elements)
            if (volume["ephemeral"u8].Kind == NodeKind.Object && claim.AsString() == $"{pod.Metadata["name"u8].AsString()}-{volume["name"u8].AsString()}")
                at.Invalid(claim, "must not reference a PVC that gets created for an ephemeral volume");
    }

    private static void Source(At at, ApiNode volume, in PodFacts pod)
    {
        if (volume.Count <= 2)
        {
            foreach (var member in volume.Members)
            {
                if (member.Name.SequenceEqual("name"u8) || member.Value.Kind != NodeKind.Object)
                    continue;
                string name = Encoding.UTF8.GetString(member.Name);
                Source(at, name, member.Value, volume, pod);
                return;
            }
        }
        int count = 0;
        foreach (string field in s_order)
        {
            var source = volume[Encoding.ASCII.GetBytes(field)];
            if (source.Kind != NodeKind.Object)
                continue;
            if (count++ > 0)
                at[field switch { "cephfs" => "cephFS", "downwardAPI" => "downwarAPI", _ => field }].Forbidden("may not specify more than 1 volume type");
            else
                Source(at, field, source, volume, pod);
        }
        if (count == 0)
            at.Required("must specify a volume type");
    }

    private static void Source(At owner, string field, ApiNode source, ApiNode volume, in PodFacts pod)
    {
        var at = owner[field];
        switch (field)
        {
            case "emptyDir":
                if (Quantity.TryParse(source["sizeLimit"u8].Utf8, out var limit) && limit.CompareTo(default) < 0)
                    at["sizeLimit"].Forbidden("SizeLimit field must be a valid resource quantity");
                break;
            case "hostPath":
                VolumeSourceRules.HostPath(at, source, s_hostPathTypes);
                break;
            case "secret":
                at["secretName"].RequiredText(source["secretName"u8]);
                ItemsAndMode(at, source);
                break;
            case "configMap":
                at["name"].RequiredText(source["name"u8]);
                ItemsAndMode(at, source);
                break;
            case "persistentVolumeClaim":
                at["claimName"].RequiredText(source["claimName"u8]);
                break;
            case "downwardAPI":
                Paths.Mode(at["defaultMode"], source["defaultMode"u8]);
                foreach (var file in source["items"u8].Elements)
                    DownwardFile(at, file);
                break;
            case "projected":
                Paths.Mode(at["defaultMode"], source["defaultMode"u8]);
                Projected(at, source);
                break;
            case "csi":
                StorageValidation.DriverName(at["driver"], source["driver"u8]);
                if (source["nodePublishSecretRef"u8].Kind == NodeKind.Object)
                    at["nodePublishSecretRef"]["name"].RequiredText(source["nodePublishSecretRef"u8]["name"u8]);
                break;
            case "ephemeral":
                Ephemeral(owner, at, source, volume, pod);
                break;
            case "image":
                if (pod.IsPod)
                    at["reference"].RequiredText(source["reference"u8]);
                ContainerValidation.PullPolicy(at["pullPolicy"], source["pullPolicy"u8]);
                break;
            default:
                VolumeSourceRules.Check(at, field, source, isPersistent: false);
                break;
        }
    }

    private static void ItemsAndMode(At at, ApiNode source)
    {
        Paths.Mode(at["defaultMode"], source["defaultMode"u8]);
        int i = 0;
        foreach (var item in source["items"u8].Elements)
            KeyToPath(at["items"][i++], item);
    }

    private static void KeyToPath(At at, ApiNode item)
    {
        at["key"].RequiredText(item["key"u8]);
        at["path"].RequiredText(item["path"u8]);
        Paths.NonReserved(at["path"], item["path"u8]);
        Paths.Mode(at["mode"], item["mode"u8]);
    }

    private static void DownwardFile(At at, ApiNode file)
    {
        at["path"].RequiredText(file["path"u8]);
        Paths.NonReserved(at["path"], file["path"u8]);
        if (file["fieldRef"u8].Kind == NodeKind.Object)
        {
            EnvValidation.FieldRef(at["fieldRef"], file["fieldRef"u8], isFile: true);
            if (file["resourceFieldRef"u8].Kind == NodeKind.Object)
                at.Invalid("resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
        }
        else if (file["resourceFieldRef"u8].Kind == NodeKind.Object)
        {
            EnvValidation.ResourceFieldRef(at["resourceFieldRef"], file["resourceFieldRef"u8], isFile: true);
        }
        else
        {
            at.Required("one of fieldRef and resourceFieldRef is required");
        }
        Paths.Mode(at["mode"], file["mode"u8]);
    }

    private static void Projected(At at, ApiNode projected)
    {
        var paths = new HashSet<string>();
        int i = 0;
        foreach (var source in projected["sources"u8].Elements)
        {
            var place = at["sources"][i++];
            int count = 0;
            foreach (var member in source.Members)
            {
                if (member.Value.Kind != NodeKind.Object)
                    continue;
                count++;
                string field = Encoding.UTF8.GetString(member.Name);
                var value = member.Value;
                switch (field)
                {
                    case "secret" or "configMap":
                        place[field]["name"].RequiredText(value["name"u8]);
                        int k = 0;
                        foreach (var item in value["items"u8].Elements)
                        {
                            KeyToPath(place[field]["items"][k++], item);
                            Occupy(at, paths, item["path"u8], value["name"u8].AsString());
                        }
                        break;
                    case "downwardAPI":
                        foreach (var file in value["items"u8].Elements)
                        {
                            DownwardFile(place[field], file);
                            Occupy(at, paths, file["path"u8], file["path"u8].AsString());
                        }
                        break;
                    case "serviceAccountToken":
                        ServiceAccountToken(at, place[field], value, paths);
                        break;
                    case "clusterTrustBundle":
                        Paths.NonReserved(place[field]["path"], value["path"u8]);
                        Occupy(at, paths, value["path"u8], value["path"u8].AsString());
                        break;
                }
            }
            if (count > 1)
                place.Forbidden("may not specify more than 1 volume type per source");
        }
    }

    private static void ServiceAccountToken(At at, At place, ApiNode token, HashSet<string> paths)
    {
        // Ten minutes at least: below that clients could not renew in time. At most what 32 bits of seconds hold.
        long seconds = token["expirationSeconds"u8].AsInt64();
        if (seconds < 600)
            place["expirationSeconds"].Invalid(seconds, "may not specify a duration less than 10 minutes");
        if (seconds > 1L << 32)
            place["expirationSeconds"].Invalid(seconds, "may not specify a duration larger than 2^32 seconds");
        if (token["path"u8].Utf8.IsEmpty)
            at["path"].Required();
        else
            Paths.NonReserved(at["path"], token["path"u8]);
        Occupy(at, paths, token["path"u8], token["path"u8].AsString());
    }

    private static void Occupy(At at, HashSet<string> paths, ApiNode path, string shown)
    {
        if (!path.Utf8.IsEmpty && !paths.Add(path.AsString()))
            at.Invalid(shown, "conflicting duplicate paths");
    }

    private static void Ephemeral(At owner, At at, ApiNode source, ApiNode volume, in PodFacts pod)
    {
        var template = source["volumeClaimTemplate"u8];
        if (template.Kind != NodeKind.Object)
            at["volumeClaimTemplate"].Required();
        else
            StorageValidation.ClaimSpec(at["volumeClaimTemplate"]["spec"], template["spec"u8]);
        if (!pod.IsPod || pod.Metadata["name"u8].Utf8.IsEmpty || volume["name"u8].Utf8.IsEmpty)
            return;
        string claim = $"{pod.Metadata["name"u8].AsString()}-{volume["name"u8].AsString()}";
        foreach (var problem in Formats.Problems(Format.Dns1123Subdomain, claim))
            owner["name"].Invalid(volume["name"u8], $"PVC name {GoText.Quote(claim)}: {problem}");
    }
}
