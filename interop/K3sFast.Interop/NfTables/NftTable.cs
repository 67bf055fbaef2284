using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;

namespace K3sFast.Interop.NfTables;

/// <summary>
/// One table in the kernel, made of what owners want in it. A change is worked out against what was sent before and goes out as one transaction
/// that speaks of the changed owners only: its size does not depend on how many others there are. Foreign tables are never touched.
/// </summary>
/// <remarks>
/// Any thread; one change at a time. After a refused transaction the kernel still has the old state and this object the new one: the next change
/// rebuilds the table whole, again as one transaction, so that no packet ever sees a half-made table.
/// </remarks>
public sealed class NftTable : IDisposable
{
    // Immutable after construction
    private readonly NetlinkSocket _socket;
    private readonly NftFamily _family;
    private readonly string _name;

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly NftBatch _batch;
    private readonly Dictionary<string, NftFragment> _fragments = [];
    private readonly Dictionary<(string Set, NftData Key), Claim> _claims = [];
    private bool _isKernelKnown;
    private ulong _handle;
    private uint _generation;

    /// <summary>The table <paramref name="name"/>; nothing is read or written yet. The first change replaces whatever the kernel has under the name.</summary>
    public NftTable(NftFamily family, string name, NetworkNamespace? inside = null)
    {
        (_family, _name) = (family, name);
        _socket = NetlinkSocket.Open(NetlinkProtocol.Netfilter, inside);
        _batch = new NftBatch(family, name);
    }

    /// <summary>Bytes of the transaction that the last change took; 0 = nothing had to be sent.</summary>
    public int LastBatchBytes { get; private set; }

    /// <summary>Makes each owner's part what is given; null = the owner leaves. Nothing is sent when nothing changes.</summary>
    /// <exception cref="KernelException">Refused; the kernel is unchanged, and the next call rebuilds.</exception>
    public void Apply(IReadOnlyList<KeyValuePair<string, NftFragment?>> changes)
    {
        lock (_gate)
        {
            _batch.Clear();
            LastBatchBytes = 0;
            if (!_isKernelKnown)
            {
                foreach (var (owner, fragment) in changes) Remember(owner, fragment);
                WriteAll();
            }
            else
            {
                WriteChanges(changes);
                if (_isKernelKnown && _batch.IsEmpty) return;
                if (!_isKernelKnown) Rewrite();
            }
            SendLocked();
        }
    }

    /// <summary>
    /// Rebuilds the table if somebody removed or replaced it, or took rules or elements out of it; true = it was rebuilt. One cheap request while nobody changed
    /// anything in the namespace; otherwise what is there is counted.
    /// </summary>
    /// <exception cref="KernelException">Refused.</exception>
    public bool Verify()
    {
        lock (_gate)
        {
            if (_isKernelKnown && IsIntact()) return false;
            _isKernelKnown = false;
            _batch.Clear();
            WriteAll();
            SendLocked();
            return true;
        }
    }

    /// <summary>True if the kernel has a table of this name.</summary>
    public bool Exists()
    {
        lock (_gate) return NftDump.FindTable(_socket, _family, _name) is not null;
    }

    /// <summary>Removes the table from the kernel with all that is in it; one that is not there is fine.</summary>
    public void Remove()
    {
        lock (_gate)
        {
            _isKernelKnown = false;
            _fragments.Clear();
            _claims.Clear();
            _batch.Clear();
            // Adding first makes deleting succeed whether it was there or not.
            _batch.AddTable();
            _batch.DeleteTable();
            _batch.Finish();
            _socket.ExecuteTransaction(_batch.Messages);
        }
    }

    /// <summary>Closes the socket; the table stays.</summary>
    public void Dispose()
    {
        _socket.Dispose();
        _batch.Dispose();
    }

    /// <summary>Writes the transaction for <paramref name="changes"/> without sending it, as if the kernel agreed: what a change costs.</summary>
    internal int Encode(IReadOnlyList<KeyValuePair<string, NftFragment?>> changes)
    {
        lock (_gate)
        {
            _batch.Clear();
            if (_isKernelKnown)
            {
                WriteChanges(changes);
            }
            else
            {
                foreach (var (owner, fragment) in changes) Remember(owner, fragment);
                WriteAll();
                _isKernelKnown = true;
            }
            if (_batch.IsEmpty) return 0;
            _batch.Finish();
            return _batch.Messages.Length;
        }
    }

    private bool IsIntact()
    {
        var generation = NftDump.Generation(_socket);
        if (generation == _generation) return true;
        if (NftDump.FindTable(_socket, _family, _name) != _handle) return false;
        if (NftDump.CountRules(_socket, _family, _name) != _fragments.Values.Sum(static fragment => fragment.Chains.Sum(static chain => chain.Rules.Count))) return false;
        var expected = _claims.Keys.CountBy(static claim => claim.Set).ToDictionary();
        foreach (var set in _fragments.Values.SelectMany(static fragment => fragment.Sets))
        {
            if (set.Timeout == TimeSpan.Zero && NftDump.ListElements(_socket, _family, _name, set.Name).Count != expected.GetValueOrDefault(set.Name)) return false;
        }
        _generation = generation;
        return true;
    }

    private void SendLocked()
    {
        _batch.Finish();
        LastBatchBytes = _batch.Messages.Length;
        var isNew = !_isKernelKnown;
        _isKernelKnown = false;
        _socket.ExecuteTransaction(_batch.Messages);
        _isKernelKnown = true;
        if (isNew) _handle = NftDump.FindTable(_socket, _family, _name) ?? 0;
    }

    private void Rewrite()
    {
        _batch.Clear();
        WriteAll();
    }

    // Everything anew: what the kernel had under the name goes in the same instant; what rules had put into sets of ours stays.
    private void WriteAll()
    {
        var remembered = ReadRemembered();
        _batch.AddTable();
        _batch.DeleteTable();
        _batch.AddTable();
        _claims.Clear();
        foreach (var fragment in _fragments.Values)
        {
            foreach (var set in fragment.Sets) _batch.AddSet(set);
            foreach (var chain in fragment.Chains) _batch.AddChain(chain);
        }
        foreach (var fragment in _fragments.Values)
        {
            foreach (var chain in fragment.Chains)
            {
                foreach (var rule in chain.Rules) _batch.AddRule(chain.Name, rule);
            }
        }
        var elements = new ElementChanges();
        foreach (var (owner, fragment) in _fragments)
        {
            foreach (var (set, element) in fragment.Elements) AddClaim(owner, set, element, elements);
        }
        elements.Write(_batch);
        foreach (var (set, known) in remembered) _batch.AddElements(set, known);
    }

    private List<(string Set, List<NftElement> Elements)> ReadRemembered()
    {
        var remembered = new List<(string, List<NftElement>)>();
        var sets = _fragments.Values.SelectMany(static fragment => fragment.Sets).Where(static set => set.Timeout > TimeSpan.Zero).ToList();
        if (sets.Count == 0 || NftDump.FindTable(_socket, _family, _name) is null) return remembered;
        foreach (var set in sets)
        {
            if (NftDump.ListElements(_socket, _family, _name, set.Name) is { Count: > 0 } elements) remembered.Add((set.Name, elements));
        }
        return remembered;
    }

    // The order is what the kernel's references ask for: what is pointed at comes before what points, and goes after it.
    private void WriteChanges(IReadOnlyList<KeyValuePair<string, NftFragment?>> changes)
    {
        var elements = new ElementChanges();
        var (goneChains, goneSets) = (new List<string>(), new List<string>());
        var rewritten = new List<NftChain>();
        foreach (var (owner, wanted) in changes)
        {
            var current = _fragments.GetValueOrDefault(owner);
            WriteSets(current, wanted, goneSets);
            WriteChains(current, wanted, rewritten, goneChains);
            var (before, after) = (Lookup(current), Lookup(wanted));
            foreach (var (set, element) in current?.Elements ?? [])
            {
                if (!after.Contains((set, element))) RemoveClaim(owner, set, element, elements);
            }
            foreach (var (set, element) in wanted?.Elements ?? [])
            {
                if (!before.Contains((set, element))) AddClaim(owner, set, element, elements);
            }
            Remember(owner, wanted);
        }
        foreach (var chain in rewritten)
        {
            foreach (var rule in chain.Rules) _batch.AddRule(chain.Name, rule);
        }
        elements.Write(_batch);
        foreach (var chain in goneChains) _batch.FlushChain(chain);
        foreach (var chain in goneChains) _batch.DeleteChain(chain);
        foreach (var set in goneSets) _batch.DeleteSet(set);
    }

    // A service's few elements are found as they are; the peers of a policy may be thousands.
    private static ICollection<(string Set, NftElement Element)> Lookup(NftFragment? fragment) =>
        fragment is null ? [] : fragment.Elements.Count > 32 ? fragment.Elements.ToHashSet() : fragment.Elements;

    private void WriteSets(NftFragment? current, NftFragment? wanted, List<string> gone)
    {
        foreach (var set in wanted?.Sets ?? [])
        {
            var known = current?.Sets.Find(other => other.Name == set.Name);
            if (known is null) _batch.AddSet(set);
            // The kernel cannot redefine a set or hook a chain in elsewhere: the whole table is made anew instead.
            else if (known != set) _isKernelKnown = false;
        }
        foreach (var set in current?.Sets ?? [])
        {
            if (wanted is null || wanted.Sets.TrueForAll(other => other.Name != set.Name)) gone.Add(set.Name);
        }
    }

    private void WriteChains(NftFragment? current, NftFragment? wanted, List<NftChain> rewritten, List<string> gone)
    {
        foreach (var chain in wanted?.Chains ?? [])
        {
            var known = current?.Chains.Find(other => other.Name == chain.Name);
            if (known is not null && known.Equals(chain)) continue;
            if (known is null) _batch.AddChain(chain);
            else if (!Equals(known.Base, chain.Base)) _isKernelKnown = false;
            else _batch.FlushChain(chain.Name);
            rewritten.Add(chain);
        }
        foreach (var chain in current?.Chains ?? [])
        {
            if (wanted is null || wanted.Chains.TrueForAll(other => other.Name != chain.Name)) gone.Add(chain.Name);
        }
    }

    private void Remember(string owner, NftFragment? fragment)
    {
        if (fragment is null) _fragments.Remove(owner);
        else _fragments[owner] = fragment;
    }

    private void AddClaim(string owner, string set, NftElement element, ElementChanges changes)
    {
        if (_claims.TryGetValue((set, element.Key), out var claim))
        {
            // An owner that changes its element's data takes its old claim back in the same change; others queue up.
            (claim.Waiting ??= []).Add((owner, element));
            return;
        }
        _claims[(set, element.Key)] = new Claim(owner, element);
        changes.Add(set, element);
    }

    private void RemoveClaim(string owner, string set, NftElement element, ElementChanges changes)
    {
        if (!_claims.TryGetValue((set, element.Key), out var claim)) return;
        if (claim.Owner != owner || claim.Element != element)
        {
            claim.Waiting?.Remove((owner, element));
            return;
        }
        changes.Remove(set, element);
        if (claim.Waiting is { Count: > 0 } waiting)
        {
            (claim.Owner, claim.Element) = waiting[0];
            waiting.RemoveAt(0);
            changes.Add(set, claim.Element);
            return;
        }
        _claims.Remove((set, element.Key));
    }

    /// <summary>Who has an element in the kernel, and who would take it over.</summary>
    private sealed class Claim(string owner, NftElement element)
    {
        internal string Owner = owner;
        internal NftElement Element = element;
        internal List<(string Owner, NftElement Element)>? Waiting;
    }

    /// <summary>Elements to remove and to add, by set. A key that is removed and added with the same data is neither.</summary>
    private sealed class ElementChanges
    {
        private readonly Dictionary<string, (List<NftElement> Removed, List<NftElement> Added)> _sets = [];

        internal void Add(string set, NftElement element)
        {
            var (removed, added) = Of(set);
            if (!removed.Remove(element)) added.Add(element);
        }

        internal void Remove(string set, NftElement element)
        {
            var (removed, added) = Of(set);
            if (!added.Remove(element)) removed.Add(element);
        }

        internal void Write(NftBatch batch)
        {
            foreach (var (set, (removed, _)) in _sets) batch.DeleteElements(set, removed);
            foreach (var (set, (_, added)) in _sets) batch.AddElements(set, added);
        }

        private (List<NftElement> Removed, List<NftElement> Added) Of(string set)
        {
            if (!_sets.TryGetValue(set, out var lists)) _sets[set] = lists = ([], []);
            return lists;
        }
    }
}
