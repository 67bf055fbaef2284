namespace K3sFast.ApiMachinery;

/// <summary>metadata.managedFields in memory: decoded, changed and written back in upstream's order. Dispose it.</summary>
internal sealed class ManagedEntries : IDisposable
{
    // Upstream's bound; older updates are united when there are more.
    private const int MaxUpdaters = 10;
    private const string OldUpdates = "ancient-changes";

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
        Items.Find(entry => entry.Is(manager, isApply, apiVersion, subresource));

    /// <summary>Adds an entry; one that is the same manager's gives way.</summary>
    public void Add(ManagedEntry entry)
    {
        var at = Items.FindIndex(other => other.Is(entry.Manager, entry.IsApply, entry.ApiVersion, entry.Subresource));
        if (at < 0)
        {
            Items.Add(entry);
            return;
        }
        Items[at].Dispose();
        Items[at] = entry;
    }

    public void Remove(ManagedEntry entry)
    {
        Items.Remove(entry);
        entry.Dispose();
    }

    public void RemoveEmpty()
    {
        for (var i = Items.Count - 1; i >= 0; i--)
        {
            if (Items[i].Fields.IsEmpty)
                Remove(Items[i]);
        }
    }

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
                Remove(first);
                Items.Add(bucket);
            }
            if (ReferenceEquals(bucket, entry))
                continue;
            bucket.Fields.UnionWith(entry.Fields);
            // The update that goes in is younger than what is there.
            bucket.Time = entry.Time;
            Remove(entry);
            count--;
        }
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
    }

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
