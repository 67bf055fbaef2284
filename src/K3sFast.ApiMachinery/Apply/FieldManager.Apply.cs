using System.Buffers;
using System.Globalization;

namespace K3sFast.ApiMachinery;

public sealed partial class FieldManager
{
    /// <summary>
    /// Merges an applied configuration into the stored object: fields that it names get its values and its owner, fields that the same manager applied
    /// last time and nobody else owns are removed.
    /// </summary>
    /// <param name="live">The stored object in this version, canonical; undefined when there is none. Only read.</param>
    /// <param name="config">The configuration as the client sent it. Only read.</param>
    /// <param name="manager">The manager's name.</param>
    /// <param name="isForced">Take fields from others instead of refusing.</param>
    /// <param name="now">The time of the operation.</param>
    /// <returns>The wanted object with its managedFields, canonical, not defaulted. The caller disposes it.</returns>
    /// <exception cref="ApiStatusException">400 for a configuration of another kind or with managedFields, 409 for conflicts, 500 (as upstream) when it does
    /// not fit the schema.</exception>
    public ApiObject Apply(ApiNode live, ApiNode config, string manager, bool isForced, DateTimeOffset now)
    {
        using var entries = ReadStored(live);
        CheckKind(config);
        if (entries.IsEmpty && live.IsDefined)
        {
            using var everything = ObjectComparison.Of(TypedValue.EmptyMessage, TypedValue.Of(live, isExact: false), type);
            Note(entries, everything, default, live, BeforeFirstApply, now);
        }
        if (!config["metadata"u8]["managedFields"u8].IsNullOrUndefined)
            throw ApiStatus.BadRequest("metadata.managedFields must be nil").ToException();
        if (ConfigCheck.FindErrors(config, type) is { } error)
            throw ApiStatus.Unknown($"failed to create typed patch object ({Describe(config)}): {error}").ToException();
        Reconcile(entries);

        using var merged = live.IsDefined ? Copy(live) : NewObject();
        merged.Root["metadata"u8].Remove("managedFields"u8);
        using var before = Copy(merged.Root);
        ConfigMerge.Merge(merged.Root, config, type);
        var previous = entries.Find(manager, true, _apiVersion, subresource);
        using var pruned = ReplaceAndPrune(entries, previous, config, merged, manager, out var own);
        var result = pruned ?? merged;

        using var comparison = ObjectComparison.Of(TypedValue.Of(before.Root, isExact: false), TypedValue.Of(result.Root, isExact: true), type);
        Take(entries, own, comparison, before.Root, result.Root, manager, isForced, live);
        own.Fields.Subtract(s_stripped);
        entries.RemoveEmpty();
        // Applying what is there already leaves the time as it was.
        if (!before.Root.DeepEquals(result.Root))
            own.Time = TimeText(now);
        return Finish(result.Root, config, entries, manager);
    }

    private static ManagedEntries ReadStored(ApiNode live)
    {
        try
        {
            return ManagedEntries.Read(live["metadata"u8]["managedFields"u8]);
        }
        catch (FormatException error)
        {
            throw ApiStatus.Unknown($"failed to decode managed fields: {error.Message}").ToException();
        }
    }

    private void CheckKind(ApiNode config)
    {
        if (config["kind"u8].AsString() == type.Kind && config["apiVersion"u8].AsString() == _apiVersion)
            return;
        throw ApiStatus.BadRequest($"invalid object type: {GroupVersionKind(config)}").ToException();
    }

    private static string GroupVersionKind(ApiNode config)
    {
        var apiVersion = config["apiVersion"u8].AsString();
        return $"{(apiVersion.Contains('/', StringComparison.Ordinal) ? apiVersion : $"/{apiVersion}")}, Kind={config["kind"u8].AsString()}";
    }

    private static string Describe(ApiNode config) =>
        $"{config["metadata"u8]["namespace"u8].AsString()}/{config["metadata"u8]["name"u8].AsString()}; {GroupVersionKind(config)}";

    // The manager's new set in the place of the old one, and the object without what only the old one asked for; null when nothing is to be removed.
    private ApiObject? ReplaceAndPrune(ManagedEntries entries, ManagedEntry? previous, ApiNode config, ApiObject merged, string manager, out ManagedEntry own)
    {
        var set = OwnedFields.Of(TypedValue.Of(config, isExact: true), type);
        resetFields.Apply(set);
        own = new ManagedEntry(manager, true, _apiVersion, subresource, set) { Time = previous?.Time };
        if (previous is null)
        {
            own = entries.Add(own);
            return null;
        }
        using var last = previous.Fields.Clone();
        var lastVersion = previous.ApiVersion;
        own = entries.Add(own);
        if (last.IsEmpty || TypeOf(lastVersion) is not { } lastType || (lastVersion == _apiVersion && last.IsSubsetOf(set)))
            return null;
        return Prune(entries, merged, last, lastVersion, lastType);
    }

    private ApiObject Prune(ManagedEntries entries, ApiObject merged, FieldSet last, string lastVersion, TypeSchema lastType)
    {
        using var converted = Convert(merged.Root, _apiVersion, lastVersion);
        FieldRemoval.AddNamedFields(last, lastType);
        var pruned = Copy(converted.Root);
        FieldRemoval.Remove(pruned.Root, last, lastType);
        // What somebody owns comes back, first in the version of the removal.
        pruned = AddBackOwned(entries, converted, pruned, lastVersion, lastVersion, lastType);
        foreach (var version in entries.Items.Select(static entry => entry.ApiVersion).Distinct().ToList())
        {
            if (version != lastVersion && TypeOf(version) is { } versionType)
                pruned = AddBackOwned(entries, converted, pruned, lastVersion, version, versionType);
        }
        // What the manager did not apply itself is not its to remove.
        using var dangling = Missing(converted.Root, pruned.Root, lastType);
        pruned.Dispose();
        using var removable = dangling.Intersect(last);
        FieldRemoval.Remove(converted.Root, removable, lastType);
        return Convert(converted.Root, lastVersion, _apiVersion);
    }

    private ApiObject AddBackOwned(
        ManagedEntries entries, ApiObject converted, ApiObject pruned, string lastVersion, string version, TypeSchema versionType)
    {
        using var managed = FieldSet.Rent();
        foreach (var entry in entries.Items)
        {
            if (entry.ApiVersion == version)
                managed.UnionWith(entry.Fields);
        }
        if (managed.IsEmpty)
            return pruned;
        FieldRemoval.AddNamedFields(managed, versionType);
        var restored = Convert(converted.Root, lastVersion, version);
        using (pruned)
        {
            using var prunedThere = Convert(pruned.Root, lastVersion, version);
            using var missing = Missing(restored.Root, prunedThere.Root, versionType);
            missing.Subtract(managed);
            FieldRemoval.Remove(restored.Root, missing, versionType);
        }
        if (version == lastVersion)
            return restored;
        using (restored)
            return Convert(restored.Root, version, lastVersion);
    }

    private static FieldSet Missing(ApiNode whole, ApiNode part, TypeSchema type)
    {
        var all = OwnedFields.Of(TypedValue.Of(whole, isExact: true), type);
        using var left = OwnedFields.Of(TypedValue.Of(part, isExact: true), type);
        FieldRemoval.AddNamedFields(all, type);
        FieldRemoval.AddNamedFields(left, type);
        all.Subtract(left);
        return all;
    }

    private void Take(
        ManagedEntries entries, ManagedEntry own, ObjectComparison comparison, ApiNode before, ApiNode result, string manager, bool isForced, ApiNode live)
    {
        using var changes = new VersionedChanges(this, comparison, before, result, isExact: true);
        if (isForced)
        {
            changes.TakeFrom(entries, own, null);
            return;
        }
        var conflicts = new List<(ManagedEntry Owner, FieldSet Fields)>();
        changes.TakeFrom(entries, own, conflicts);
        if (conflicts.Count == 0)
            return;
        try
        {
            if (!IsExcused(conflicts, manager, live))
                throw Conflict(conflicts);
        }
        finally
        {
            foreach (var (_, fields) in conflicts)
                fields.Dispose();
        }
        changes.TakeFrom(entries, own, null);
    }

    // kubectl takes over what its own client-side apply set and nobody has changed since; only the rest is in conflict then.
    private bool IsExcused(List<(ManagedEntry Owner, FieldSet Fields)> conflicts, string manager, ApiNode live)
    {
        if (manager != LastApplied.Manager)
            return false;
        using var excused = LastApplied.Unchanged(live, type);
        if (excused is null)
            return false;
        for (var i = conflicts.Count - 1; i >= 0; i--)
        {
            conflicts[i].Fields.Subtract(excused);
            if (!conflicts[i].Fields.IsEmpty)
                continue;
            conflicts[i].Fields.Dispose();
            conflicts.RemoveAt(i);
        }
        return conflicts.Count == 0;
    }

    private static ApiStatusException Conflict(List<(ManagedEntry Owner, FieldSet Fields)> conflicts)
    {
        var causes = new List<StatusCause>();
        var groups = new List<string>();
        foreach (var (owner, fields) in conflicts.OrderBy(static conflict => conflict.Owner, Comparer<ManagedEntry>.Create(static (l, r) => l.CompareIdentity(r))))
        {
            var paths = fields.Paths();
            foreach (var path in paths)
                causes.Add(new StatusCause("FieldManagerConflict", $"conflict with {owner.Describe()}", path));
            groups.Add($"conflicts with {owner.Describe()}:\n{string.Join('\n', paths.Select(static path => $"- {path}"))}");
        }
        var message = causes.Count == 1
            ? $"Apply failed with 1 conflict: {causes[0].Message}: {causes[0].Field}"
            : string.Create(CultureInfo.InvariantCulture, $"Apply failed with {causes.Count} conflicts: {string.Join('\n', groups)}");
        return ApiStatus.ApplyConflict(causes, message).ToException();
    }

    // The merged tree as a typed object: nulls gone, values canonical, and what does not fit the types refused.
    private ApiObject Finish(ApiNode result, ApiNode config, ManagedEntries entries, string manager)
    {
        result.Set("kind"u8, type.Kind);
        result.Set("apiVersion"u8, _apiVersion);
        var json = new ArrayBufferWriter<byte>(4096);
        result.WriteJson(json);
        var typed = JsonCodec.TryDecode(json.WrittenSpan, type, DecodeOptions.Default, null, out var error, out _)
            ?? throw Unconvertible(result, config, error!);
        var metadata = typed.Root.GetOrAddObject("metadata"u8);
        entries.WriteTo(metadata);
        LastApplied.Refresh(metadata, config, manager);
        return typed;
    }

    private ApiStatusException Unconvertible(ApiNode result, ApiNode config, string error)
    {
        var kind = GroupVersionKind(config);
        // Base64 alone is read by way of JSON there.
        var why = ConversionError.Find(result, type) ?? (error.StartsWith("illegal base64", StringComparison.Ordinal) ? $"error decoding from json: {error}" : error);
        return ApiStatus.Unknown(
            $"failed to convert new object ({Describe(config)}) to proper version: unable to convert unstructured object to {kind}: {why}").ToException();
    }

    private ApiObject NewObject()
    {
        using var empty = ApiObject.Rent();
        var json = new ArrayBufferWriter<byte>(512);
        JsonCodec.Encode(empty.Root, type, json);
        return JsonCodec.Decode(json.WrittenSpan, null, DecodeOptions.Free, null);
    }

    private ApiObject Convert(ApiNode obj, string from, string to) => from == to ? Copy(obj) : versions.Convert(obj, from, to);

    private static ApiObject Copy(ApiNode node)
    {
        var copy = ApiObject.Rent();
        copy.ReplaceRoot(node);
        return copy;
    }
}
