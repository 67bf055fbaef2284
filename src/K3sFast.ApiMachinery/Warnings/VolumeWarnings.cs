using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Deprecated settings of persistent volumes, and deprecated labels where nodes are chosen.</summary>
internal static class VolumeWarnings
{
    internal static void Volume(ref WarningList warnings, ApiNode volume)
    {
        var annotations = volume["metadata"u8]["annotations"u8];
        if (annotations["volume.beta.kubernetes.io/storage-class"u8].IsDefined)
            warnings.Add("metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead");
        if (annotations["volume.beta.kubernetes.io/mount-options"u8].IsDefined)
            warnings.Add("metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\" attribute instead");
        var spec = volume["spec"u8];
        if (spec["persistentVolumeReclaimPolicy"u8].Equals("Recycle"u8))
            warnings.Add("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
        int i = 0;
        foreach (var term in spec["nodeAffinity"u8]["required"u8]["nodeSelectorTerms"u8].Elements)
            Term(ref warnings, $"spec.nodeAffinity.required.nodeSelectorTerms[{i++}]", term, checkValues: false);
        foreach (var (field, shown, message) in (ReadOnlySpan<(string, string, string)>)[
            ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"), ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
            ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"), ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
            ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"), ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+")])
            if (spec[Encoding.ASCII.GetBytes(field)].Kind == NodeKind.Object)
                warnings.Add($"spec.{shown}: {message}");
    }

    internal static void Topologies(ref WarningList warnings, ApiNode topologies)
    {
        int i = 0;
        foreach (var topology in topologies.Elements)
        {
            int j = 0;
            foreach (var expression in topology["matchLabelExpressions"u8].Elements)
            {
                if (DeprecatedLabels.Message(expression["key"u8].Utf8) is { } message)
                    warnings.Add($"allowedTopologies[{i}].matchLabelExpressions[{j}].key: {message}");
                j++;
            }
            i++;
        }
    }

    internal static void Selector(ref WarningList warnings, string path, ApiNode selector)
    {
        Expressions(ref warnings, path, selector["matchExpressions"u8], checkValues: false);
        foreach (var label in selector["matchLabels"u8].Members)
            if (DeprecatedLabels.Message(label.Name) is { } message)
                warnings.Add($"{path}.matchLabels.{Encoding.UTF8.GetString(label.Name)}: {message}");
    }

    /// <summary>A term of a node selector; in preferred terms values may be anything, which is worth a word.</summary>
    internal static void Term(ref WarningList warnings, string path, ApiNode term, bool checkValues) =>
        Expressions(ref warnings, path, term["matchExpressions"u8], checkValues);

    private static void Expressions(ref WarningList warnings, string path, ApiNode expressions, bool checkValues)
    {
        int i = 0;
        foreach (var expression in expressions.Elements)
        {
            if (DeprecatedLabels.Message(expression["key"u8].Utf8) is { } message)
                warnings.Add($"{path}.matchExpressions[{i}].key: {expression["key"u8].AsString()} is {message}");
            if (checkValues)
            {
                int j = 0;
                foreach (var value in expression["values"u8].Elements)
                {
                    if (!Formats.Is(Format.LabelValue, value.Utf8))
                        foreach (var problem in Formats.Problems(Format.LabelValue, value.AsString()))
                            warnings.Add($"{path}.matchExpressions[{i}].values[{j}]: {value.AsString()} is invalid, {problem}");
                    j++;
                }
            }
            i++;
        }
    }
}
