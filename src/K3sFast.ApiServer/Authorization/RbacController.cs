using K3sFast.ApiMachinery;
using K3sFast.WatchCache;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Keeps <see cref="RbacPolicy"/> equal to the stored roles and bindings, writes the bootstrap ones at start, and fills aggregated cluster roles
/// with the rules of those that their selectors pick.
/// </summary>
internal sealed class RbacController(ResourceCatalog catalog, RbacPolicy policy, WriteFlow writes, IReadOnlyList<string> furtherRoles, ILogger logger)
{
    private const string Group = "rbac.authorization.k8s.io";
    private const string AggregationManager = "clusterrole-aggregation-controller";
    private const int BatchEvents = 64;

    private readonly ResourceStorage _clusterRoles = catalog.Storage(Group, "clusterroles");
    private readonly ResourceStorage _roles = catalog.Storage(Group, "roles");
    private readonly ResourceStorage _clusterBindings = catalog.Storage(Group, "clusterrolebindings");
    private readonly ResourceStorage _bindings = catalog.Storage(Group, "rolebindings");

    /// <summary>Reads everything that is stored, writes what is missing, and returns; then <see cref="Follow"/> keeps up.</summary>
    internal async Task StartAsync(CancellationToken cancel)
    {
        LoadAll();
        // All at once: writes that arrive together are committed together. Roles and bindings do not check each other for system:masters.
        var reconciled = await Task.WhenAll(BootstrapPolicy.Load(furtherRoles).Select(entry => ReconcileAsync(entry, cancel).AsTask())).ConfigureAwait(false);
        var written = reconciled.Count(static isWritten => isWritten);
        if (written > 0)
        {
            Log.RbacReconciled(logger, written);
            LoadAll();
        }
        if (await AggregateAsync(cancel).ConfigureAwait(false))
            LoadAll();
    }

    /// <summary>Applies changes as they are committed, until cancelled.</summary>
    internal Task[] Follow(CancellationToken cancel) =>
    [
        FollowAsync(_clusterRoles, cancel), FollowAsync(_roles, cancel), FollowAsync(_clusterBindings, cancel), FollowAsync(_bindings, cancel),
    ];

    private void LoadAll()
    {
        foreach (var storage in (ReadOnlySpan<ResourceStorage>)[_clusterRoles, _roles, _clusterBindings, _bindings])
        {
            foreach (var stored in storage.All(null))
                Apply(storage, stored, isGone: false);
        }
    }

    private void Apply(ResourceStorage storage, StoredObject stored, bool isGone)
    {
        string ns = stored.Namespace(), name = stored.Name();
        using var document = isGone ? null : storage.Decode(stored);
        var obj = document?.Root;
        if (ReferenceEquals(storage, _clusterRoles)) policy.SetClusterRole(name, obj);
        else if (ReferenceEquals(storage, _roles)) policy.SetRole(ns, name, obj);
        else policy.SetBinding(ReferenceEquals(storage, _clusterBindings) ? "" : ns, name, obj);
    }

    private async Task FollowAsync(ResourceStorage storage, CancellationToken cancel)
    {
        var events = new WatchEvent[BatchEvents];
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                await FollowOnceAsync(storage, events, cancel).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                return;
            }
            catch (Exception error)
            {
                // Authorization must not stay behind for ever: read everything again.
                Log.BackgroundFailed(logger, $"following {storage.Info.GroupResource}", error.Message);
                await Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    private async Task FollowOnceAsync(ResourceStorage storage, WatchEvent[] events, CancellationToken cancel)
    {
        using var cursor = Open(storage);
        while (true)
        {
            var count = cursor.Read(events);
            if (count < 0)
                return;
            for (var i = 0; i < count; i++)
                Apply(storage, events[i].Object, events[i].Type == WatchEventType.Deleted);
            if (count > 0 && ReferenceEquals(storage, _clusterRoles))
                await AggregateAsync(cancel).ConfigureAwait(false);
            else if (count == 0)
                await cursor.WaitAsync(cancel).ConfigureAwait(false);
        }
    }

    private WatchCursor Open(ResourceStorage storage)
    {
        using var snapshot = storage.Cache.List();
        foreach (var stored in snapshot)
            Apply(storage, stored, isGone: false);
        return storage.Cache.OpenCursor(snapshot.Revision);
    }

    private async ValueTask<bool> ReconcileAsync(BootstrapPolicy.Entry entry, CancellationToken cancel)
    {
        var storage = entry.Kind switch
        {
            "ClusterRole" => _clusterRoles,
            "Role" => _roles,
            "ClusterRoleBinding" => _clusterBindings,
            _ => _bindings,
        };
        using var wanted = new ApiObject();
        BootstrapPolicy.Write(entry, wanted.Root);
        var context = new WriteContext(UserInfo.ApiServer, entry.Namespace, entry.Name, false, cancel, FieldOwner.ApiServer(storage, TimeProvider.System));
        using (var stored = storage.Get(entry.Namespace, entry.Name))
        {
            if (stored is not null)
                return await RepairAsync(storage, stored, wanted.Root, context).ConfigureAwait(false);
        }
        try
        {
            using var answer = await writes.CreateAsync(storage, wanted, context).ConfigureAwait(false);
            return true;
        }
        catch (ApiStatusException taken) when (taken.Status.Reason == "AlreadyExists")
        {
            // Another server of the cluster has just made it, from the same policy.
            return false;
        }
    }

    // What an administrator added stays; what is missing comes back, unless autoupdate was switched off.
    private async ValueTask<bool> RepairAsync(ResourceStorage storage, StoredObject stored, ApiNode wanted, WriteContext context)
    {
        using var current = storage.Decode(stored);
        if (current.Root["metadata"u8]["annotations"u8]["rbac.authorization.kubernetes.io/autoupdate"u8].Equals("false"u8))
            return false;
        if (!Repair(current.Root, wanted))
            return false;
        try
        {
            using var answer = await writes.UpdateAsync(storage, "", context, old =>
            {
                var repaired = old.Clone();
                Repair(repaired.Root, wanted);
                return repaired;
            }).ConfigureAwait(false);
            return true;
        }
        catch (ApiStatusException refused) when (refused.Status.Code is 404 or 409)
        {
            // Another server of the cluster repairs it right now.
            return false;
        }
    }

    private static bool Repair(ApiNode obj, ApiNode wanted)
    {
        var isChanged = false;
        foreach (var part in (ReadOnlySpan<string>)["labels", "annotations"])
        {
            var name = System.Text.Encoding.UTF8.GetBytes(part);
            foreach (var member in wanted["metadata"u8][name].Members)
            {
                if (obj["metadata"u8][name][member.Name].IsDefined)
                    continue;
                obj.GetOrAddObject("metadata"u8).GetOrAddObject(name).Set(member.Name, member.Value);
                isChanged = true;
            }
        }
        // Aggregated roles get their rules from others.
        if (!wanted["aggregationRule"u8].IsDefined && wanted["rules"u8].Count > 0)
        {
            var owned = RbacPolicy.Rules(obj);
            foreach (var rule in wanted["rules"u8].Elements)
            {
                if (PolicyRule.Covers(owned, PolicyRule.Read(rule)))
                    continue;
                obj.GetOrAddArray("rules"u8).Append(rule);
                isChanged = true;
            }
        }
        foreach (var subject in wanted["subjects"u8].Elements)
        {
            var isPresent = false;
            foreach (var existing in obj["subjects"u8].Elements)
                isPresent |= existing.DeepEquals(subject);
            if (isPresent)
                continue;
            obj.GetOrAddArray("subjects"u8).Append(subject);
            isChanged = true;
        }
        return isChanged;
    }

    /// <summary>True = a role was written.</summary>
    private async ValueTask<bool> AggregateAsync(CancellationToken cancel)
    {
        // Roles may aggregate aggregated roles (admin takes edit's, edit takes view's): repeat until nothing changes.
        const int MaxDepth = 8;
        for (var round = 0; round < MaxDepth; round++)
        {
            var isChanged = false;
            foreach (var name in AggregatedRoles())
                isChanged |= await AggregateAsync(name, cancel).ConfigureAwait(false);
            if (!isChanged)
                return round > 0;
        }
        return true;
    }

    private List<string> AggregatedRoles()
    {
        var names = new List<string>();
        foreach (var stored in _clusterRoles.All(null))
        {
            using var document = _clusterRoles.Decode(stored);
            if (document.Root["aggregationRule"u8]["clusterRoleSelectors"u8].Count > 0)
                names.Add(stored.Name());
        }
        return names;
    }

    private async ValueTask<bool> AggregateAsync(string name, CancellationToken cancel)
    {
        using (var stored = _clusterRoles.Get("", name))
        {
            if (stored is null)
                return false;
            using var current = _clusterRoles.Decode(stored);
            using var wanted = current.Clone();
            Collect(wanted.Root, name);
            if (wanted.Root["rules"u8].DeepEquals(current.Root["rules"u8]) || wanted.Root["rules"u8].Count == 0 && current.Root["rules"u8].Count == 0)
                return false;
        }
        try
        {
            // As the controller of that name would do it: the merge notes the owner.
            var context = new WriteContext(UserInfo.ApiServer, "", name, false, cancel);
            using var answer = await writes.UpdateAsync(_clusterRoles, "", context, old => Applied(old, name), isPatch: true).ConfigureAwait(false);
            return true;
        }
        catch (ApiStatusException refused) when (refused.Status.Code is 404 or 409)
        {
            return false;
        }
    }

    private ApiObject Applied(ApiObject role, string name)
    {
        using var config = ApiObject.Rent();
        config.Root.Set("apiVersion"u8, _clusterRoles.Info.ApiVersionUtf8);
        config.Root.Set("kind"u8, _clusterRoles.Info.KindUtf8);
        config.Root.GetOrAddObject("metadata"u8).Set("name"u8, name);
        config.Root.Set("aggregationRule"u8, role.Root["aggregationRule"u8]);
        Collect(config.Root, name);
        config.Root.Remove("aggregationRule"u8);
        return _clusterRoles.Fields.For(_clusterRoles.Info, "").Apply(role.Root, config.Root, AggregationManager, isForced: true, TimeProvider.System.GetUtcNow());
    }

    // One selector after the other, the roles of each by their names.
    private void Collect(ApiNode role, string ownName)
    {
        var rules = role.Document.NewArray();
        foreach (var selector in role["aggregationRule"u8]["clusterRoleSelectors"u8].Elements)
        {
            foreach (var stored in _clusterRoles.All(null))
            {
                if (stored.Name() == ownName)
                    continue;
                using var candidate = _clusterRoles.Decode(stored);
                if (LabelMatching.Matches(selector, candidate.Root["metadata"u8]["labels"u8]))
                    AddNew(rules, candidate.Root["rules"u8]);
            }
        }
        role.Set("rules"u8, rules);
    }

    private static void AddNew(ApiNode rules, ApiNode others)
    {
        foreach (var rule in others.Elements)
        {
            var isKnown = false;
            foreach (var known in rules.Elements)
                isKnown |= known.DeepEquals(rule);
            if (!isKnown)
                rules.Append(rule);
        }
    }
}
