namespace K3sFast.Datastore.Sql;

/// <summary>A statement with its parameters, written <c>$1</c>, <c>$2</c> … in both engines. Parameters: long, string, byte blocks, null.</summary>
internal readonly record struct SqlStatement(string Text, params SqlValue[] Values);

/// <summary>Sees a row, lent for the call. <paramref name="statement"/> = which statement of the batch it belongs to.</summary>
internal delegate void OnRow(int statement, SqlRow row);

/// <summary>One session with a database. One caller at a time; an exception of kind <see cref="SqlFailure.Lost"/> leaves it unusable.</summary>
internal interface ISqlConnection : IAsyncDisposable
{
    /// <summary>False = dispose of it and open another.</summary>
    bool IsUsable { get; }

    /// <summary>Sends statements together and reads all answers: one trip. Stops at the first that fails.</summary>
    /// <exception cref="SqlException">A statement failed, or the connection broke.</exception>
    ValueTask RunAsync(ReadOnlyMemory<SqlStatement> batch, OnRow? onRow, CancellationToken cancellationToken);

    /// <summary>Waits until the database tells of a change (true) or time is up. Engines that cannot tell only wait.</summary>
    ValueTask<bool> WaitForNoticeAsync(TimeSpan patience, CancellationToken cancellationToken);
}

/// <summary>A parameter.</summary>
internal readonly struct SqlValue
{
    private SqlValue(long number, object? content, ReadOnlyMemory<byte> bytes, Kind type) => (Number, Content, Bytes, Type) = (number, content, bytes, type);

    public enum Kind : byte
    {
        Null,
        Number,
        Text,
        Bytes,
    }

    public Kind Type { get; }
    public long Number { get; }
    public string Text => (string)Content!;
    public ReadOnlyMemory<byte> Bytes { get; }
    private object? Content { get; }

    public static SqlValue Null => default;

    public static implicit operator SqlValue(long number) => new(number, null, default, Kind.Number);
    public static implicit operator SqlValue(string text) => new(0, text, default, Kind.Text);
    public static implicit operator SqlValue(ReadOnlyMemory<byte> bytes) => new(0, null, bytes, Kind.Bytes);
}
