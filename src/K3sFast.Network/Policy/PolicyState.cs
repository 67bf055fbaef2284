using K3sFast.Interop.NfTables;
using K3sFast.Network.Proxy;

namespace K3sFast.Network.Policy;

/// <summary>
/// Policies, pods and namespaces as they are known, and which parts of the rules a change touches: a part is named by its owner in the tables. Pure; one
/// thread at a time.
/// </summary>
/// <remarks>A pod's change costs a look at each set of peers; everything else only concerns what it touches.</remarks>
internal sealed class PolicyState(bool hasOwnLinks)
{
    private const string BaseOwner = "", SetOwner = "set/", PolicyOwner = "policy/", ChainOwner = "chain/", PodOwner = "pod/";

    private readonly Dictionary<string, PolicySpec> _policies = [];
    private readonly Dictionary<string, PolicyPod> _pods = [];
    private readonly Dictionary<string, IDictionary<string, string>> _namespaces = [];
    private readonly Dictionary<string, PeerSet> _sets = [];
    private readonly Dictionary<string, (string In, string Out)> _isolated = [];
    private readonly Dictionary<string, Isolation> _chains = [];
    private HashSet<string> _dirty = [BaseOwner];

    internal bool HasPolicies => _policies.Count > 0;

    /// <summary>A policy as it is now; null = it is gone.</summary>
    internal void SetPolicy(string key, PolicySpec? policy)
    {
        _policies.TryGetValue(key, out var old);
        if (old is null && policy is null) return;
        // Acquired before the old ones are let go: what both speak of stays.
        foreach (var selector in policy?.Rules.SelectMany(static rule => rule.Selectors) ?? []) Acquire(selector);
        foreach (var selector in old?.Rules.SelectMany(static rule => rule.Selectors) ?? []) Release(selector);
        if (policy is null) _policies.Remove(key);
        else _policies[key] = policy;
        _dirty.Add(PolicyOwner + key);
        foreach (var pod in _pods.Values)
        {
            if (pod.IsLocal && pod.Namespace == (policy ?? old)!.Namespace) Isolate(pod);
        }
    }

    /// <summary>A pod as it is now; null = it is gone.</summary>
    internal void SetPod(string key, PolicyPod? pod)
    {
        _pods.TryGetValue(key, out var old);
        if (old is null ? pod is null : pod is not null && pod.LooksLike(old)) return;
        if (pod is null) _pods.Remove(key);
        else _pods[key] = pod;
        foreach (var set in _sets.Values) Retest(set, key, pod);
        foreach (var policy in _policies.Values)
        {
            if (policy.HasNamedPorts) _dirty.Add(PolicyOwner + policy.Key);
        }
        if (pod is { IsLocal: true }) Isolate(pod);
        else Unisolate(key);
    }

    /// <summary>A namespace's labels as they are now; null = it is gone.</summary>
    internal void SetNamespace(string name, IDictionary<string, string>? labels)
    {
        if (labels is null) _namespaces.Remove(name);
        else _namespaces[name] = labels;
        foreach (var (key, pod) in _pods)
        {
            if (pod.Namespace != name) continue;
            foreach (var set in _sets.Values)
            {
                if (set.Selector.Namespace is null) Retest(set, key, pod);
            }
        }
        foreach (var policy in _policies.Values)
        {
            if (policy.HasNamedPorts) _dirty.Add(PolicyOwner + policy.Key);
        }
    }

    /// <summary>What was touched since the last time.</summary>
    internal IReadOnlyCollection<string> TakeDirty()
    {
        var taken = _dirty;
        _dirty = [];
        return taken;
    }

    /// <summary>Parts that did not get where they belong.</summary>
    internal void PutBack(IEnumerable<string> owners) => _dirty.UnionWith(owners);

    /// <summary>An owner's part of a family's rules as it should be; null = there is none.</summary>
    internal NftFragment? Build(string owner, PacketSteps steps)
    {
        if (owner.Length == 0) return PolicyRules.Base(steps, hasOwnLinks);
        var slash = owner.IndexOf('/', StringComparison.Ordinal) + 1;
        var key = owner[slash..];
        switch (owner[..slash])
        {
            case SetOwner:
                return _sets.TryGetValue(key, out var set) ? PolicyRules.Peers(steps, set.Selector, set.Members.Select(member => _pods[member])) : null;
            case PolicyOwner:
                if (!_policies.TryGetValue(key, out var policy)) return null;
                List<PolicyPod> subjects = policy.HasNamedPorts ? [.. _pods.Values.Where(pod => pod.IsLocal && !pod.IsUnknown && Selects(policy, pod))] : [];
                return PolicyRules.Policy(steps, policy, subjects, selector => selector is null ? _pods.Values : _sets[selector.Key].Members.Select(member => _pods[member]));
            case ChainOwner:
                return _chains.TryGetValue(key, out var chain) ? PolicyRules.Isolation(key, chain.IsIngress, chain.Policies.Select(name => _policies[name])) : null;
            default:
                return _isolated.TryGetValue(key, out var isolated) ? PolicyRules.Pod(steps, _pods[key], isolated.In, isolated.Out) : null;
        }
    }

    private static bool Selects(PolicySpec policy, PolicyPod pod) => policy.Namespace == pod.Namespace && policy.Subject.Matches(pod.Labels);

    private void Acquire(PeerSelector selector)
    {
        if (!_sets.TryGetValue(selector.Key, out var set))
        {
            _sets[selector.Key] = set = new PeerSet(selector);
            foreach (var (key, pod) in _pods)
            {
                if (selector.Matches(pod, _namespaces.GetValueOrDefault(pod.Namespace))) set.Members.Add(key);
            }
            _dirty.Add(SetOwner + selector.Key);
        }
        set.Users++;
    }

    private void Release(PeerSelector selector)
    {
        var set = _sets[selector.Key];
        if (--set.Users > 0) return;
        _sets.Remove(selector.Key);
        _dirty.Add(SetOwner + selector.Key);
    }

    private void Retest(PeerSet set, string key, PolicyPod? pod)
    {
        var was = set.Members.Contains(key);
        var isMember = pod is not null && set.Selector.Matches(pod, _namespaces.GetValueOrDefault(pod.Namespace));
        if (!was && !isMember) return;
        if (isMember) set.Members.Add(key);
        else set.Members.Remove(key);
        _dirty.Add(SetOwner + set.Selector.Key);
    }

    private void Isolate(PolicyPod pod)
    {
        var key = pod.Key;
        var policies = _policies.Values.Where(policy => policy.Namespace == pod.Namespace && (pod.IsUnknown || policy.Subject.Matches(pod.Labels))).ToList();
        var wanted = pod.IsUnknown && policies.Count > 0
            ? (PolicyRules.UnknownChain, PolicyRules.UnknownChain)
            : (Enter(policies, isIngress: true), Enter(policies, isIngress: false));
        Unisolate(key);
        if (wanted.Item1.Length + wanted.Item2.Length > 0) _isolated[key] = wanted;
        _dirty.Add(PodOwner + key);
    }

    private void Unisolate(string key)
    {
        if (!_isolated.Remove(key, out var old)) return;
        Leave(old.In);
        Leave(old.Out);
        _dirty.Add(PodOwner + key);
    }

    // "" = none of the policies speaks of that direction.
    private string Enter(List<PolicySpec> policies, bool isIngress)
    {
        var names = policies.Where(policy => (isIngress ? policy.Ingress : policy.Egress) is not null).Select(static policy => policy.Key).Order(StringComparer.Ordinal).ToList();
        if (names.Count == 0) return "";
        var chain = (isIngress ? "isolate-in-" : "isolate-out-") + PolicySpec.Hash(string.Join('\n', names));
        if (!_chains.TryGetValue(chain, out var isolation))
        {
            _chains[chain] = isolation = new Isolation(isIngress, names);
            _dirty.Add(ChainOwner + chain);
        }
        isolation.Users++;
        return chain;
    }

    private void Leave(string chain)
    {
        if (!_chains.TryGetValue(chain, out var isolation) || --isolation.Users > 0) return;
        _chains.Remove(chain);
        _dirty.Add(ChainOwner + chain);
    }

    private sealed class PeerSet(PeerSelector selector)
    {
        internal PeerSelector Selector { get; } = selector;
        internal HashSet<string> Members { get; } = [];
        internal int Users { get; set; }
    }

    private sealed class Isolation(bool isIngress, List<string> policies)
    {
        internal bool IsIngress { get; } = isIngress;
        internal List<string> Policies { get; } = policies;
        internal int Users { get; set; }
    }
}
