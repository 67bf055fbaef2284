using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using K3sFast.Datastore.Sql;

namespace K3sFast.Datastore.PostgreSql;

/// <summary>
/// One session of PostgreSQL's protocol 3.0: start-up, TLS, passwords (clear, MD5, SCRAM-SHA-256), batches of statements sent together,
/// notifications. Statements have no names, so that it works behind a pooler, too.
/// </summary>
internal sealed class PgConnection : ISqlConnection
{
    // The longest a server may be silent while it owes an answer: locks end after 5 s (see PgEngine), so this is a dead one.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(12);

    private readonly WireBuffer _wire;
    private readonly SqlRow _row = new(isBinary: true);
    private bool _hasNotice;

    private PgConnection(WireBuffer wire) => _wire = wire;

    /// <inheritdoc/>
    public bool IsUsable { get; private set; }

    /// <summary>Connects to one of the hosts and logs in to a database.</summary>
    public static async Task<PgConnection> OpenAsync(PgOptions options, (string Host, int Port) host, string database, CancellationToken cancellationToken)
    {
        string address = host.Host.StartsWith('/') && !host.Host.Contains(".s.PGSQL.", StringComparison.Ordinal) ? $"{host.Host}/.s.PGSQL.{host.Port}" : host.Host;
        var connection = new PgConnection(new WireBuffer(await SqlSockets.ConnectAsync(address, host.Port, cancellationToken).ConfigureAwait(false), s_patience));
        try
        {
            if (options.Trust != TlsTrust.None && !address.StartsWith('/')) await connection.SecureAsync(options, host.Host, cancellationToken).ConfigureAwait(false);
            PgMessages.Startup(
                connection._wire.Out,
                [
                    new("user", options.User), new("database", database), new("client_encoding", "UTF8"), new("application_name", "k3sfast"),
                    .. options.Settings,
                ]);
            await connection._wire.FlushAsync(cancellationToken).ConfigureAwait(false);
            await connection.LogInAsync(options, cancellationToken).ConfigureAwait(false);
            connection.IsUsable = true;
            return connection;
        }
        catch (Exception)
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask RunAsync(ReadOnlyMemory<SqlStatement> batch, OnRow? onRow, CancellationToken cancellationToken)
    {
        try
        {
            for (int i = 0; i < batch.Length; i++) PgMessages.Run(_wire.Out, batch.Span[i]);
            PgMessages.Sync(_wire.Out);
            await _wire.FlushAsync(cancellationToken).ConfigureAwait(false);
            await ReadAnswersAsync(onRow, cancellationToken).ConfigureAwait(false);
        }
        catch (SqlException error) when (error.Failure != SqlFailure.Lost)
        {
            // Everything up to the server's readiness was read: the session goes on.
            throw;
        }
        catch (Exception)
        {
            // Whatever is still to come belongs to this batch: nobody may take it for his answer.
            IsUsable = false;
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<bool> WaitForNoticeAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        if (!_hasNotice)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(patience);
            try
            {
                var (type, at, length) = await ReadMessageAsync(limit.Token, patience * 2).ConfigureAwait(false);
                if (type == 'E') throw ErrorOf(at, length);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                return false;
            }
        }
        bool hadNotice = _hasNotice;
        _hasNotice = false;
        return hadNotice;
    }

    public async ValueTask DisposeAsync()
    {
        if (IsUsable)
        {
            IsUsable = false;
            try
            {
                PgMessages.Terminate(_wire.Out);
                using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
                await _wire.FlushAsync(limit.Token).ConfigureAwait(false);
            }
            catch (Exception error) when (error is SqlException or IOException or OperationCanceledException or ObjectDisposedException)
            {
                // Gone already.
            }
        }
        await _wire.DisposeAsync().ConfigureAwait(false);
    }

    private async Task SecureAsync(PgOptions options, string host, CancellationToken cancellationToken)
    {
        PgMessages.SslRequest(_wire.Out);
        await _wire.FlushAsync(cancellationToken).ConfigureAwait(false);
        int at = await _wire.TakeAsync(1, cancellationToken).ConfigureAwait(false);
        bool isOffered = _wire.Received[at] == 'S';
        // Bytes that came with the answer in the clear would be taken for the server's secured ones (CVE-2021-23222).
        if (_wire.HasMore) throw new SqlException(SqlFailure.Refused, "", "the server sent more than its answer before TLS began");
        if (isOffered) _wire.Secure(await SqlSockets.SecureAsync(_wire.Stream, host, options.Tls, options.Trust, cancellationToken).ConfigureAwait(false));
        else if (options.Trust > TlsTrust.IfOffered) throw new SqlException(SqlFailure.Refused, "", $"{host} does not offer TLS, which sslmode asks for");
    }

    private async Task LogInAsync(PgOptions options, CancellationToken cancellationToken)
    {
        ScramSha256? scram = null;
        while (true)
        {
            var (type, at, length) = await ReadMessageAsync(cancellationToken).ConfigureAwait(false);
            switch (type)
            {
                case 'E':
                    throw ErrorOf(at, length);
                case 'Z':
                    return;
                case 'R':
                    scram = Authenticate(options, _wire.Received.AsSpan(at, length), scram);
                    if (_wire.Out.WrittenCount > 0) await _wire.FlushAsync(cancellationToken).ConfigureAwait(false);
                    break;
                default:
                    // ParameterStatus, BackendKeyData, NoticeResponse.
                    break;
            }
        }
    }

    private ScramSha256? Authenticate(PgOptions options, ReadOnlySpan<byte> body, ScramSha256? scram)
    {
        switch (BinaryPrimitives.ReadInt32BigEndian(body))
        {
            case 0:
                break;
            case 3:
                PgMessages.Password(_wire.Out, [.. Encoding.UTF8.GetBytes(options.Password), 0]);
                break;
            case 5:
                PgMessages.Password(_wire.Out, Md5(options, body[4..8]));
                break;
            case 10:
                if (body[4..].IndexOf("SCRAM-SHA-256\0"u8) < 0) throw new SqlException(SqlFailure.Refused, "", "the server offers no way to log in that is known here (SCRAM-SHA-256, MD5, password)");
                scram = new ScramSha256(options.Password);
                byte[] first = Encoding.UTF8.GetBytes(scram.First);
                byte[] size = new byte[4];
                BinaryPrimitives.WriteInt32BigEndian(size, first.Length);
                PgMessages.Password(_wire.Out, [.. "SCRAM-SHA-256\0"u8, .. size, .. first]);
                break;
            case 11 when scram is not null:
                PgMessages.Password(_wire.Out, Encoding.UTF8.GetBytes(scram.Final(Encoding.UTF8.GetString(body[4..]))));
                break;
            case 12 when scram is not null:
                if (!scram.IsServer(Encoding.UTF8.GetString(body[4..]))) throw new SqlException(SqlFailure.Refused, "", "the server does not know the password itself: this is not the right server");
                break;
            case var kind:
                throw new SqlException(SqlFailure.Refused, "", $"the server asks for authentication of kind {kind}, which is not known here (SCRAM-SHA-256, MD5, password)");
        }
        return scram;
    }

    // "md5" + md5(md5(password + user) + salt), in hexadecimal.
    private static byte[] Md5(PgOptions options, ReadOnlySpan<byte> salt)
    {
#pragma warning disable CA5351 // The server's choice, for old password files.
        byte[] inner = Encoding.ASCII.GetBytes(Convert.ToHexStringLower(MD5.HashData(Encoding.UTF8.GetBytes(options.Password + options.User))));
        return Encoding.ASCII.GetBytes($"md5{Convert.ToHexStringLower(MD5.HashData([.. inner, .. salt]))}\0");
#pragma warning restore CA5351
    }

    private async ValueTask ReadAnswersAsync(OnRow? onRow, CancellationToken cancellationToken)
    {
        int statement = 0;
        SqlException? failed = null;
        while (true)
        {
            var (type, at, length) = await ReadMessageAsync(cancellationToken).ConfigureAwait(false);
            switch (type)
            {
                case 'D':
                    if (onRow is null || failed is not null) break;
                    ReadRow(at);
                    onRow(statement, _row);
                    break;
                case 'C' or 'I':
                    statement++;
                    break;
                case 'E':
                    failed ??= ErrorOf(at, length);
                    // A server that goes away says so and closes; readiness does not follow.
                    if (failed.Failure == SqlFailure.Lost) throw failed;
                    break;
                case 'Z':
                    if (failed is not null) throw failed;
                    return;
                default:
                    break;
            }
        }
    }

    // Int16 fields, then for each: Int32 length (-1 = null), bytes.
    private void ReadRow(int at)
    {
        byte[] buffer = _wire.Received;
        _row.Reset(buffer);
        int fields = BinaryPrimitives.ReadInt16BigEndian(buffer.AsSpan(at));
        at += 2;
        for (int i = 0; i < fields; i++)
        {
            int length = BinaryPrimitives.ReadInt32BigEndian(buffer.AsSpan(at));
            at += 4;
            _row.Add(at, length);
            at += Math.Max(0, length);
        }
    }

    private async ValueTask<(char Type, int At, int Length)> ReadMessageAsync(CancellationToken cancellationToken, TimeSpan? patience = null)
    {
        int head = await _wire.TakeAsync(5, cancellationToken, patience).ConfigureAwait(false);
        char type = (char)_wire.Received[head];
        int length = BinaryPrimitives.ReadInt32BigEndian(_wire.Received.AsSpan(head + 1)) - 4;
        if (length is < 0 or > 1 << 30) throw new SqlException(SqlFailure.Lost, "", "this is no PostgreSQL server");
        int at = await _wire.TakeAsync(length, cancellationToken).ConfigureAwait(false);
        if (type == 'A') _hasNotice = true;
        return (type, at, length);
    }

    // Fields: a byte that names the field, then its text, zero-ended. C = SQLSTATE, M = message.
    private SqlException ErrorOf(int at, int length)
    {
        string code = "";
        string message = "";
        foreach (string field in Encoding.UTF8.GetString(_wire.Received, at, length).Split('\0', StringSplitOptions.RemoveEmptyEntries))
        {
            if (field[0] == 'C') code = field[1..];
            else if (field[0] == 'M') message = field[1..];
        }
        return new SqlException(FailureOf(code), code, string.Create(CultureInfo.InvariantCulture, $"{message} (SQLSTATE {code})"));
    }

    // PostgreSQL documentation, appendix A.
    private static SqlFailure FailureOf(string code) => code switch
    {
        "23505" => SqlFailure.Duplicate,
        "40001" or "40P01" or "55P03" or "57014" => SqlFailure.TryAgain,
        "53100" => SqlFailure.Full,
        // Too many connections; shutting down, starting; a standby after a failover; idle for too long.
        "53300" or "57P01" or "57P02" or "57P03" or "57P05" or "25006" or "25P03" => SqlFailure.Lost,
        _ when code.StartsWith("08", StringComparison.Ordinal) => SqlFailure.Lost,
        _ => SqlFailure.Refused,
    };
}
