namespace K3sFast.ApiMachinery;

public sealed partial class FieldManager
{
    /// <summary>What a write changes, in each version that a manager's paths are meant in; other versions are compared when they are first asked for.</summary>
    private sealed class VersionedChanges : IDisposable
    {
        private readonly FieldManager _owner;
        private readonly ObjectComparison _own;
        private readonly ApiNode _live;
        private readonly ApiNode _current;
        private readonly bool _isExact;
        private Dictionary<string, ObjectComparison>? _others;

        public VersionedChanges(FieldManager owner, ObjectComparison own, ApiNode live, ApiNode current, bool isExact)
        {
            _owner = owner;
            _own = own;
            _live = live;
            _current = current;
            _isExact = isExact;
            owner.Filter(own);
        }

        /// <summary>
        /// Takes what was changed, added or removed from everybody but one. With a list for conflicts, what others own and somebody changed is noted there
        /// first, and nothing is taken when there is any.
        /// </summary>
        public void TakeFrom(ManagedEntries entries, ManagedEntry? except, List<(ManagedEntry Owner, FieldSet Fields)>? conflicts)
        {
            entries.RemoveAll(entry => !ReferenceEquals(entry, except) && Of(entry.ApiVersion) is null);
            if (conflicts is not null)
            {
                foreach (var entry in entries.Items)
                {
                    if (!ReferenceEquals(entry, except))
                        AddConflict(entry, Of(entry.ApiVersion)!, conflicts);
                }
                if (conflicts.Count > 0)
                    return;
            }
            foreach (var entry in entries.Items)
            {
                if (ReferenceEquals(entry, except))
                    continue;
                var change = Of(entry.ApiVersion)!;
                entry.Fields.Subtract(change.Modified);
                entry.Fields.Subtract(change.Added);
                entry.Fields.Subtract(change.Removed);
            }
        }

        public void Dispose()
        {
            foreach (var other in _others?.Values ?? (IEnumerable<ObjectComparison>)[])
                other.Dispose();
        }

        private static void AddConflict(ManagedEntry entry, ObjectComparison change, List<(ManagedEntry Owner, FieldSet Fields)> conflicts)
        {
            using var touched = change.Modified.Clone();
            touched.UnionWith(change.Added);
            var both = entry.Fields.Intersect(touched);
            if (both.IsEmpty)
                both.Dispose();
            else
                conflicts.Add((entry, both));
        }

        // Null for a version that is not served.
        private ObjectComparison? Of(string apiVersion)
        {
            if (apiVersion == _owner._apiVersion)
                return _own;
            if (_others?.GetValueOrDefault(apiVersion) is { } known)
                return known;
            if (_owner.TypeOf(apiVersion) is not { } type)
                return null;
            using var live = _live.IsDefined ? _owner.InVersion(_live, apiVersion) : null;
            using var current = _owner.InVersion(_current, apiVersion);
            var comparison = ObjectComparison.Of(LiveValue(live?.Root ?? default), TypedValue.Of(current.Root, _isExact), type);
            _owner.Filter(comparison);
            (_others ??= []).Add(apiVersion, comparison);
            return comparison;
        }
    }

    private void Filter(ObjectComparison comparison)
    {
        resetFields.Apply(comparison.Removed);
        resetFields.Apply(comparison.Modified);
        resetFields.Apply(comparison.Added);
    }

    private ApiObject InVersion(ApiNode obj, string apiVersion) => versions.Convert(obj, _apiVersion, apiVersion);
}
