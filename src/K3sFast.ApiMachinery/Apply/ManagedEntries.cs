namespace K3sFast.ApiMachinery;

/// <summary>metadata.managedFields in memory: decoded, changed and written back in upstream's order. Dispose it.</summary>
internal sealed class ManagedEntries : IDisposable
{
    // Upstream's bound; older updates are united when there are more.
    private const int MaxUpdaters = 10;
    private const string OldUpdates = "ancient-changes";

    // By who they are, so that a list of very many managers costs a lookup for each.
    private readonly Dictionary<(string Manager, string ApiVersion, string Subresource), ManagedEntry> _byIdentity = [];

    public List<ManagedEntry> Items { get; } = [];

    public bool IsEmpty => Items.Count == 0;

    /// <summary>Decodes the list of an object's metadata; absent is empty.</summary>
    /// <exception cref="FormatException">An entry is not valid, in upstream's words.</exception>
    public static ManagedEntries Read(ApiNode list)
    {
        var entries = new ManagedEntries();
        try
        {
            var index = 0;
            foreach (var node in list.Elements)
                entries.Add(ReadEntry(node, index++));
            return entries;
        }
        catch
        {
            entries.Dispose();
            throw;
        }
    }

    /// <summary>As <see cref="Read"/>, but an invalid list is an empty one.</summary>
    public static ManagedEntries ReadOrEmpty(ApiNode list)
    {
        try
        {
            return Read(list);
        }
        catch (FormatException)
        {
            return new ManagedEntries();
        }
    }

    public ManagedEntry? Find(string manager, bool isApply, string apiVersion, string subresource) =>
        _byIdentity.GetValueOrDefault(IdentityOf(manager, isApply, apiVersion, subresource));

    /// <summary>Adds an entry, or puts its content in that of the same manager that is there; answers the one that is in the list now.</summary>
    public ManagedEntry Add(ManagedEntry entry)
    {
        var identity = IdentityOf(entry);
        if (_byIdentity.TryGetValue(identity, out var known))
        {
            known.Become(entry);
            return known;
        }
        Items.Add(entry);
        _byIdentity[identity] = entry;
        return entry;
    }

    /// <summary>Takes out and disposes all entries of which that is true.</summary>
    public void RemoveAll(Predicate<ManagedEntry> isGone) => Items.RemoveAll(entry =>
    {
        if (!isGone(entry))
            return false;
        _byIdentity.Remove(IdentityOf(entry));
        entry.Dispose();
        return true;
    });

    public void RemoveEmpty() => RemoveAll(static entry => entry.Fields.IsEmpty);

    /// <summary>Unites the oldest updates of each version while there are more than upstream keeps.</summary>
    public void Cap()
    {
        var updaters = Items.FindAll(static entry => !entry.IsApply);
        if (updaters.Count <= MaxUpdaters)
            return;
        updaters.Sort(static (left, right) =>
        {
            var order = left.Seconds.CompareTo(right.Seconds);
            return order != 0 ? order : left.CompareIdentity(right);
        });
        var firsts = new Dictionary<string, ManagedEntry>();
        var gone = new HashSet<ManagedEntry>();
        var count = updaters.Count;
        for (var i = 0; i < updaters.Count && count > MaxUpdaters; i++)
        {
            var entry = updaters[i];
            if (firsts.TryAdd(entry.ApiVersion, entry))
                continue;
            var bucket = Find(OldUpdates, false, entry.ApiVersion, "");
            if (bucket is null)
            {
                var first = firsts[entry.ApiVersion];
                bucket = new ManagedEntry(OldUpdates, false, entry.ApiVersion, "", first.Fields.Clone());
                gone.Add(first);
                Add(bucket);
            }
            if (ReferenceEquals(bucket, entry))
                continue;
            bucket.Fields.UnionWith(entry.Fields);
            // The update that goes in is younger than what is there.
            bucket.Time = entry.Time;
            gone.Add(entry);
            count--;
        }
        RemoveAll(gone.Contains);
    }

    /// <summary>Writes the entries into metadata, or takes the member away when there are none.</summary>
    public void WriteTo(ApiNode metadata)
    {
        if (IsEmpty)
        {
            metadata.Remove("managedFields"u8);
            return;
        }
        Items.Sort(static (left, right) =>
        {
            // Apply before Update, then by age.
            if (left.IsApply != right.IsApply)
                return left.IsApply ? -1 : 1;
            var order = left.Seconds.CompareTo(right.Seconds);
            return order != 0 ? order : left.CompareIdentity(right);
        });
        var list = metadata.GetOrAddArray("managedFields"u8);
        list.Clear();
        foreach (var entry in Items)
        {
            var node = list.AppendObject();
            node.Set("manager"u8, entry.Manager);
            node.Set("operation"u8, entry.IsApply ? "Apply"u8 : "Update"u8);
            node.Set("apiVersion"u8, entry.ApiVersion);
            if (entry.Time is not null)
                node.Set("time"u8, entry.Time);
            node.Set("fieldsType"u8, "FieldsV1"u8);
            entry.Fields.WriteTo(node.GetOrAddObject("fieldsV1"u8));
            if (entry.Subresource.Length > 0)
                node.Set("subresource"u8, entry.Subresource);
        }
    }

    public void Dispose()
    {
        foreach (var entry in Items)
            entry.Dispose();
        Items.Clear();
        _byIdentity.Clear();
    }

    private static (string Manager, string ApiVersion, string Subresource) IdentityOf(ManagedEntry entry) =>
        IdentityOf(entry.Manager, entry.IsApply, entry.ApiVersion, entry.Subresource);

    // An applier stays the same in every version.
    private static (string Manager, string ApiVersion, string Subresource) IdentityOf(string manager, bool isApply, string apiVersion, string subresource) =>
        (manager, isApply ? "" : $"/{apiVersion}", subresource);

    private static ManagedEntry ReadEntry(ApiNode node, int index)
    {
        var isApply = node["operation"u8].Equals("Apply"u8);
        if (!isApply && !node["operation"u8].Equals("Update"u8))
            throw new FormatException("operation must be `Apply` or `Update`");
        if (node["apiVersion"u8].Utf8.IsEmpty)
            throw new FormatException("apiVersion must not be empty");
        var type = node["fieldsType"u8];
        if (type.Utf8.IsEmpty)
            throw new FormatException($"missing fieldsType in managed fields entry {index}");
        if (!type.Equals("FieldsV1"u8))
            throw new FormatException($"invalid fieldsType {GoText.Quote(type.Utf8)} in managed fields entry {index}");
        return new ManagedEntry(
            node["manager"u8].AsString(), isApply, node["apiVersion"u8].AsString(), node["subresource"u8].AsString(), FieldSet.Read(node["fieldsV1"u8]))
        {
            Time = node["time"u8].Utf8.IsEmpty ? null : node["time"u8].AsString(),
        };
    }
}
