using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Which services select a pod, without looking at all of a namespace's services: each is found under one pair of its selector.
/// </summary>
internal static class ServiceIndex
{
    private const string BySelector = "selector";

    internal static void Add(Informer<V1Service> services) => services.AddIndex(BySelector, static service => Keys(service));

    /// <summary>Calls <paramref name="found"/> for each service of the pod's namespace that selects <paramref name="labels"/>.</summary>
    internal static void ForEach(Informer<V1Service> services, string namespaceName, IDictionary<string, string>? labels, Action<V1Service> found)
    {
        if (labels is null) return;
        foreach (var (key, value) in labels)
        {
            foreach (var service in services.ByIndex(BySelector, Key(namespaceName, key, value)))
            {
                if (LabelMatcher.Of(service.Spec.Selector).Matches(labels)) found(service);
            }
        }
    }

    private static IEnumerable<string> Keys(V1Service service)
    {
        if (service.Spec?.Selector is not { Count: > 0 } selector) return [];
        // Any one pair will do, as long as it is always the same.
        var (key, value) = selector.MinBy(static pair => pair.Key, StringComparer.Ordinal);
        return [Key(service.Metadata.NamespaceProperty, key, value)];
    }

    private static string Key(string namespaceName, string key, string value) => $"{namespaceName}/{key}={value}";
}
