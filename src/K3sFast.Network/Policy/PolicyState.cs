using K3sFast.Interop.NfTables;
using K3sFast.Network.Proxy;

namespace K3sFast.Network.Policy;

/// <summary>
/// Policies, pods and namespaces as they are known, and which parts of the rules a change touches: a part is named by its owner in the tables. Pure; one
/// thread at a time.
/// </summary>
/// <remarks>
/// A pod's change costs a look at each set of peers and at the policies of its namespace, a policy's at the pods of its namespace on this node; everything
/// else only concerns what it touches.
/// </remarks>
/// <param name="hasOwnLinks">Pods' links are ours, and known by their names.</param>
internal sealed class PolicyState(bool hasOwnLinks)
{
    private const string BaseOwner = "", SetOwner = "set/", PolicyOwner = "policy/", ChainOwner = "chain/", PodOwner = "pod/";

    private readonly Dictionary<string, PolicySpec> _policies = [];
    private readonly Dictionary<string, PolicyPod> _pods = [];
    private readonly Dictionary<string, IDictionary<string, string>> _labels = [];
    private readonly Dictionary<string, Subjects> _subjects = [];
    private readonly Dictionary<string, PolicySpec> _naming = [];
    private readonly Dictionary<string, PeerSet> _sets = [];
    private readonly Dictionary<string, (string In, string Out)> _isolated = [];
    private readonly Dictionary<string, Isolation> _chains = [];
    private HashSet<string> _dirty = [BaseOwner];

    internal bool HasPolicies => _policies.Count > 0;

    /// <summary>What is dropped is told to netfilter's log. Set it before the first policy.</summary>
    internal bool IsLogged { get; set; }

    /// <summary>A policy as it is now; null = it is gone.</summary>
    internal void SetPolicy(string key, PolicySpec? policy)
    {
        _policies.TryGetValue(key, out var old);
        if (old is null && policy is null) return;
        // Acquired before the old ones are let go: what both speak of stays.
        foreach (var selector in policy?.Rules.SelectMany(static rule => rule.Selectors) ?? []) Acquire(selector);
        foreach (var selector in old?.Rules.SelectMany(static rule => rule.Selectors) ?? []) Release(selector);
        var subjects = SubjectsOf((policy ?? old)!.Namespace);
        if (policy is null)
        {
            _policies.Remove(key);
            subjects.Policies.Remove(key);
        }
        else
        {
            _policies[key] = policy;
            subjects.Policies[key] = policy;
        }
        if (policy is { PortNames.Count: > 0 }) _naming[key] = policy;
        else _naming.Remove(key);
        _dirty.Add(PolicyOwner + key);
        foreach (var pod in subjects.LocalPods.Values)
        {
            if ((old?.Isolates(pod) ?? 0) != (policy?.Isolates(pod) ?? 0)) Isolate(pod);
        }
        if (policy is null) Forget(old!.Namespace);
    }

    /// <summary>A pod as it is now; null = it is gone.</summary>
    internal void SetPod(string key, PolicyPod? pod)
    {
        _pods.TryGetValue(key, out var old);
        if (old is null ? pod is null : pod is not null && pod.LooksLike(old)) return;
        if (old is { IsLocal: true }) SubjectsOf(old.Namespace).LocalPods.Remove(key);
        if (pod is { IsLocal: true }) SubjectsOf(pod.Namespace).LocalPods[key] = pod;
        if (pod is null) _pods.Remove(key);
        else _pods[key] = pod;
        foreach (var set in _sets.Values) Retest(set, key, pod);
        TouchNaming(old);
        TouchNaming(pod);
        if (pod is { IsLocal: true }) Isolate(pod);
        else Unisolate(key);
        if (old is not null) Forget(old.Namespace);
    }

    /// <summary>A namespace's labels as they are now; null = it is gone.</summary>
    internal void SetNamespace(string name, IDictionary<string, string>? labels)
    {
        _labels.TryGetValue(name, out var old);
        if (labels is null) _labels.Remove(name);
        else _labels[name] = labels;
        var sets = _sets.Values.Where(set => set.Selector.Picks(old) != set.Selector.Picks(labels)).ToList();
        if (sets.Count == 0) return;
        foreach (var (key, pod) in _pods)
        {
            if (pod.Namespace != name) continue;
            foreach (var set in sets) Retest(set, key, pod);
            TouchNaming(pod);
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
                List<PolicyPod> subjects = policy.PortNames.Count > 0
                    ? [.. SubjectsOf(policy.Namespace).LocalPods.Values.Where(pod => !pod.IsUnknown && policy.Subject.Matches(pod.Labels))]
                    : [];
                return PolicyRules.Policy(steps, policy, subjects, selector => selector is null ? _pods.Values : _sets[selector.Key].Members.Select(member => _pods[member]));
            case ChainOwner:
                return _chains.TryGetValue(key, out var chain) ? PolicyRules.Isolation(key, chain.IsIngress, [.. chain.Policies.Select(name => _policies[name])], IsLogged) : null;
            default:
                return _isolated.TryGetValue(key, out var isolated) ? PolicyRules.Pod(steps, _pods[key], isolated.In, isolated.Out) : null;
        }
    }

    private Subjects SubjectsOf(string ns)
    {
        if (!_subjects.TryGetValue(ns, out var subjects)) _subjects[ns] = subjects = new Subjects();
        return subjects;
    }

    private void Forget(string ns)
    {
        if (_subjects.TryGetValue(ns, out var subjects) && subjects.Policies.Count + subjects.LocalPods.Count == 0) _subjects.Remove(ns);
    }

    // A pod's ports have names that policies speak of: the numbers behind them are theirs.
    private void TouchNaming(PolicyPod? pod)
    {
        if (pod is not { Ports.Count: > 0 }) return;
        foreach (var (key, policy) in _naming)
        {
            if (pod.Ports.Any(port => policy.PortNames.Contains(port.Name))) _dirty.Add(PolicyOwner + key);
        }
    }

    private void Acquire(PeerSelector selector)
    {
        if (!_sets.TryGetValue(selector.Key, out var set))
        {
            _sets[selector.Key] = set = new PeerSet(selector);
            foreach (var (key, pod) in _pods)
            {
                if (selector.Matches(pod, _labels.GetValueOrDefault(pod.Namespace))) set.Members.Add(key);
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
        var isMember = pod is not null && set.Selector.Matches(pod, _labels.GetValueOrDefault(pod.Namespace));
        if (!was && !isMember) return;
        if (isMember) set.Members.Add(key);
        else set.Members.Remove(key);
        _dirty.Add(SetOwner + set.Selector.Key);
    }

    private void Isolate(PolicyPod pod)
    {
        var key = pod.Key;
        var policies = SubjectsOf(pod.Namespace).Policies.Values.Where(policy => policy.Isolates(pod) != 0).ToList();
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

    /// <summary>What meets in a namespace: its policies, and those of its pods that are on this node.</summary>
    private sealed class Subjects
    {
        internal Dictionary<string, PolicySpec> Policies { get; } = [];
        internal Dictionary<string, PolicyPod> LocalPods { get; } = [];
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
