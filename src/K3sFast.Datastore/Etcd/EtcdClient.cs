using Grpc.Core;
using K3sFast.Datastore.Etcd.Wire;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Etcd;

/// <summary>
/// Talks to whichever member answers. A question goes to the next member when one does not answer; a write only when it was certainly
/// not carried out. Any thread.
/// </summary>
internal sealed class EtcdClient : IDisposable
{
    // Longer than an election (etcd's default: 1 s, k3s's: 5 s), so that a write that waits for a new leader is not given up in doubt.
    private static readonly TimeSpan s_attempt = TimeSpan.FromSeconds(7);
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan s_lastPause = TimeSpan.FromMilliseconds(500);

    private readonly EtcdMember[] _members;
    private readonly TimeSpan _patience;
    private readonly ILogger _logger;
    private readonly string? _user;
    private readonly string _password = "";
    private volatile string? _token;
    private int _current;

    public EtcdClient(EtcdOptions options, ILogger logger)
    {
        if (options.Endpoints.Count == 0) throw new DatastoreOpenException(DatastoreOpenFailure.Other, "no etcd endpoint is given");
        _members = [.. options.Endpoints.Select(endpoint => new EtcdMember(endpoint, options.Tls))];
        _patience = options.Patience;
        _logger = logger;
        if (options.Endpoints.Select(static endpoint => endpoint.UserInfo).FirstOrDefault(static info => info.Length > 0) is { } info)
        {
            int colon = info.IndexOf(':', StringComparison.Ordinal);
            _user = Uri.UnescapeDataString(colon < 0 ? info : info[..colon]);
            _password = colon < 0 ? "" : Uri.UnescapeDataString(info[(colon + 1)..]);
        }
    }

    /// <summary>All endpoints, for messages.</summary>
    public string Names => string.Join(",", _members.Select(static member => member.Name));

    /// <summary>The member that answered last.</summary>
    public EtcdMember Current => _members[(int)((uint)Volatile.Read(ref _current) % (uint)_members.Length)];

    /// <summary>Calls until a member answers.</summary>
    /// <param name="call">The call.</param>
    /// <param name="isQuestion">Changes nothing, so that it may be asked again whatever happened to it.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="RpcException">etcd refused, or no member answered in time.</exception>
    public async Task<TAnswer> CallAsync<TAnswer>(Func<EtcdMember, CallOptions, AsyncUnaryCall<TAnswer>> call, bool isQuestion, CancellationToken cancellationToken)
    {
        long startedAt = Environment.TickCount64;
        var pause = s_firstPause;
        bool hasNewToken = false;
        for (int attempt = 1; ; attempt++)
        {
            int at = Volatile.Read(ref _current);
            var member = Current;
            try
            {
                var headers = await HeadersAsync(cancellationToken).ConfigureAwait(false);
                using var running = call(member, new CallOptions(headers, DateTime.UtcNow + s_attempt, cancellationToken));
                return await running.ResponseAsync.ConfigureAwait(false);
            }
            catch (RpcException error) when (error.StatusCode == StatusCode.Cancelled && cancellationToken.IsCancellationRequested)
            {
                throw new OperationCanceledException(error.Status.Detail, error, cancellationToken);
            }
            catch (RpcException error) when (EtcdErrors.IsTokenInvalid(error) && !hasNewToken)
            {
                _token = null;
                hasNewToken = true;
            }
            catch (RpcException error) when (
                (isQuestion ? EtcdErrors.IsWorthAnotherTry(error) : EtcdErrors.IsUnsent(error)) && Environment.TickCount64 - startedAt < _patience.TotalMilliseconds)
            {
                MoveOn(at, member, error);
                // A whole round without an answer: breathe.
                if (attempt % _members.Length != 0) continue;
                await Task.Delay(pause, cancellationToken).ConfigureAwait(false);
                pause = TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, s_lastPause.Ticks));
            }
            catch (RpcException error) when (EtcdErrors.IsWorthAnotherTry(error))
            {
                // The outcome is unknown, but the next caller should not meet the same member.
                MoveOn(at, member, error);
                throw;
            }
        }
    }

    /// <summary>The next member is asked from now on, unless somebody has moved on already.</summary>
    public void MoveOn(EtcdMember from, Exception why)
    {
        int at = Volatile.Read(ref _current);
        if (ReferenceEquals(Current, from)) MoveOn(at, from, why);
    }

    /// <summary>The metadata that goes with every call; null = none.</summary>
    public ValueTask<Metadata?> HeadersAsync(CancellationToken cancellationToken)
    {
        if (_user is null) return default;
        return _token is { } token ? new ValueTask<Metadata?>(new Metadata { { "token", token } }) : AuthenticateAsync(cancellationToken);
    }

    public void Dispose()
    {
        foreach (var member in _members) member.Dispose();
    }

    private async ValueTask<Metadata?> AuthenticateAsync(CancellationToken cancellationToken)
    {
        var request = new AuthenticateRequest { Name = _user, Password = _password };
        using var running = Current.Auth.AuthenticateAsync(request, new CallOptions(null, DateTime.UtcNow + s_attempt, cancellationToken));
        string token = (await running.ResponseAsync.ConfigureAwait(false)).Token;
        _token = token;
        return new Metadata { { "token", token } };
    }

    private void MoveOn(int at, EtcdMember member, Exception why)
    {
        if (Interlocked.CompareExchange(ref _current, at + 1, at) == at && _members.Length > 1) Log.EtcdMovedOn(_logger, member.Name, Current.Name, why.Message);
    }
}
