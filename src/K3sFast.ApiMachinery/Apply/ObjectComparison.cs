namespace K3sFast.ApiMachinery;

/// <summary>
/// What one version of an object has that another has not, as three disjoint sets of paths, by the rules of structured-merge-diff's Compare. One walk
/// over both trees; the sets stay empty, and cost nothing, where nothing differs. Dispose it.
/// </summary>
internal sealed class ObjectComparison : IDisposable
{
    private ObjectComparison(FieldSet removed, FieldSet modified, FieldSet added, string? error)
    {
        Removed = removed;
        Modified = modified;
        Added = added;
        Error = error;
    }

    /// <summary>In the old object only.</summary>
    public FieldSet Removed { get; }

    /// <summary>In both, with other values.</summary>
    public FieldSet Modified { get; }

    /// <summary>In the new object only.</summary>
    public FieldSet Added { get; }

    /// <summary>An element that has no place of its own in its list; null when there is none.</summary>
    public string? Error { get; }

    public bool IsSame => Removed.IsEmpty && Modified.IsEmpty && Added.IsEmpty;

    /// <summary>Compares two objects of one type; managedFields is left out.</summary>
    public static ObjectComparison Of(in TypedValue old, in TypedValue current, TypeSchema type)
    {
        var walker = t_spare ?? new Walker();
        t_spare = null;
        var comparison = walker.Compare(old, current, type);
        t_spare = walker;
        return comparison;
    }

    public void Dispose()
    {
        Removed.Dispose();
        Modified.Dispose();
        Added.Dispose();
    }

    [ThreadStatic]
    private static Walker? t_spare;

    private sealed class Walker : TypedWalker
    {
        private readonly FieldSetWriter _removed = new();
        private readonly FieldSetWriter _modified = new();
        private readonly FieldSetWriter _added = new();
        private string? _error;

        public ObjectComparison Compare(in TypedValue old, in TypedValue current, TypeSchema type)
        {
            FieldSet removed = FieldSet.Rent(), modified = FieldSet.Rent(), added = FieldSet.Rent();
            Restart();
            _error = null;
            _removed.Begin(removed);
            _modified.Begin(modified);
            _added.Begin(added);
            Visit(old, current, TypedPlace.Top(type));
            removed.Sort();
            modified.Sort();
            added.Sort();
            return new ObjectComparison(removed, modified, added, _error);
        }

        private void Visit(in TypedValue old, in TypedValue current, in TypedPlace place)
        {
            StackGuard.Enter();
            // Most writes leave most of an object as it is: spec and status are looked at as a whole before they are taken apart, lists too.
            if ((Trail.Depth == 1 || place.Kind == PlaceKind.List) && !IsMetadata(place) && TypedValue.AreIdentical(old, current))
                return;
            var isLeaf = place.Kind switch
            {
                PlaceKind.Message => VisitMessage(old, current, place),
                PlaceKind.Map => VisitMap(old, current, place),
                PlaceKind.List => VisitList(old, current, place),
                PlaceKind.Free => VisitFree(old, current, place),
                _ => Leaf(old, current, place),
            };
            if (isLeaf)
                return;
            if (old.IsAbsent)
                _added.Add(Trail);
            else if (current.IsAbsent)
                _removed.Add(Trail);
        }

        private bool VisitMessage(in TypedValue old, in TypedValue current, in TypedPlace place)
        {
            if (place.IsAtomic)
                return Leaf(old, current, place);
            var type = place.Type!;
            var fields = type.Fields;
            var oldSlots = ReserveSlots(fields.Length * 2);
            var newSlots = oldSlots + fields.Length;
            var hasUnknown = old.HasContent && FillSlots(old.Node, type, oldSlots);
            hasUnknown |= current.HasContent && FillSlots(current.Node, type, newSlots);
            var isEmpty = true;
            for (var i = 0; i < fields.Length; i++)
            {
                var field = fields[i];
                if (Slot(oldSlots + i) == 0 && Slot(newSlots + i) == 0 && field.IsLeftOutWhenAbsent)
                    continue;
                var left = old.Field(MemberAt(old.Node, oldSlots + i), field);
                var right = current.Field(MemberAt(current.Node, newSlots + i), field);
                if (left.IsAbsent && right.IsAbsent)
                    continue;
                isEmpty = false;
                if (IsManagedFields(field))
                    continue;
                Trail.Push(field);
                Visit(left, right, TypedPlace.Of(field));
                Leave();
            }
            ReleaseSlots(oldSlots);
            if (hasUnknown && type.PreserveUnknown)
                VisitUnknown(old, current, type, ref isEmpty);
            return isEmpty && Leaf(old, current, place);
        }

        private void VisitUnknown(in TypedValue old, in TypedValue current, TypeSchema type, ref bool isEmpty)
        {
            foreach (var member in old.Node.Members)
            {
                if (!type.TryGetField(member.Name, out _))
                    VisitMember(old, current, member.Value, TypedPlace.Free, ref isEmpty);
            }
            foreach (var member in current.Node.Members)
            {
                if (!type.TryGetField(member.Name, out _) && !old.Node[member.Name].IsDefined)
                    VisitMember(old, current, member.Value, TypedPlace.Free, ref isEmpty);
            }
        }

        private bool VisitMap(in TypedValue old, in TypedValue current, in TypedPlace place)
        {
            if (place.IsAtomic)
                return Leaf(old, current, place);
            var isEmpty = true;
            var element = place.Kind == PlaceKind.Map ? place.Element : TypedPlace.Free;
            if (old.HasContent)
            {
                foreach (var member in old.Node.Members)
                    VisitMember(old, current, member.Value, element, ref isEmpty);
            }
            if (current.HasContent)
            {
                foreach (var member in current.Node.Members)
                {
                    if (!old.HasContent || !old.Node[member.Name].IsDefined)
                        VisitMember(old, current, member.Value, element, ref isEmpty);
                }
            }
            return isEmpty && Leaf(old, current, place);
        }

        private void VisitMember(in TypedValue old, in TypedValue current, ApiNode member, in TypedPlace place, ref bool isEmpty)
        {
            isEmpty = false;
            Trail.Push(member);
            Visit(
                TypedValue.Of(old.HasContent ? old.Node[member.Name] : default, old.IsExact),
                TypedValue.Of(current.HasContent ? current.Node[member.Name] : default, current.IsExact), place);
            Leave();
        }

        // A null is taken for whatever the other side is; two kinds are both looked at.
        private bool VisitFree(in TypedValue old, in TypedValue current, in TypedPlace place)
        {
            if (place.IsAtomic)
                return Leaf(old, current, place);
            NodeKind oldAtom = AtomOf(old), newAtom = AtomOf(current);
            if (current.IsAbsent)
                return VisitAtom(oldAtom, old, current, place);
            if (!old.IsAbsent && oldAtom != newAtom)
                VisitAtom(oldAtom, old, current, place);
            return VisitAtom(newAtom, old, current, place);
        }

        private bool VisitAtom(NodeKind atom, in TypedValue old, in TypedValue current, in TypedPlace place) => atom is NodeKind.Object or NodeKind.Undefined
            ? VisitMap(OnlyObject(old), OnlyObject(current), place)
            : Leaf(old, current, place);

        private static TypedValue OnlyObject(in TypedValue value) =>
            value.HasContent && value.Node.Kind != NodeKind.Object ? TypedValue.NullLike(value) : value;

        private bool VisitList(in TypedValue old, in TypedValue current, in TypedPlace place)
        {
            if (place.IsAtomic || (old.Node.Count == 0 && current.Node.Count == 0))
                return Leaf(old, current, place);
            ListIndex before = RentIndex(), after = RentIndex();
            before.Build(old.Node, old.IsExact, place);
            after.Build(current.Node, current.IsExact, place);
            _error ??= before.Error ?? after.Error;
            for (var i = 0; i < before.Count; i++)
            {
                if (!before.IsRepetition(i))
                    VisitElement(before, i, after, after.Find(before.PathOf(i)), old, current, place);
            }
            for (var i = 0; i < after.Count; i++)
            {
                if (!after.IsRepetition(i) && before.Find(after.PathOf(i)) < 0)
                    VisitElement(before, -1, after, i, old, current, place);
            }
            ReturnIndex(before);
            ReturnIndex(after);
            return false;
        }

        // Elements that share a path are owned together, as one leaf.
        private void VisitElement(
            ListIndex before, int oldIndex, ListIndex after, int newIndex, in TypedValue old, in TypedValue current, in TypedPlace place)
        {
            var wasRepeated = oldIndex >= 0 && before.IsRepeated(oldIndex);
            var isRepeated = newIndex >= 0 && after.IsRepeated(newIndex);
            if (oldIndex >= 0)
                Trail.Push(before, oldIndex);
            else
                Trail.Push(after, newIndex);
            var left = TypedValue.Of(oldIndex >= 0 && !wasRepeated ? before.ElementAt(oldIndex) : default, old.IsExact);
            var right = TypedValue.Of(newIndex >= 0 && !isRepeated ? after.ElementAt(newIndex) : default, current.IsExact);
            if (wasRepeated && isRepeated)
            {
                if (!SameRepetitions(before, oldIndex, after, newIndex))
                    _modified.Add(Trail);
            }
            else
            {
                if (!left.IsAbsent || !right.IsAbsent)
                    Visit(left, right, place.Element);
                if (wasRepeated)
                    _removed.Add(Trail);
                if (isRepeated)
                    _added.Add(Trail);
            }
            Leave();
        }

        private static bool SameRepetitions(ListIndex before, int oldIndex, ListIndex after, int newIndex)
        {
            int i = oldIndex, j = newIndex;
            while (i < before.Count && j < after.Count)
            {
                if (!before.ElementAt(i).DeepEquals(after.ElementAt(j)))
                    return false;
                i = before.NextOf(i, oldIndex);
                j = after.NextOf(j, newIndex);
            }
            return i >= before.Count && j >= after.Count;
        }

        private bool Leaf(in TypedValue old, in TypedValue current, in TypedPlace place)
        {
            if (old.IsAbsent)
                _added.Add(Trail);
            else if (current.IsAbsent)
                _removed.Add(Trail);
            else if (!TypedValue.AreEqual(old, current, place))
                _modified.Add(Trail);
            return true;
        }

        private void Leave()
        {
            Trail.Pop();
            _removed.Left(Trail.Depth);
            _modified.Left(Trail.Depth);
            _added.Left(Trail.Depth);
        }
    }
}
