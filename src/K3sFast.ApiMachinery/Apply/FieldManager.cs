namespace K3sFast.ApiMachinery;

/// <summary>
/// Keeps metadata.managedFields of one resource (or subresource) in one version, and merges applied configurations: who owns which field, by the
/// rules of upstream's field manager. Made once per endpoint.
/// </summary>
/// <remarks>Any thread. An update that changes nothing costs one walk over both trees and allocates nothing.</remarks>
public sealed partial class FieldManager(TypeSchema type, string subresource, ResetFields resetFields, IObjectVersions versions)
{
    private const string BeforeFirstApply = "before-first-apply";

    // What the server itself sets has no owner.
    private static readonly FieldSet s_stripped = FieldSet.Of(
        "apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace", "metadata.creationTimestamp", "metadata.selfLink", "metadata.uid",
        "metadata.clusterName", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion");

    private readonly string _apiVersion = type.ApiVersion;

    /// <summary>
    /// Notes in <paramref name="obj"/> who changed what: for create (<paramref name="live"/> undefined), update and every patch but apply. Call it when
    /// the object is decoded and defaulted, before admission and strategies.
    /// </summary>
    /// <param name="live">The stored object in this version; only read.</param>
    /// <param name="obj">The wanted object in this version; its managedFields are replaced.</param>
    /// <param name="manager">The manager's name.</param>
    /// <param name="now">The time of the operation.</param>
    public void Update(ApiNode live, ApiNode obj, string manager, DateTimeOffset now)
    {
        var metadata = obj.GetOrAddObject("metadata"u8);
        var given = metadata["managedFields"u8];
        var stored = live["metadata"u8]["managedFields"u8];
        var isCreate = live["metadata"u8]["uid"u8].Utf8.IsEmpty;
        // A subresource cannot change the list itself; clients that do not know it leave it out without meaning to.
        var isStoredKept = subresource.Length > 0 || given.IsNullOrUndefined || (!isCreate && given.DeepEquals(stored));
        using var comparison = ObjectComparison.Of(LiveValue(live), TypedValue.Of(obj, isExact: false), type);
        if (isStoredKept && !isCreate && (stored.Count == 0 || comparison.IsSame))
        {
            SetList(metadata, stored);
            return;
        }
        using var entries = isStoredKept ? ManagedEntries.ReadOrEmpty(stored) : ReadGiven(given, stored);
        metadata.Remove("managedFields"u8);
        if (entries.IsEmpty && !isCreate)
            return;
        // As upstream: an object whose ownership cannot be told is left without any.
        if (comparison.Error is not null)
            return;
        Note(entries, comparison, live, obj, manager, now);
        entries.WriteTo(metadata);
    }

    /// <summary>
    /// Puts back the times of a list that differs from the stored one in nothing else, when the object differs in nothing else either, so that the
    /// write is none. Call it when everything that changes the object is done.
    /// </summary>
    public static void KeepTimes(ApiNode old, ApiNode obj, TypeSchema type)
    {
        ApiNode stored = old["metadata"u8]["managedFields"u8], list = obj["metadata"u8]["managedFields"u8];
        if (list.Count == 0 || list.Count != stored.Count || list.DeepEquals(stored) || !SameButTimes(list, stored))
            return;
        using var comparison = ObjectComparison.Of(TypedValue.Of(old, isExact: false), TypedValue.Of(obj, isExact: false), type);
        if (comparison.IsSame && comparison.Error is null)
            obj["metadata"u8].Set("managedFields"u8, stored);
    }

    /// <summary>What is wrong with a list of managed fields, in upstream's words; null when nothing is.</summary>
    public static string? FindErrors(ApiNode list)
    {
        try
        {
            ManagedEntries.Read(list).Dispose();
            return null;
        }
        catch (FormatException error)
        {
            return error.Message;
        }
    }

    private static TypedValue LiveValue(ApiNode live) => live.IsDefined ? TypedValue.Of(live, isExact: false) : TypedValue.EmptyMessage;

    private static ManagedEntries ReadGiven(ApiNode given, ApiNode stored)
    {
        if (given.Count == 0 || (given.Count == 1 && given[0].Count == 0))
            return new ManagedEntries();
        return FindErrors(given) is null ? ManagedEntries.Read(given) : ManagedEntries.ReadOrEmpty(stored);
    }

    private static void SetList(ApiNode metadata, ApiNode list)
    {
        if (list.Count == 0)
            metadata.Remove("managedFields"u8);
        else if (!metadata["managedFields"u8].DeepEquals(list))
            metadata.Set("managedFields"u8, list);
    }

    private static bool SameButTimes(ApiNode left, ApiNode right)
    {
        var others = right.Elements.GetEnumerator();
        foreach (var entry in left.Elements)
        {
            if (!others.MoveNext() || entry.Count != others.Current.Count)
                return false;
            foreach (var member in entry.Members)
            {
                if (!member.Name.SequenceEqual("time"u8) && !member.Value.DeepEquals(others.Current[member.Name]))
                    return false;
            }
        }
        return true;
    }

    private void Note(ManagedEntries entries, ObjectComparison comparison, ApiNode live, ApiNode obj, string manager, DateTimeOffset now)
    {
        Reconcile(entries);
        using var changes = new VersionedChanges(this, comparison, live, obj, isExact: false);
        changes.TakeFrom(entries, except: null, conflicts: null);
        entries.RemoveEmpty();
        using var taken = comparison.Modified.Clone();
        taken.UnionWith(comparison.Added);
        taken.Subtract(s_stripped);
        if (!taken.IsEmpty)
        {
            var name = manager.Length == 0 ? "unknown" : manager;
            var entry = entries.Find(name, false, _apiVersion, subresource);
            if (entry is null)
                entries.Add(entry = new ManagedEntry(name, false, _apiVersion, subresource, taken.Clone()));
            else
                entry.Fields.UnionWith(taken);
            entry.Time = TimeText(now);
        }
        entries.Cap();
    }

    // Fields that the schema has made atomic since they were noted are owned as a whole. Managers of versions that are gone are left for later.
    private void Reconcile(ManagedEntries entries)
    {
        foreach (var entry in entries.Items)
        {
            if (TypeOf(entry.ApiVersion) is { } entryType)
                FieldRemoval.CollapseAtomic(entry.Fields, entryType);
        }
    }

    private TypeSchema? TypeOf(string apiVersion) => apiVersion == _apiVersion ? type : versions.TypeOf(apiVersion);

    private static string TimeText(DateTimeOffset now) => now.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);
}
