namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Writes a log's bytes over themselves and flushes them: after a failed flush the kernel counts pages as clean that never reached the
/// medium, and only a new write makes it try again. The bytes do not change, so who reads meanwhile sees nothing of it.
/// </summary>
internal static class LogRewriter
{
    private const int ChunkBytes = 256 * 1024;

    /// <summary>Throws <see cref="SqliteException"/> like a failed commit when the medium still fails.</summary>
    public static void Rewrite(string path)
    {
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            byte[] chunk = new byte[ChunkBytes];
            long offset = 0;
            while (RandomAccess.Read(file, chunk, offset) is var read and > 0)
            {
                RandomAccess.Write(file, chunk.AsSpan(0, read), offset);
                offset += read;
            }
            FileFlush.Flush(file);
        }
        catch (IOException error)
        {
            throw new SqliteException(SQLitePCL.raw.SQLITE_IOERR, error.Message, $"write {path} again");
        }
    }
}
