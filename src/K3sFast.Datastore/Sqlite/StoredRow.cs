using System.Text;
using static K3sFast.Datastore.Sqlite.KineSchema;

namespace K3sFast.Datastore.Sqlite;

/// <summary>One row as it was read, its checksum verified. Spans are valid until the statement's next step or reset.</summary>
internal readonly ref struct StoredRow
{
    private StoredRow(long id, ReadOnlySpan<byte> name, bool isCreated, bool isDeleted, long createRevision, long lease, ReadOnlySpan<byte> value)
    {
        Id = id;
        Name = name;
        IsCreated = isCreated;
        IsDeleted = isDeleted;
        CreateRevision = createRevision;
        Lease = lease;
        Value = value;
    }

    public long Id { get; }

    public ReadOnlySpan<byte> Name { get; }

    public bool IsCreated { get; }

    public bool IsDeleted { get; }

    /// <summary>The revision at which the key's present life began; a row that begins one has 0 in the table.</summary>
    public long CreateRevision { get; }

    public long Lease { get; }

    public ReadOnlySpan<byte> Value { get; }

    /// <summary>Reads the row that a statement with <see cref="RowColumns"/> stands on.</summary>
    /// <remarks>Throws <see cref="DatastoreCorruptException"/> when the row is not as it was written. Rows of kine's have no checksum.</remarks>
    public static StoredRow Read(SqliteConnection.Statement statement, string path)
    {
        long id = statement.Int64((int)RowColumns.Id);
        var name = statement.Blob((int)RowColumns.Name);
        bool isCreated = statement.Int64((int)RowColumns.Created) != 0;
        bool isDeleted = statement.Int64((int)RowColumns.Deleted) != 0;
        long createRevision = statement.Int64((int)RowColumns.CreateRevision);
        long prevRevision = statement.Int64((int)RowColumns.PrevRevision);
        long lease = statement.Int64((int)RowColumns.Lease);
        var value = statement.Blob((int)RowColumns.Value);
        if (!statement.IsNull((int)RowColumns.Checksum)
            && statement.Int64((int)RowColumns.Checksum) != RowChecksum.Of(id, name, isCreated, isDeleted, createRevision, prevRevision, lease, value))
        {
            throw Damaged(path, id, name, "its checksum is wrong (a row that somebody changed on purpose is taken with k3sfast_crc32c set to NULL)");
        }
        return new StoredRow(id, name, isCreated, isDeleted, createRevision == 0 ? id : createRevision, lease, value);
    }

    /// <summary>The exception for a row that is not as it was written.</summary>
    public static DatastoreCorruptException Damaged(string path, long id, ReadOnlySpan<byte> name, string finding) =>
        new($"datastore {path} is damaged: revision {id} of key {Encoding.UTF8.GetString(name)}: {finding}; stop the server and restore {System.IO.Path.GetDirectoryName(path)} from a backup");
}
