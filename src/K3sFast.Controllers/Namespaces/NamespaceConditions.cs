using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>How a namespace's deletion goes, as its five conditions say it. One use per reconciliation.</summary>
internal sealed class NamespaceConditions
{
    private static readonly (string Type, string Reason, string Message)[] s_good =
    [
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ("NamespaceDeletionContentFailure", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
        ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    ];

    private readonly SortedDictionary<string, int> _remaining = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, int> _finalizers = new(StringComparer.Ordinal);
    private readonly List<string> _failures = [];
    private string? _discovery;

    /// <summary>Objects that are still there.</summary>
    internal int Remaining { get; private set; }

    internal bool HasFailures => _failures.Count > 0 || _discovery is not null;

    internal void DiscoveryFailed(IReadOnlyDictionary<string, string> groups) =>
        _discovery = $"Discovery failed for some groups, {groups.Count} failing: unable to retrieve the complete list of server APIs: "
            + string.Join(", ", groups.OrderBy(static pair => pair.Key, StringComparer.Ordinal).Select(static pair => $"{pair.Key}: {pair.Value}"));

    internal void Failed(string message) => _failures.Add(message);

    internal void Remain(DiscoveredResource resource, int count, IEnumerable<string> finalizers)
    {
        if (count == 0) return;
        Remaining += count;
        _remaining[$"{resource.Plural}.{resource.Group}"] = count;
        foreach (var finalizer in finalizers) _finalizers[finalizer] = _finalizers.GetValueOrDefault(finalizer) + 1;
    }

    /// <summary>The status with these conditions, or null when it says all of it already.</summary>
    internal V1NamespaceStatus? Apply(V1NamespaceStatus status, DateTime now)
    {
        var conditions = new List<V1NamespaceCondition>(status.Conditions ?? []);
        var isChanged = false;
        foreach (var (type, goodReason, goodMessage) in s_good)
        {
            var (isBad, reason, message) = Bad(type) is { } bad ? (true, bad.Reason, bad.Message) : (false, goodReason, goodMessage);
            var wanted = new V1NamespaceCondition { Type = type, Status = isBad ? "True" : "False", Reason = reason, Message = message, LastTransitionTime = now };
            var at = conditions.FindIndex(condition => condition.Type == type);
            if (at < 0)
            {
                conditions.Add(wanted);
                isChanged = true;
            }
            else if (conditions[at] is var old && (old.Status != wanted.Status || old.Reason != reason || old.Message != message))
            {
                if (old.Status == wanted.Status) wanted.LastTransitionTime = old.LastTransitionTime;
                conditions[at] = wanted;
                isChanged = true;
            }
        }
        return isChanged ? status with { Conditions = conditions } : null;
    }

    private (string Reason, string Message)? Bad(string type) => type switch
    {
        "NamespaceDeletionDiscoveryFailure" when _discovery is not null => ("DiscoveryFailed", _discovery),
        "NamespaceDeletionContentFailure" when _failures.Count > 0 => ("ContentDeletionFailed",
            $"Failed to delete all resource types, {_failures.Count} remaining: {string.Join(", ", _failures.Order(StringComparer.Ordinal))}"),
        "NamespaceContentRemaining" when _remaining.Count > 0 => ("SomeResourcesRemain",
            "Some resources are remaining: " + string.Join(", ", _remaining.Select(static pair => $"{pair.Key} has {pair.Value} resource instances"))),
        "NamespaceFinalizersRemaining" when _finalizers.Count > 0 => ("SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: "
            + string.Join(", ", _finalizers.Select(static pair => $"{pair.Key} in {pair.Value} resource instances"))),
        _ => null,
    };
}
