using System.Globalization;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Pods with an identity: name, host name, claims by ordinal. Pure.</summary>
internal static class StatefulPods
{
    internal const string RevisionLabel = "controller-revision-hash";
    private const string PodNameLabel = "statefulset.kubernetes.io/pod-name";
    private const string PodIndexLabel = "apps.kubernetes.io/pod-index";

    internal static int Start(V1StatefulSet set) => set.Spec.Ordinals?.Start ?? 0;

    internal static int Replicas(V1StatefulSet set) => set.Spec.Replicas ?? 1;

    /// <summary>The number at the end of a pod's name, if it is one of the set's; else -1.</summary>
    internal static int Ordinal(V1StatefulSet set, V1Pod pod)
    {
        var prefix = set.Metadata.Name + "-";
        var name = pod.Metadata.Name;
        return name.StartsWith(prefix, StringComparison.Ordinal)
            && int.TryParse(name.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var ordinal) ? ordinal : -1;
    }

    internal static V1Pod Make(V1StatefulSet set, V1PodTemplateSpec template, string revision, int ordinal)
    {
        var pod = PodControl.FromTemplate(Resources.StatefulSets, set, template);
        var name = string.Create(CultureInfo.InvariantCulture, $"{set.Metadata.Name}-{ordinal}");
        pod.Metadata.GenerateName = null;
        pod.Metadata.Name = name;
        pod.Metadata.Labels[PodNameLabel] = name;
        pod.Metadata.Labels[PodIndexLabel] = ordinal.ToString(CultureInfo.InvariantCulture);
        pod.Metadata.Labels[RevisionLabel] = revision;
        pod.Spec.Hostname = name;
        pod.Spec.Subdomain = set.Spec.ServiceName;
        var claims = (set.Spec.VolumeClaimTemplates ?? []).Select(claim => new V1Volume
        {
            Name = claim.Metadata.Name,
            PersistentVolumeClaim = new V1PersistentVolumeClaimVolumeSource { ClaimName = $"{claim.Metadata.Name}-{name}" },
        }).ToList();
        var names = claims.Select(static volume => volume.Name).ToHashSet();
        pod.Spec.Volumes = [.. claims, .. (pod.Spec.Volumes ?? []).Where(volume => !names.Contains(volume.Name))];
        if (pod.Spec.Volumes.Count == 0) pod.Spec.Volumes = null;
        return pod;
    }

    internal static IEnumerable<V1PersistentVolumeClaim> Claims(V1StatefulSet set, string podName) =>
        (set.Spec.VolumeClaimTemplates ?? []).Select(template => template with
        {
            Metadata = new V1ObjectMeta
            {
                Name = $"{template.Metadata.Name}-{podName}",
                NamespaceProperty = set.Metadata.NamespaceProperty,
                Labels = new Dictionary<string, string>(
                    (template.Metadata.Labels ?? new Dictionary<string, string>()).Concat(set.Spec.Selector.MatchLabels ?? new Dictionary<string, string>())
                        .GroupBy(static pair => pair.Key).Select(static group => group.Last())),
                Annotations = template.Metadata.Annotations,
            },
            Status = null,
        });

    internal static string? Revision(V1Pod pod) => pod.Metadata.Labels is { } labels && labels.TryGetValue(RevisionLabel, out var revision) ? revision : null;
}
