using System.Collections.Concurrent;

namespace K3sFast.ApiServer;

/// <summary>How the scheduler and the controllers are, as whoever runs them says: what <c>kubectl get componentstatuses</c> shows.</summary>
/// <remarks>Any thread.</remarks>
public sealed class ComponentHealth
{
    private readonly ConcurrentDictionary<string, Func<string?>> _checks = new();

    /// <summary>Names a component and how to ask for its health: null when it is well, else why not.</summary>
    public void Report(string component, Func<string?> check) => _checks[component] = check;

    /// <summary>Why the component is not well; null when it is.</summary>
    internal string? WhyNot(string component) =>
        _checks.TryGetValue(component, out var check) ? check() : "this server does not run it";
}
