using System.Runtime.InteropServices;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>A role's reference in a binding: the kind is Role or ClusterRole.</summary>
internal readonly record struct RoleRef(bool IsClusterRole, string Name);

/// <summary>One of those that a binding names.</summary>
internal readonly record struct Subject(string Kind, string Namespace, string Name)
{
    internal bool Matches(UserInfo user)
    {
        switch (Kind)
        {
            case "User":
                return user.Name == Name;
            case "Group":
                for (var i = 0; i < user.Groups.Count; i++)
                {
                    if (user.Groups[i] == Name)
                        return true;
                }
                return false;
            case "ServiceAccount":
                const string Prefix = "system:serviceaccount:";
                return user.Name.Length == Prefix.Length + Namespace.Length + 1 + Name.Length && user.Name.StartsWith(Prefix, StringComparison.Ordinal)
                    && user.Name.AsSpan(Prefix.Length).StartsWith(Namespace) && user.Name[Prefix.Length + Namespace.Length] == ':'
                    && user.Name.AsSpan(Prefix.Length + Namespace.Length + 1).SequenceEqual(Name);
            default:
                return false;
        }
    }
}

/// <summary>
/// The roles and bindings of the cluster in the form that decisions need, kept current by whoever watches them. It holds no JSON.
/// Decisions are remembered until any role or binding changes.
/// </summary>
/// <remarks>Any thread. A remembered decision allocates nothing and takes no lock.</remarks>
internal sealed class RbacPolicy : IAuthorizer
{
    // A node runs a few dozen identities, each with a few dozen different requests in its steady state.
    private const int CachedDecisions = 4096;

    // Longer requests (long names under long paths) are decided anew each time.
    private const int MaxCachedKeyBytes = 512;

    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly Dictionary<string, PolicyRule[]> _clusterRoles = [];
    private readonly Dictionary<(string Namespace, string Name), PolicyRule[]> _roles = [];
    private readonly Dictionary<string, Binding> _clusterBindings = [];
    private readonly Dictionary<string, Dictionary<string, Binding>> _bindings = [];

    private readonly Remembered?[] _decisions = new Remembered?[CachedDecisions];
    private long _generation;

    /// <summary>Allows when a rule of a role that is bound to the user does, with upstream's reason; else no opinion.</summary>
    public AuthorizationDecision Authorize(in AuthorizationAttributes attributes)
    {
        Span<byte> key = stackalloc byte[MaxCachedKeyBytes];
        if (!TryWriteKey(attributes, key, out var length))
            return Decide(attributes);
        key = key[..length];

        var identity = attributes.User.Identity;
        var hash = new HashCode();
        hash.AddBytes(identity);
        hash.AddBytes(key);
        ref var slot = ref _decisions[hash.ToHashCode() & (CachedDecisions - 1)];
        var generation = Volatile.Read(ref _generation);
        var known = Volatile.Read(ref slot);
        if (known is not null && known.Generation == generation && key.SequenceEqual(known.Key) && identity.SequenceEqual(known.Identity))
            return known.Decision;
        var decision = Decide(attributes);
        Volatile.Write(ref slot, new Remembered(generation, identity.ToArray(), key.ToArray(), decision));
        return decision;
    }

    public void List(UserInfo user, string ns, RuleListing listing) => listing.Rules.AddRange(RulesFor(user, ns, listing.Errors));

    /// <summary>All rules that hold for the user in a namespace ("" = cluster-wide ones only), and what could not be resolved.</summary>
    internal List<PolicyRule> RulesFor(UserInfo user, string ns, List<string>? errors = null)
    {
        var rules = new List<PolicyRule>();
        lock (_gate)
        {
            foreach (var binding in _clusterBindings.Values)
            {
                if (binding.Find(user) is not null)
                    AddRulesLocked(binding.Role, "", rules, errors);
            }
            if (ns.Length > 0 && _bindings.TryGetValue(ns, out var bindings))
            {
                foreach (var binding in bindings.Values)
                {
                    if (binding.Find(user) is not null)
                        AddRulesLocked(binding.Role, ns, rules, errors);
                }
            }
        }
        return rules;
    }

    /// <summary>The rules of one role; null when there is no such role.</summary>
    internal PolicyRule[]? FindRole(RoleRef role, string ns)
    {
        lock (_gate)
        {
            return role.IsClusterRole ? _clusterRoles.GetValueOrDefault(role.Name) : _roles.GetValueOrDefault((ns, role.Name));
        }
    }

    internal void SetClusterRole(string name, ApiNode? role)
    {
        lock (_gate)
        {
            if (role is { } present)
                _clusterRoles[name] = Rules(present);
            else
                _clusterRoles.Remove(name);
            Volatile.Write(ref _generation, _generation + 1);
        }
    }

    internal void SetRole(string ns, string name, ApiNode? role)
    {
        lock (_gate)
        {
            if (role is { } present)
                _roles[(ns, name)] = Rules(present);
            else
                _roles.Remove((ns, name));
            Volatile.Write(ref _generation, _generation + 1);
        }
    }

    /// <summary>Adds, replaces or (with null) removes a binding; the namespace is "" for a ClusterRoleBinding.</summary>
    internal void SetBinding(string ns, string name, ApiNode? binding)
    {
        lock (_gate)
        {
            ref var inNamespace = ref CollectionsMarshal.GetValueRefOrAddDefault(_bindings, ns, out _);
            var bindings = ns.Length == 0 ? _clusterBindings : inNamespace ??= [];
            if (ns.Length == 0)
                _bindings.Remove(ns);
            if (binding is { } present)
                bindings[name] = Binding.Read(present, ns, name);
            else
                bindings.Remove(name);
            Volatile.Write(ref _generation, _generation + 1);
        }
    }

    internal static PolicyRule[] Rules(ApiNode role)
    {
        var rules = new List<PolicyRule>();
        foreach (var rule in role["rules"u8].Elements)
            rules.Add(PolicyRule.Read(rule));
        return [.. rules];
    }

    private AuthorizationDecision Decide(in AuthorizationAttributes attributes)
    {
        List<string>? errors = null;
        lock (_gate)
        {
            foreach (var binding in _clusterBindings.Values)
            {
                if (binding.Find(attributes.User) is { } subject && RoleAllowsLocked(binding.Role, "", attributes, ref errors))
                    return AuthorizationDecision.Allow(binding.Describe(subject));
            }
            var ns = attributes.Namespace.IsEmpty ? "" : Encoding.UTF8.GetString(attributes.Namespace);
            if (ns.Length > 0 && _bindings.TryGetValue(ns, out var bindings))
            {
                foreach (var binding in bindings.Values)
                {
                    if (binding.Find(attributes.User) is { } subject && RoleAllowsLocked(binding.Role, ns, attributes, ref errors))
                        return AuthorizationDecision.Allow(binding.Describe(subject));
                }
            }
        }
        return AuthorizationDecision.NoOpinion(errors is null ? "" : $"RBAC: {(errors.Count == 1 ? errors[0] : $"[{string.Join(", ", errors)}]")}");
    }

    private bool RoleAllowsLocked(RoleRef role, string ns, in AuthorizationAttributes attributes, ref List<string>? errors)
    {
        var rules = role.IsClusterRole ? _clusterRoles.GetValueOrDefault(role.Name) : _roles.GetValueOrDefault((ns, role.Name));
        if (rules is null)
        {
            var error = MissingRole(role);
            if (errors is null || !errors.Contains(error))
                (errors ??= []).Add(error);
            return false;
        }
        foreach (var rule in rules)
        {
            if (rule.Allows(attributes))
                return true;
        }
        return false;
    }

    private void AddRulesLocked(RoleRef role, string ns, List<PolicyRule> rules, List<string>? errors)
    {
        var found = role.IsClusterRole ? _clusterRoles.GetValueOrDefault(role.Name) : _roles.GetValueOrDefault((ns, role.Name));
        if (found is null)
            errors?.Add(MissingRole(role));
        else
            rules.AddRange(found);
    }

    private static string MissingRole(RoleRef role) =>
        $"{(role.IsClusterRole ? "clusterrole" : "role")}.rbac.authorization.k8s.io {GoText.Quote(role.Name)} not found";

    private static bool TryWriteKey(in AuthorizationAttributes attributes, Span<byte> key, out int length)
    {
        length = 1;
        key[0] = attributes.IsResourceRequest ? (byte)1 : (byte)0;
        return TryAppend(key, ref length, attributes.Verb)
            && (attributes.IsResourceRequest
                ? TryAppend(key, ref length, attributes.Group) && TryAppend(key, ref length, attributes.Resource)
                    && TryAppend(key, ref length, attributes.Subresource) && TryAppend(key, ref length, attributes.Namespace)
                    && TryAppend(key, ref length, attributes.Name)
                : TryAppend(key, ref length, attributes.Path));
    }

    private static bool TryAppend(Span<byte> key, ref int length, ReadOnlySpan<byte> part)
    {
        if (part.Length > key.Length - length - 1)
            return false;
        part.CopyTo(key[length..]);
        length += part.Length;
        // No part can contain a slash-less zero: a decoded %00 makes the key ambiguous, so such requests are not remembered.
        if (part.Contains((byte)0))
            return false;
        key[length++] = 0;
        return true;
    }

    private sealed record Remembered(long Generation, byte[] Identity, byte[] Key, AuthorizationDecision Decision);
}
