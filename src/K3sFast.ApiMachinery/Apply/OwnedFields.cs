namespace K3sFast.ApiMachinery;

/// <summary>The paths that an object names: what an applier owns by applying it. The rules are those of structured-merge-diff's ToFieldSet.</summary>
internal static class OwnedFields
{
    [ThreadStatic]
    private static Walker? t_spare;

    /// <summary>The paths of an object, managedFields left out. The caller disposes the set.</summary>
    public static FieldSet Of(in TypedValue value, TypeSchema type)
    {
        var walker = t_spare ?? new Walker();
        t_spare = null;
        var set = walker.Collect(value, type);
        t_spare = walker;
        return set;
    }

    private sealed class Walker : TypedWalker
    {
        private readonly FieldSetWriter _set = new();

        public FieldSet Collect(in TypedValue value, TypeSchema type)
        {
            var set = FieldSet.Rent();
            Restart();
            _set.Begin(set);
            Visit(value, TypedPlace.Top(type));
            set.Sort();
            return set;
        }

        private void Visit(in TypedValue value, in TypedPlace place)
        {
            StackGuard.Enter();
            switch (place.Kind)
            {
                case PlaceKind.Scalar:
                    _set.Add(Trail);
                    break;
                case PlaceKind.List:
                    VisitList(value, place);
                    break;
                case PlaceKind.Message when !place.IsAtomic:
                    VisitMessage(value, place.Type!);
                    break;
                case PlaceKind.Free when !place.IsAtomic && AtomOf(value) is NodeKind.String or NodeKind.Array:
                    _set.Add(Trail);
                    break;
                default:
                    if (place.IsAtomic)
                        _set.Add(Trail);
                    else
                        VisitMap(value, place);
                    break;
            }
        }

        private void VisitMessage(in TypedValue value, TypeSchema type)
        {
            if (!value.HasContent)
                return;
            var fields = type.Fields;
            var slots = ReserveSlots(fields.Length);
            var hasUnknown = FillSlots(value.Node, type, slots);
            for (var i = 0; i < fields.Length; i++)
            {
                var field = fields[i];
                var member = value.Field(MemberAt(value.Node, slots + i), field);
                if (member.IsAbsent || IsManagedFields(field))
                    continue;
                Trail.Push(field);
                VisitMember(member, TypedPlace.Of(field), isDeclared: true);
            }
            ReleaseSlots(slots);
            if (!hasUnknown || !type.PreserveUnknown)
                return;
            foreach (var member in value.Node.Members)
            {
                if (type.TryGetField(member.Name, out _))
                    continue;
                Trail.Push(member.Value);
                VisitMember(TypedValue.Of(member.Value, value.IsExact), TypedPlace.Free, isDeclared: false);
            }
        }

        private void VisitMap(in TypedValue value, in TypedPlace place)
        {
            if (!value.HasContent)
                return;
            var element = place.Kind == PlaceKind.Map ? place.Element : TypedPlace.Free;
            foreach (var member in value.Node.Members)
            {
                Trail.Push(member.Value);
                VisitMember(TypedValue.Of(member.Value, value.IsExact), element, isDeclared: false);
            }
        }

        private void VisitMember(in TypedValue member, in TypedPlace place, bool isDeclared)
        {
            Visit(member, place);
            if (!isDeclared || member.Presence == Presence.Null || IsEmptyObject(member, place))
                _set.Add(Trail);
            Leave();
        }

        private void VisitList(in TypedValue value, in TypedPlace place)
        {
            if (place.IsAtomic)
            {
                _set.Add(Trail);
                return;
            }
            var index = RentIndex();
            index.Build(value.Node, value.IsExact, place);
            for (var i = 0; i < index.Count; i++)
            {
                if (index.IsRepetition(i))
                    continue;
                Trail.Push(index, i);
                if (!index.IsRepeated(i))
                    Visit(TypedValue.Of(index.ElementAt(i), value.IsExact), place.Element);
                _set.Add(Trail);
                Leave();
            }
            ReturnIndex(index);
        }

        private bool IsEmptyObject(in TypedValue value, in TypedPlace place)
        {
            if (value.Presence == Presence.Given && value.Node.Kind != NodeKind.Object)
                return false;
            if (place.Kind != PlaceKind.Message)
                return value.Presence == Presence.Given && value.Node.Count == 0;
            if (value.IsExact)
                return value.Node.Count == 0;
            var fields = place.Type!.Fields;
            var slots = ReserveSlots(fields.Length);
            FillSlots(value.Node, place.Type, slots);
            var isEmpty = true;
            for (var i = 0; i < fields.Length && isEmpty; i++)
                isEmpty = value.Field(MemberAt(value.Node, slots + i), fields[i]).IsAbsent;
            ReleaseSlots(slots);
            return isEmpty;
        }

        private void Leave()
        {
            Trail.Pop();
            _set.Left(Trail.Depth);
        }
    }
}
