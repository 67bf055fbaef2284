using Google.Protobuf;
using Grpc.Core;
using K3sFast.Datastore.Etcd.Wire;
using K3sFast.Datastore.Shared;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Datastore.Etcd;

/// <summary>
/// A real etcd (3.4 or newer), in the layout of kube-apiserver: keys and values as they are, etcd's revision is ours. One watch on all
/// keys feeds every watch of this process (<see cref="ChangeFeed"/>); writes are compare-and-swap transactions; reads are linearizable.
/// </summary>
public sealed class EtcdDatastore : SharedDatastore, IStateReader
{
    // Keys per answer of a range: bounds what one answer holds in memory (10 MB of 3 KB objects is upstream's largest page, too).
    private const int PageKeys = 2000;

    private static readonly ByteString s_zero = ByteString.CopyFrom(0);

    private readonly ILogger _logger;
    private readonly EtcdClient _client;
    private readonly EtcdLeases _leases;
    private readonly EtcdCompactor _compactor;
    private readonly Task _following;

    private EtcdDatastore(EtcdOptions options, ILogger logger, EtcdClient client, long revision, long compactRevision)
        : base(new ChangeFeed(revision, compactRevision), logger)
    {
        _logger = logger;
        _client = client;
        _leases = new EtcdLeases(client, options.TimeProvider);
        _compactor = new EtcdCompactor(client);
        _following = Task.Run(FollowAsync);
        CompactEvery(options.CompactInterval, options.TimeProvider);
    }

    /// <summary>Finds a member that answers.</summary>
    /// <remarks>Throws <see cref="DatastoreOpenException"/> when none does, or TLS or the user are refused.</remarks>
    public static async Task<EtcdDatastore> OpenAsync(EtcdOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        var logger = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger("K3sFast.Datastore");
        var client = new EtcdClient(options, logger);
        try
        {
            long revision = await AskRevisionAsync(client, cancellationToken).ConfigureAwait(false);
            long compacted = await new EtcdCompactor(client).ReadRevisionAsync(cancellationToken).ConfigureAwait(false);
            Log.EtcdOpened(logger, client.Names, revision, compacted);
            return new EtcdDatastore(options, logger, client, revision, compacted);
        }
        catch (RpcException error)
        {
            client.Dispose();
            throw new DatastoreOpenException(DatastoreOpenFailure.Other, $"etcd {client.Names} does not answer: {Reason(error)}; look at --datastore-endpoint and the --datastore TLS flags", error);
        }
        catch (Exception)
        {
            client.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override async ValueTask<long> ReadSizeAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            return (await _client.CallAsync(static (member, options) => member.Maintenance.StatusAsync(new StatusRequest(), options), isQuestion: true, cancellationToken).ConfigureAwait(false)).DbSize;
        }
        catch (RpcException error)
        {
            throw Failed("asking", error);
        }
    }

    /// <inheritdoc/>
    public async Task ReadStateAsync(string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(openPart);
        ThrowIfCompacted(revision);
        await new EtcdStateScan(AskPageAsync).ReadAsync(prefix, revision, openPart, cancellationToken).ConfigureAwait(false);
    }

    private protected override async ValueTask CompactCoreAsync(long revision, CancellationToken cancellationToken)
    {
        try
        {
            await _compactor.CompactAsync(revision, cancellationToken).ConfigureAwait(false);
            Feed.NoteCompacted(revision);
        }
        catch (RpcException error) when (EtcdErrors.IsFuture(error))
        {
            throw new DatastoreFutureRevisionException(revision, CurrentRevision);
        }
        catch (RpcException error)
        {
            throw Failed("compacting", error);
        }
    }

    private protected override async Task<long> CompactTickAsync(CancellationToken cancellationToken)
    {
        long compacted = await _compactor.TickAsync(cancellationToken).ConfigureAwait(false);
        Feed.NoteCompacted(compacted);
        return compacted;
    }

    private protected override bool IsOfTheEngine(Exception error) => error is RpcException;

    private protected override async ValueTask EndFollowingAsync() => await _following.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    private protected override ValueTask CloseConnectionsAsync()
    {
        _client.Dispose();
        _leases.Dispose();
        return ValueTask.CompletedTask;
    }

    private protected override async Task CatchUpAsync(FeedWatch watch, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, Stopping);
        var stream = new EtcdWatchStream(_client, _logger);
        await stream.RunAsync(
            watch.Position, (changes, revision) => watch.TryShow(changes, revision) && !Feed.TryJoin(watch), Feed.NoteCompacted, either.Token).ConfigureAwait(false);
    }

    private protected override async ValueTask<AppendResult> AppendCoreAsync(AppendRequest request, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                long lease = request.LeaseSeconds > 0 && request.Kind != AppendKind.Delete
                    ? await _leases.ForAsync(request.LeaseSeconds, cancellationToken).ConfigureAwait(false)
                    : 0;
                try
                {
                    return await SendAsync(request, lease, cancellationToken).ConfigureAwait(false);
                }
                catch (RpcException error) when (lease != 0 && EtcdErrors.IsLeaseGone(error))
                {
                    await _leases.ForgetAsync(request.LeaseSeconds, cancellationToken).ConfigureAwait(false);
                }
            }
        }
        catch (RpcException error) when (EtcdErrors.IsFull(error))
        {
            return new AppendResult(AppendOutcome.Full, 0);
        }
        catch (RpcException error) when (EtcdErrors.IsTooLarge(error))
        {
            throw new DatastoreException($"etcd {_client.Names} takes no value of {request.Value.Length} bytes (its limit is --max-request-bytes): {error.Status.Detail}", error);
        }
        catch (RpcException error)
        {
            throw Failed("writing", error);
        }
    }

    private async Task<AppendResult> SendAsync(AppendRequest request, long lease, CancellationToken cancellationToken)
    {
        var key = ByteString.CopyFromUtf8(request.Key);
        var transaction = new TxnRequest
        {
            Compare = { new Compare { Result = Compare.Types.CompareResult.Equal, Target = Compare.Types.CompareTarget.Mod, Key = key, ModRevision = request.ExpectedRevision } },
            Success =
            {
                request.Kind == AppendKind.Delete
                    ? new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = key } }
                    : new RequestOp { RequestPut = new PutRequest { Key = key, Value = UnsafeByteOperations.UnsafeWrap(request.Value), Lease = lease } },
            },
            Failure = { new RequestOp { RequestRange = new Wire.RangeRequest { Key = key, KeysOnly = true } } },
        };
        var answer = await _client.CallAsync((member, options) => member.KV.TxnAsync(transaction, options), isQuestion: false, cancellationToken).ConfigureAwait(false);
        if (!answer.Succeeded)
        {
            return answer.Responses[0].ResponseRange.Kvs is [var present]
                ? new AppendResult(AppendOutcome.Conflict, present.ModRevision)
                : new AppendResult(AppendOutcome.NotFound, 0);
        }
        // Durable; the watches see it before the caller goes on.
        await Feed.WaitForAsync(answer.Header.Revision, cancellationToken).ConfigureAwait(false);
        return new AppendResult(AppendOutcome.Committed, answer.Header.Revision);
    }

    private protected override async ValueTask<RangeResult> RangeCoreAsync(RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken)
    {
        var prefix = ByteString.CopyFromUtf8(request.Prefix);
        var start = ByteString.CopyFromUtf8(request.StartKey ?? "");
        if (start.Span.SequenceCompareTo(prefix.Span) < 0) start = prefix;
        if (start.IsEmpty) start = s_zero;
        var question = new Wire.RangeRequest
        {
            Key = start,
            RangeEnd = prefix.IsEmpty ? s_zero : UnsafeByteOperations.UnsafeWrap(StoreKeys.PrefixEnd(prefix.Span)),
            Revision = request.Revision,
        };
        // One more than asked for, since the store's own key may be among them.
        question.Limit = request.Limit > 0 ? Math.Min(PageKeys, request.Limit + 1) : PageKeys;
        using var reading = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var asked = AskPageAsync(question, reading.Token);
        try
        {
            for (int count = 0; ;)
            {
                var page = await asked.ConfigureAwait(false);
                if (question.Revision == 0) question.Revision = page.Header.Revision;
                question = After(page, question);
                // While a page is shown the next one is on its way.
                if (page.More && request.Limit == 0) asked = AskPageAsync(question, reading.Token);
                foreach (var kv in page.Kvs)
                {
                    string key = kv.Key.ToStringUtf8();
                    if (StoreKeys.IsInternal(key)) continue;
                    if (request.Limit > 0 && count == request.Limit) return new RangeResult(question.Revision, count, HasMore: true);
                    visitor.OnEntry(new DatastoreEntry
                    {
                        Key = key,
                        Value = kv.Value.Span,
                        Revision = kv.ModRevision,
                        CreateRevision = kv.CreateRevision,
                        Kind = kv.CreateRevision == kv.ModRevision ? AppendKind.Create : AppendKind.Update,
                    });
                    count++;
                }
                if (!page.More) return new RangeResult(question.Revision, count, HasMore: false);
                if (request.Limit == 0) continue;
                question.Limit = Math.Min(PageKeys, request.Limit - count + 1);
                asked = AskPageAsync(question, reading.Token);
            }
        }
        finally
        {
            // The visitor may have failed while a page was on its way.
            await reading.CancelAsync().ConfigureAwait(false);
            await ((Task)asked).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // A question of its own: the one before may still be asked.
    private static Wire.RangeRequest After(RangeResponse page, Wire.RangeRequest question)
    {
        var next = question.Clone();
        if (page.Kvs.Count == 0) return next;
        byte[] key = [.. page.Kvs[^1].Key.Span, 0];
        next.Key = UnsafeByteOperations.UnsafeWrap(key);
        return next;
    }

    private async Task<RangeResponse> AskPageAsync(Wire.RangeRequest question, CancellationToken cancellationToken)
    {
        try
        {
            return await _client.CallAsync((member, options) => member.KV.RangeAsync(question, options), isQuestion: true, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException error) when (EtcdErrors.IsCompacted(error))
        {
            Feed.NoteCompacted(Math.Max(question.Revision + 1, await CompactedAsync(cancellationToken).ConfigureAwait(false)));
            throw new DatastoreCompactedException(question.Revision, CompactRevision);
        }
        catch (RpcException error) when (EtcdErrors.IsFuture(error))
        {
            throw new DatastoreFutureRevisionException(question.Revision, CurrentRevision);
        }
        catch (RpcException error)
        {
            throw Failed("reading", error);
        }
    }

    private async Task<long> CompactedAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await _compactor.ReadRevisionAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException)
        {
            return 0;
        }
    }

    /// <summary>Feeds the watches for as long as the store is open.</summary>
    private async Task FollowAsync()
    {
        var stopping = Stopping;
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                var stream = new EtcdWatchStream(_client, _logger);
                await stream.RunAsync(Feed.Position, Publish, Feed.NoteCompacted, stopping).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            catch (DatastoreCompactedException compacted)
            {
                await RestartAsync(compacted, stopping).ConfigureAwait(false);
            }
            // Whatever it was, the store must go on being followed.
            catch (Exception error)
            {
                Log.FollowFailed(_logger, error);
                await Task.Delay(TimeSpan.FromSeconds(1), stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private bool Publish(ReadOnlySpan<Change> changes, long revision)
    {
        Feed.Publish(changes, revision);
        return true;
    }

    /// <summary>Away for longer than history reaches: watches end as compacted, and the feed begins anew at the present.</summary>
    private async Task RestartAsync(DatastoreCompactedException compacted, CancellationToken stopping)
    {
        try
        {
            long revision = await AskRevisionAsync(stopping).ConfigureAwait(false);
            Log.HistoryLost(_logger, Feed.Position, revision);
            Feed.Restart(revision, compacted);
        }
        catch (Exception error) when (error is DatastoreException or OperationCanceledException)
        {
            await Task.Delay(TimeSpan.FromSeconds(1), stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private protected override async Task<long> AskRevisionAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await AskRevisionAsync(_client, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException error)
        {
            throw Failed("reading", error);
        }
    }

    private static async Task<long> AskRevisionAsync(EtcdClient client, CancellationToken cancellationToken)
    {
        // Any linearizable read tells the revision; upstream's health check asks for this key, too.
        var question = new Wire.RangeRequest { Key = ByteString.CopyFrom("/registry/health"u8), CountOnly = true };
        var answer = await client.CallAsync((member, options) => member.KV.RangeAsync(question, options), isQuestion: true, cancellationToken).ConfigureAwait(false);
        return answer.Header.Revision;
    }

    private DatastoreException Failed(string what, RpcException error) => new($"{what} etcd {_client.Names} failed: {Reason(error)}", error);

    private static string Reason(RpcException error) => $"{error.StatusCode}: {error.Status.Detail}";
}
