using System.Globalization;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using K3sFast.Datastore.Etcd.Wire;
using K3sFast.Datastore.Shared;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Etcd;

/// <summary>A batch of whole revisions; returns false to end the stream.</summary>
internal delegate bool OnChanges(ReadOnlySpan<Change> changes, long revision);

/// <summary>
/// Follows all keys from a revision on, over whichever member answers: when a stream breaks, the next one begins behind the last whole
/// revision, so that nothing is missed and nothing comes twice.
/// </summary>
internal sealed class EtcdWatchStream(EtcdClient client, ILogger logger)
{
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_lastPause = TimeSpan.FromSeconds(1);

    // All keys: etcd's way of writing a range without bounds.
    private static readonly ByteString s_zero = ByteString.CopyFrom(0);

    private readonly List<Change> _changes = [];
    private long _position;
    private long _batchRevision;
    private bool _isBroken;

    /// <summary>Shows everything after a revision until told to stop.</summary>
    /// <param name="afterRevision">Where to begin.</param>
    /// <param name="onChanges">Called with whole revisions, in order.</param>
    /// <param name="onCompacted">Told that etcd has compacted, and up to where.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="DatastoreCompactedException">What comes next was compacted away.</exception>
    /// <exception cref="DatastoreException">etcd went back in time.</exception>
    public async Task RunAsync(long afterRevision, OnChanges onChanges, Action<long> onCompacted, CancellationToken cancellationToken)
    {
        _position = afterRevision;
        var pause = s_firstPause;
        while (true)
        {
            long before = _position;
            var member = client.Current;
            try
            {
                if (await FollowAsync(member, onChanges, onCompacted, cancellationToken).ConfigureAwait(false)) return;
            }
            catch (Exception error) when (cancellationToken.IsCancellationRequested && error is not DatastoreException)
            {
                throw new OperationCanceledException("the watch was ended", error, cancellationToken);
            }
            catch (Exception error) when (error is RpcException or IOException or HttpRequestException or OperationCanceledException or InvalidOperationException)
            {
                // Told once: it is tried again every second until a member answers.
                if (!_isBroken) Log.EtcdWatchBroken(logger, member.Name, _position, error is RpcException status ? $"{status.StatusCode}: {status.Status.Detail}" : error.Message);
                _isBroken = true;
                client.MoveOn(member, error);
            }
            if (_position > before) pause = s_firstPause;
            await Task.Delay(pause, cancellationToken).ConfigureAwait(false);
            pause = TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, s_lastPause.Ticks));
        }
    }

    /// <summary>One stream's life. True = told to stop.</summary>
    private async Task<bool> FollowAsync(EtcdMember member, OnChanges onChanges, Action<long> onCompacted, CancellationToken cancellationToken)
    {
        // A member that has lost its leader ends the stream instead of going quiet.
        var headers = await client.HeadersAsync(cancellationToken).ConfigureAwait(false) ?? [];
        headers.Add("hasleader", "true");
        using var call = member.Watch.Watch(new CallOptions(headers, cancellationToken: cancellationToken));
        await call.RequestStream.WriteAsync(
            new WatchRequest
            {
                CreateRequest = new WatchCreateRequest { Key = s_zero, RangeEnd = s_zero, StartRevision = _position + 1, ProgressNotify = true, PrevKv = true, Fragment = true },
            },
            cancellationToken).ConfigureAwait(false);
        _changes.Clear();
        _batchRevision = 0;
        while (await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false))
        {
            var response = call.ResponseStream.Current;
            if (response.Canceled)
            {
                if (response.CompactRevision > 0)
                {
                    onCompacted(response.CompactRevision);
                    throw new DatastoreCompactedException(_position, response.CompactRevision);
                }
                throw new IOException($"etcd ended the watch: {response.CancelReason}");
            }
            if (response.Created)
            {
                _isBroken = false;
                continue;
            }
            foreach (var item in response.Events) Add(item, onCompacted);
            // The rest of the same revisions follows.
            if (response.Fragment) continue;
            if (!Deliver(response, onChanges)) return true;
        }
        return false;
    }

    private bool Deliver(WatchResponse response, OnChanges onChanges)
    {
        // Only an answer without events says that everything up to its header was sent.
        long revision = _batchRevision > 0 ? _batchRevision : response.Header.Revision;
        _batchRevision = 0;
        if (revision <= _position)
        {
            _changes.Clear();
            return true;
        }
        bool goesOn = onChanges(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_changes), revision);
        _position = revision;
        _changes.Clear();
        return goesOn;
    }

    private void Add(Event item, Action<long> onCompacted)
    {
        var kv = item.Kv;
        _batchRevision = kv.ModRevision;
        string key = Encoding.UTF8.GetString(kv.Key.Span);
        if (key == StoreKeys.Compact)
        {
            // The server that compacts says so here first.
            if (long.TryParse(kv.Value.Span, NumberStyles.None, CultureInfo.InvariantCulture, out long compacted)) onCompacted(compacted);
            return;
        }
        bool isDelete = item.Type == Event.Types.EventType.Delete;
        _changes.Add(new Change(
            key,
            kv.Value.Memory,
            kv.ModRevision,
            isDelete ? item.PrevKv?.CreateRevision ?? 0 : kv.CreateRevision,
            LeaseSeconds: 0,
            isDelete ? AppendKind.Delete : kv.CreateRevision == kv.ModRevision ? AppendKind.Create : AppendKind.Update));
    }
}
