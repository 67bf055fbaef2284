using System.Globalization;
using System.Text;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>A job's pods: index, finalizer, and how completed indexes are written. Pure.</summary>
internal static class JobPods
{
    internal const string TrackingFinalizer = "batch.kubernetes.io/job-tracking";
    internal const string IndexAnnotation = "batch.kubernetes.io/job-completion-index";
    private const string IndexVariable = "JOB_COMPLETION_INDEX";

    internal static bool IsTracked(V1Pod pod) => pod.Metadata.Finalizers?.Contains(TrackingFinalizer) == true;

    internal static bool IsIndexed(V1Job job) => job.Spec.CompletionMode == "Indexed";

    internal static int? Index(V1Pod pod) =>
        pod.Metadata.Annotations is { } annotations && annotations.TryGetValue(IndexAnnotation, out var text)
        && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var index) ? index : null;

    /// <summary>Makes a template's pod one of an indexed job: annotation, label, host name, environment.</summary>
    internal static void SetIndex(V1Job job, V1Pod pod, int index)
    {
        var text = index.ToString(CultureInfo.InvariantCulture);
        (pod.Metadata.Annotations ??= new Dictionary<string, string>())[IndexAnnotation] = text;
        pod.Metadata.Labels[IndexAnnotation] = text;
        pod.Metadata.GenerateName = $"{job.Metadata.Name}-{text}-";
        pod.Spec.Hostname = $"{job.Metadata.Name}-{text}";
        pod.Spec.Containers = [.. pod.Spec.Containers.Select(WithIndex)];
        if (pod.Spec.InitContainers is { } init) pod.Spec.InitContainers = [.. init.Select(WithIndex)];
    }

    /// <summary>Numbers as ranges: "1,3-5".</summary>
    internal static string Ranges(IEnumerable<int> numbers)
    {
        var text = new StringBuilder();
        var sorted = numbers.Distinct().Order().ToList();
        for (var i = 0; i < sorted.Count;)
        {
            var end = i;
            while (end + 1 < sorted.Count && sorted[end + 1] == sorted[end] + 1) end++;
            if (text.Length > 0) text.Append(',');
            text.Append(CultureInfo.InvariantCulture, $"{sorted[i]}");
            if (end > i) text.Append(end == i + 1 ? ',' : '-').Append(CultureInfo.InvariantCulture, $"{sorted[end]}");
            i = end + 1;
        }
        return text.ToString();
    }

    internal static HashSet<int> Parse(string? ranges)
    {
        var numbers = new HashSet<int>();
        foreach (var part in (ranges ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var ends = part.Split('-');
            if (!int.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out var first)) continue;
            var last = ends.Length > 1 && int.TryParse(ends[1], NumberStyles.None, CultureInfo.InvariantCulture, out var end) ? end : first;
            for (var number = first; number <= last; number++) numbers.Add(number);
        }
        return numbers;
    }

    private static V1Container WithIndex(V1Container container)
    {
        if (container.Env?.Any(static variable => variable.Name == IndexVariable) == true) return container;
        var field = new V1EnvVarSource { FieldRef = new V1ObjectFieldSelector { FieldPath = $"metadata.labels['{IndexAnnotation}']" } };
        return container with { Env = [.. container.Env ?? [], new V1EnvVar { Name = IndexVariable, ValueFrom = field }] };
    }
}
