namespace K3sFast.Datastore.Sql;

/// <summary>What an error of a database means for the log.</summary>
internal enum SqlFailure : byte
{
    /// <summary>The statement is refused; sending it again would be refused again.</summary>
    Refused,

    /// <summary>The connection is gone or cannot be made; what was under way may have been carried out.</summary>
    Lost,

    /// <summary>A row with that key exists: a writer that is not one of ours came between.</summary>
    Duplicate,

    /// <summary>Chosen as the victim of a deadlock or a lock's time limit: nothing happened, try again.</summary>
    TryAgain,

    /// <summary>The database's disk is full.</summary>
    Full,
}

/// <summary>A database answered with an error, or not at all. The message is the database's own.</summary>
internal sealed class SqlException(SqlFailure failure, string code, string message, Exception? inner = null) : Exception(message, inner)
{
    public SqlFailure Failure { get; } = failure;

    /// <summary>PostgreSQL's SQLSTATE or MySQL's error number; empty when the database did not say.</summary>
    public string Code { get; } = code;
}
