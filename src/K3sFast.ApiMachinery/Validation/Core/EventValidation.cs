namespace K3sFast.ApiMachinery;

/// <summary>Validation of events: little for those of the core group, whose writers are many and old; all of it for events.k8s.io.</summary>
internal static class EventValidation
{
    private const int MaxText = 128;
    private const int MaxNote = 1024;

    private static readonly TypeSchema s_type = Schema.BuiltIn.FindType("io.k8s.api.core.v1.Event")!;

    internal static void Create(At at, ApiNode ev, ResourceInfo resource, bool isStrict)
    {
        if (!isStrict && ev["metadata"u8]["name"u8].Utf8.IsEmpty)
            at["metadata"]["name"].Required("name or generateName is required");
        Legacy(at, ev, isStrict);
        if (!isStrict)
            return;
        ObjectMetaValidation.Create(at["metadata"], ev["metadata"u8], resource, Format.Dns1123Subdomain);
        Series(at, ev["series"u8]);
        if (ev["eventTime"u8].IsNullOrUndefined)
            at["eventTime"].Required();
        string type = ev["type"u8].AsString();
        if (type is not ("Normal" or "Warning"))
            at["type"].Invalid("", $"has invalid value: {type}");
        foreach (string field in (ReadOnlySpan<string>)["firstTimestamp", "lastTimestamp", "count"])
        {
            var value = ev[System.Text.Encoding.ASCII.GetBytes(field)];
            if (!value.IsNullOrUndefined && !(field == "count" && value.AsInt64() == 0))
                at[field].Invalid("", "needs to be unset");
        }
        if (!ev["source"u8]["component"u8].Utf8.IsEmpty || !ev["source"u8]["host"u8].Utf8.IsEmpty)
            at["source"].Invalid("", "needs to be unset");
    }

    internal static void Update(At at, ApiNode ev, ApiNode old, bool isStrict)
    {
        Legacy(at, ev, isStrict);
        if (!isStrict)
            return;
        ObjectMetaValidation.Update(at["metadata"], ev["metadata"u8], old["metadata"u8]);
        if (!SemanticEquality.MemberEqual(ev, old, "series"u8, s_type))
            Series(at, ev["series"u8]);
        foreach (var (field, shown) in (ReadOnlySpan<(string, string)>)[
            ("involvedObject", "involvedObject"), ("reason", "reason"), ("message", "message"), ("source", "source"), ("firstTimestamp", "firstTimestamp"),
            ("lastTimestamp", "lastTimestamp"), ("count", "count"), ("reason", "reason"), ("type", "type"), ("eventTime", "eventTime"), ("action", "action"),
            ("related", "related"), ("reportingComponent", "reportingController"), ("reportingInstance", "reportingInstance")])
            at[shown].ImmutableMember(ev, old, System.Text.Encoding.ASCII.GetBytes(field), s_type);
    }

    private static void Legacy(At at, ApiNode ev, bool isStrict)
    {
        var ns = ev["metadata"u8]["namespace"u8];
        var objectNamespace = ev["involvedObject"u8]["namespace"u8];
        if (ev["eventTime"u8].IsNullOrUndefined)
        {
            bool matches = objectNamespace.Utf8.IsEmpty ? ns.Utf8.IsEmpty || ns.Equals("default"u8) : ns.Utf8.SequenceEqual(objectNamespace.Utf8);
            if (!matches)
                at["involvedObject"]["namespace"].Invalid(objectNamespace.AsString(), "does not match event.namespace");
        }
        else
        {
            if (objectNamespace.Utf8.IsEmpty && !ns.Equals("default"u8) && !ns.Equals("kube-system"u8))
                at["involvedObject"]["namespace"].Invalid("", "does not match event.namespace");
            string controller = isStrict ? "reportingController" : "reportingComponent";
            if (ev["reportingComponent"u8].Utf8.IsEmpty)
                at[controller].Required();
            at[controller].Format(Format.LabelKey, ev["reportingComponent"u8].AsString());
            Text(at["reportingInstance"], ev["reportingInstance"u8]);
            Text(at["action"], ev["action"u8]);
            Text(at["reason"], ev["reason"u8]);
            if (ev["message"u8].Utf8.Length > MaxNote)
                at["message"].Invalid("", $"can have at most {MaxNote} characters");
        }
        at["namespace"].Format(Format.Dns1123Subdomain, ns.AsString());
    }

    private static void Text(At at, ApiNode value)
    {
        if (value.Utf8.IsEmpty)
            at.Required();
        if (value.Utf8.Length > MaxText)
            at.Invalid("", $"can have at most {MaxText} characters");
    }

    private static void Series(At at, ApiNode series)
    {
        if (series.Kind != NodeKind.Object)
            return;
        if (series["count"u8].AsInt64() < 2)
            at["series.count"].Invalid("", "should be at least 2");
        if (series["lastObservedTime"u8].IsNullOrUndefined)
            at["series.lastObservedTime"].Required();
    }
}
