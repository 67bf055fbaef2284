namespace K3sFast.Datastore.Shared;

/// <summary>One committed change as an engine tells it. Its value is never changed afterwards.</summary>
internal readonly record struct Change(string Key, ReadOnlyMemory<byte> Value, long Revision, long CreateRevision, long LeaseSeconds, AppendKind Kind)
{
    public DatastoreEntry AsEntry() => new()
    {
        Key = Key,
        Value = Kind == AppendKind.Delete ? default : Value.Span,
        Revision = Revision,
        CreateRevision = CreateRevision,
        LeaseSeconds = LeaseSeconds,
        Kind = Kind,
    };
}
