using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using K3sFast.Datastore.Sql;

namespace K3sFast.Datastore.MySql;

/// <summary>
/// One session of MySQL's classic protocol, text results, several statements in one packet. A packet: length (3 bytes, little-endian),
/// sequence number, body; a body of 2^24-1 bytes goes on in the next packet.
/// </summary>
internal sealed class MySqlConnection : ISqlConnection
{
    private const int MaxPacket = 0xffffff;

    // Capabilities (MySQL source, include/mysql_com.h).
    private const uint LongPassword = 1;
    private const uint LongFlag = 4;
    private const uint Protocol41 = 1u << 9;
    private const uint Ssl = 1u << 11;
    private const uint Transactions = 1u << 13;
    private const uint SecureConnection = 1u << 15;
    private const uint MultiStatements = 1u << 16;
    private const uint MultiResults = 1u << 17;
    private const uint PluginAuth = 1u << 19;
    private const uint PluginAuthLengthEncoded = 1u << 21;
    private const uint Wanted = LongPassword | LongFlag | Protocol41 | Transactions | SecureConnection | MultiStatements | MultiResults | PluginAuth | PluginAuthLengthEncoded;

    // Server status: another result follows.
    private const int MoreResults = 8;

    // utf8mb4_general_ci
    private const byte Utf8 = 45;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(12);

    private readonly WireBuffer _wire;
    private readonly SqlRow _row = new(isBinary: false);
    private readonly ArrayBufferWriter<byte> _body = new();
    private byte[] _packet = [];
    private int _at;
    private int _length;
    private byte _sequence;

    private MySqlConnection(WireBuffer wire) => _wire = wire;

    /// <inheritdoc/>
    public bool IsUsable { get; private set; }

    /// <summary>What the server calls itself.</summary>
    public string ServerVersion { get; private set; } = "";

    /// <summary>Connects and logs in; no database is chosen yet.</summary>
    public static async Task<MySqlConnection> OpenAsync(MySqlOptions options, CancellationToken cancellationToken)
    {
        var connection = new MySqlConnection(new WireBuffer(await SqlSockets.ConnectAsync(options.Host, options.Port, cancellationToken).ConfigureAwait(false), s_patience));
        try
        {
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
            _body.ResetWrittenCount();
            // COM_QUERY
            _body.Write<byte>([3]);
            MySqlText.Write(_body, batch.Span);
            _sequence = 0;
            await SendAsync(_body.WrittenMemory, cancellationToken).ConfigureAwait(false);
            await ReadAnswersAsync(onRow, cancellationToken).ConfigureAwait(false);
            if (_body.Capacity > 1 << 20) _body.Clear();
        }
        catch (SqlException error) when (error.Failure != SqlFailure.Lost)
        {
            // An error ends the whole batch: the session goes on.
            throw;
        }
        catch (Exception)
        {
            IsUsable = false;
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<bool> WaitForNoticeAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        await Task.Delay(patience, cancellationToken).ConfigureAwait(false);
        return false;
    }

    public ValueTask DisposeAsync()
    {
        IsUsable = false;
        return _wire.DisposeAsync();
    }

    private async Task LogInAsync(MySqlOptions options, CancellationToken cancellationToken)
    {
        await ReadPacketAsync(cancellationToken).ConfigureAwait(false);
        if (_packet[_at] == 0xff) throw ErrorOf();
        var (capabilities, seed, plugin) = ReadGreeting();
        bool isPrivate = options.Host.StartsWith('/');
        uint wanted = Wanted & capabilities | Protocol41 | SecureConnection;
        if (options.Trust != TlsTrust.None && !isPrivate)
        {
            if ((capabilities & Ssl) != 0)
            {
                wanted |= Ssl;
                await SendAsync(Hello(wanted), cancellationToken).ConfigureAwait(false);
                _wire.Secure(await SqlSockets.SecureAsync(_wire.Stream, options.Host, options.Tls, options.Trust, cancellationToken).ConfigureAwait(false));
                isPrivate = true;
            }
            else if (options.Trust > TlsTrust.IfOffered)
            {
                throw new SqlException(SqlFailure.Refused, "", $"{options.Host} does not offer TLS, which the endpoint asks for");
            }
        }
        byte[] answer = MySqlAuthentication.Answer(plugin, options.Password, seed, isPrivate) ?? [];
        byte[] user = Encoding.UTF8.GetBytes(options.User);
        await SendAsync((byte[])[.. Hello(wanted), .. user, 0, (byte)answer.Length, .. answer, .. Encoding.UTF8.GetBytes(plugin), 0], cancellationToken).ConfigureAwait(false);
        await ProveAsync(options.Password, plugin, seed, isPrivate, cancellationToken).ConfigureAwait(false);
    }

    // 4 capabilities, 4 longest packet, 1 character set, 23 zeros.
    private static byte[] Hello(uint capabilities)
    {
        byte[] hello = new byte[32];
        BinaryPrimitives.WriteUInt32LittleEndian(hello, capabilities);
        BinaryPrimitives.WriteInt32LittleEndian(hello.AsSpan(4), 1 << 30);
        hello[8] = Utf8;
        return hello;
    }

    // 1 protocol, version\0, 4 thread, 8 seed, 1 zero, 2 capabilities, 1 character set, 2 status, 2 capabilities, 1 seed length, 10 zeros, seed's rest, plug-in\0
    private (uint Capabilities, byte[] Seed, string Plugin) ReadGreeting()
    {
        var body = _packet.AsSpan(_at, _length);
        if (body.Length < 46 || body[0] != 10) throw new SqlException(SqlFailure.Refused, "", "this is no MySQL server");
        int at = 1 + body[1..].IndexOf((byte)0) + 1;
        ServerVersion = Encoding.UTF8.GetString(body[1..(at - 1)]);
        var first = body.Slice(at + 4, 8);
        uint capabilities = BinaryPrimitives.ReadUInt16LittleEndian(body[(at + 13)..]) | ((uint)BinaryPrimitives.ReadUInt16LittleEndian(body[(at + 18)..]) << 16);
        int rest = Math.Max(13, body[at + 20] - 8);
        var second = body.Slice(at + 31, Math.Min(rest, body.Length - at - 31));
        byte[] seed = [.. first, .. second.TrimEnd((byte)0)];
        var plugin = body[Math.Min(body.Length, at + 31 + rest)..].TrimEnd((byte)0);
        return (capabilities, seed.Length > 20 ? seed[..20] : seed, plugin.IsEmpty ? "mysql_native_password" : Encoding.UTF8.GetString(plugin));
    }

    private async Task ProveAsync(string password, string plugin, byte[] seed, bool isPrivate, CancellationToken cancellationToken)
    {
        while (true)
        {
            await ReadPacketAsync(cancellationToken).ConfigureAwait(false);
            switch (_packet[_at])
            {
                case 0:
                    return;
                case 0xff:
                    throw ErrorOf();
                case 0xfe:
                    (plugin, seed) = ReadSwitch();
                    byte[] answer = MySqlAuthentication.Answer(plugin, password, seed, isPrivate)
                        ?? throw new SqlException(SqlFailure.Refused, "", $"the server asks for {plugin}, which is not known here{(plugin == "mysql_clear_password" ? " without TLS" : "")} (mysql_native_password, caching_sha2_password)");
                    await SendAsync(answer, cancellationToken).ConfigureAwait(false);
                    break;
                // caching_sha2_password: 3 = the server remembers, 4 = it needs the password itself.
                case 1 when _length == 2 && _packet[_at + 1] == 4:
                    await SendAsync(isPrivate ? MySqlAuthentication.Clear(password) : (byte[])[2], cancellationToken).ConfigureAwait(false);
                    break;
                case 1 when _length > 2:
                    string key = Encoding.ASCII.GetString(_packet, _at + 1, _length - 1);
                    await SendAsync(MySqlAuthentication.Encrypt(password, seed, key), cancellationToken).ConfigureAwait(false);
                    break;
                default:
                    break;
            }
        }
    }

    // 0xfe, plug-in\0, seed\0
    private (string Plugin, byte[] Seed) ReadSwitch()
    {
        var body = _packet.AsSpan(_at + 1, _length - 1);
        int zero = body.IndexOf((byte)0);
        if (zero < 0) throw new SqlException(SqlFailure.Refused, "", "the server asks for a way to log in of before 2004");
        return (Encoding.UTF8.GetString(body[..zero]), body[(zero + 1)..].TrimEnd((byte)0).ToArray());
    }

    private async ValueTask ReadAnswersAsync(OnRow? onRow, CancellationToken cancellationToken)
    {
        for (int statement = 0; ; statement++)
        {
            await ReadPacketAsync(cancellationToken).ConfigureAwait(false);
            int status;
            switch (_packet[_at])
            {
                case 0xff:
                    throw ErrorOf();
                case 0:
                    int at = _at + 1;
                    ReadLength(ref at);
                    ReadLength(ref at);
                    status = BinaryPrimitives.ReadUInt16LittleEndian(_packet.AsSpan(at));
                    break;
                default:
                    status = await ReadRowsAsync(statement, onRow, cancellationToken).ConfigureAwait(false);
                    break;
            }
            if ((status & MoreResults) == 0) return;
        }
    }

    /// <summary>Columns, EOF, rows, EOF. Returns the status that the last packet tells.</summary>
    private async ValueTask<int> ReadRowsAsync(int statement, OnRow? onRow, CancellationToken cancellationToken)
    {
        int at = _at;
        long columns = ReadLength(ref at);
        for (long i = 0; i <= columns; i++) await ReadPacketAsync(cancellationToken).ConfigureAwait(false);
        while (true)
        {
            await ReadPacketAsync(cancellationToken).ConfigureAwait(false);
            if (_packet[_at] == 0xff) throw ErrorOf();
            if (_packet[_at] == 0xfe && _length < 9) return BinaryPrimitives.ReadUInt16LittleEndian(_packet.AsSpan(_at + 3));
            if (onRow is null) continue;
            _row.Reset(_packet);
            at = _at;
            for (long i = 0; i < columns; i++)
            {
                if (_packet[at] == 0xfb)
                {
                    _row.Add(++at, -1);
                    continue;
                }
                int length = (int)ReadLength(ref at);
                _row.Add(at, length);
                at += length;
            }
            onRow(statement, _row);
        }
    }

    /// <summary>A length-encoded number: one byte, or 0xfc, 0xfd, 0xfe and 2, 3, 8 bytes.</summary>
    private long ReadLength(ref int at)
    {
        byte first = _packet[at++];
        int bytes = first switch { 0xfc => 2, 0xfd => 3, 0xfe => 8, _ => 0 };
        long number = bytes == 0 ? first : 0;
        for (int i = 0; i < bytes; i++) number |= (long)_packet[at++] << (8 * i);
        return number;
    }

    private async ValueTask ReadPacketAsync(CancellationToken cancellationToken)
    {
        int head = await _wire.TakeAsync(4, cancellationToken).ConfigureAwait(false);
        _length = LengthAt(head);
        _at = await _wire.TakeAsync(_length, cancellationToken).ConfigureAwait(false);
        _packet = _wire.Received;
        if (_length == 0) throw new SqlException(SqlFailure.Lost, "", "this is no MySQL server");
        if (_length < MaxPacket) return;
        // A body in several packets is put together aside.
        var whole = new ArrayBufferWriter<byte>(2 * MaxPacket);
        whole.Write(_packet.AsSpan(_at, _length));
        for (int part = MaxPacket; part == MaxPacket;)
        {
            head = await _wire.TakeAsync(4, cancellationToken).ConfigureAwait(false);
            part = LengthAt(head);
            int at = await _wire.TakeAsync(part, cancellationToken).ConfigureAwait(false);
            whole.Write(_wire.Received.AsSpan(at, part));
        }
        (_packet, _at, _length) = (whole.WrittenSpan.ToArray(), 0, whole.WrittenCount);
    }

    private int LengthAt(int head)
    {
        byte[] buffer = _wire.Received;
        _sequence = (byte)(buffer[head + 3] + 1);
        return buffer[head] | (buffer[head + 1] << 8) | (buffer[head + 2] << 16);
    }

    private async ValueTask SendAsync(ReadOnlyMemory<byte> body, CancellationToken cancellationToken)
    {
        while (true)
        {
            int part = Math.Min(body.Length, MaxPacket);
            _wire.Out.Write<byte>([(byte)part, (byte)(part >> 8), (byte)(part >> 16), _sequence++]);
            _wire.Out.Write(body.Span[..part]);
            body = body[part..];
            if (part < MaxPacket) break;
        }
        await _wire.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    // 0xff, 2 number, '#' and 5 of SQLSTATE (absent before login), message.
    private SqlException ErrorOf()
    {
        var body = _packet.AsSpan(_at, _length);
        int number = BinaryPrimitives.ReadUInt16LittleEndian(body[1..]);
        var message = body[3..];
        if (!message.IsEmpty && message[0] == '#' && message.Length >= 6) message = message[6..];
        string code = number.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return new SqlException(FailureOf(number), code, $"{Encoding.UTF8.GetString(message)} (error {code})");
    }

    // MySQL reference, "Server Error Message Reference"; MariaDB shares these numbers.
    private static SqlFailure FailureOf(int number) => number switch
    {
        1062 or 1022 or 1586 => SqlFailure.Duplicate,
        1205 or 1213 or 1412 => SqlFailure.TryAgain,
        1021 or 1114 or 1041 => SqlFailure.Full,
        // Too many connections, shutting down, killed, read-only after a failover, idle for too long.
        1040 or 1053 or 1077 or 1152 or 1203 or 1226 or 1290 or 1836 or 1927 or 1158 or 1159 or 1160 or 1161 or 1317 or 3169 or 4031 => SqlFailure.Lost,
        _ => SqlFailure.Refused,
    };
}
