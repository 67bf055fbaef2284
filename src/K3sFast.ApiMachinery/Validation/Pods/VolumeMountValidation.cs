namespace K3sFast.ApiMachinery;

/// <summary>Validation of what a container does with the pod's volumes: mounts and block devices.</summary>
internal static class VolumeMountValidation
{
    internal static void Mounts(At at, ApiNode container, in PodFacts pod)
    {
        var mounts = container["volumeMounts"u8];
        var devices = container["volumeDevices"u8];
        int i = 0;
        foreach (var mount in mounts.Elements)
        {
            var place = at[i];
            var name = mount["name"u8];
            var path = mount["mountPath"u8];
            if (name.Utf8.IsEmpty)
                place["name"].Required();
            if (!pod.HasVolume(name.Utf8))
                place["name"].NotFound(name);
            place["mountPath"].RequiredText(path);
            if (HasEarlier(mounts, i, "mountPath"u8, path.Utf8))
                place["mountPath"].Invalid(path, "must be unique");
            if (HasEarlier(devices, int.MaxValue, "name"u8, name.Utf8))
                place["name"].Invalid(name, "must not already exist in volumeDevices");
            if (HasEarlier(devices, int.MaxValue, "devicePath"u8, path.Utf8))
                place["mountPath"].Invalid(path, "must not already exist as a path in volumeDevices");
            // Upstream reports the next four without the mount's index.
            if (!mount["subPath"u8].Utf8.IsEmpty)
                Paths.Descending(at["subPath"], mount["subPath"u8]);
            if (!mount["subPathExpr"u8].Utf8.IsEmpty)
            {
                if (!mount["subPath"u8].Utf8.IsEmpty)
                    place["subPathExpr"].Invalid(mount["subPathExpr"u8], "subPathExpr and subPath are mutually exclusive");
                Paths.Descending(at["subPathExpr"], mount["subPathExpr"u8]);
            }
            Propagation(at["mountPropagation"], mount["mountPropagation"u8], container);
            RecursiveReadOnly(at["recursiveReadOnly"], mount);
            i++;
        }
    }

    internal static void Devices(At at, ApiNode container, in PodFacts pod)
    {
        var devices = container["volumeDevices"u8];
        var mounts = container["volumeMounts"u8];
        int i = 0;
        foreach (var device in devices.Elements)
        {
            var place = at[i];
            var name = device["name"u8];
            var path = device["devicePath"u8];
            var volume = VolumeNamed(pod.Spec["volumes"u8], name.Utf8);
            if (name.Utf8.IsEmpty)
                place["name"].Required();
            if (HasEarlier(devices, i, "name"u8, name.Utf8))
                place["name"].Invalid(name, "must be unique");
            if (!volume.IsDefined)
                place["name"].NotFound(name);
            else if (volume["persistentVolumeClaim"u8].IsNullOrUndefined && volume["ephemeral"u8].IsNullOrUndefined)
                place["name"].Invalid(name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
            place["devicePath"].RequiredText(path);
            if (HasEarlier(devices, i, "devicePath"u8, path.Utf8))
                place["devicePath"].Invalid(path, "must be unique");
            if (Paths.HasBackstep(path.Utf8))
                place["devicePath"].Invalid(path, "can not contain backsteps ('..')");
            if (HasEarlier(mounts, int.MaxValue, "name"u8, name.Utf8))
                place["name"].Invalid(name, "must not already exist in volumeMounts");
            if (HasEarlier(mounts, int.MaxValue, "mountPath"u8, path.Utf8))
                place["devicePath"].Invalid(path, "must not already exist as a path in volumeMounts");
            i++;
        }
    }

    private static void Propagation(At at, ApiNode propagation, ApiNode container)
    {
        if (propagation.IsNullOrUndefined)
            return;
        at.OneOf(propagation, ["Bidirectional", "HostToContainer", "None"]);
        if (propagation.Equals("Bidirectional"u8) && !container["securityContext"u8]["privileged"u8].AsBool())
            at.Forbidden("Bidirectional mount propagation is available only to privileged containers");
    }

    private static void RecursiveReadOnly(At at, ApiNode mount)
    {
        var mode = mount["recursiveReadOnly"u8];
        if (mode.IsNullOrUndefined || mode.Equals("Disabled"u8))
            return;
        if (!mode.Equals("Enabled"u8) && !mode.Equals("IfPossible"u8))
        {
            at.NotSupported(mode, ["Disabled", "Enabled", "IfPossible"]);
            return;
        }
        if (!mount["readOnly"u8].AsBool())
            at.Forbidden("may only be specified when readOnly is true");
        if (!mount["mountPropagation"u8].IsNullOrUndefined && !mount["mountPropagation"u8].Equals("None"u8))
            at.Forbidden("may only be specified when mountPropagation is None or not specified");
    }

    private static ApiNode VolumeNamed(ApiNode volumes, ReadOnlySpan<byte> name) =>
        volumes.PlaceOf("name"u8, name, out var volume) >= 0 && volume["name"u8].Kind == NodeKind.String ? volume : default;

    private static bool HasEarlier(ApiNode list, int before, ReadOnlySpan<byte> member, ReadOnlySpan<byte> value) =>
        list.PlaceOf(member, value, out _) is var place and >= 0 && place < before;
}
