using System.Globalization;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using K3sFast.Datastore.Etcd.Wire;
using K3sFast.Datastore.Shared;

namespace K3sFast.Datastore.Etcd;

/// <summary>
/// Compacts every interval, if no other server of the cluster has. The servers (kube-apiservers among them) agree through the key
/// <c>compact_rev_key</c>: its version is a clock; who moves it on, compacts up to the revision that he saw one interval before.
/// </summary>
internal sealed class EtcdCompactor(EtcdClient client)
{
    private static readonly ByteString s_key = ByteString.CopyFromUtf8(StoreKeys.Compact);

    private long _knownTicks;
    private long _revisionThen;

    /// <summary>One interval has passed. Returns what is compacted now; 0 = nothing is known.</summary>
    public async Task<long> TickAsync(CancellationToken cancellationToken)
    {
        var request = new TxnRequest
        {
            Compare = { new Compare { Result = Compare.Types.CompareResult.Equal, Target = Compare.Types.CompareTarget.Version, Key = s_key, Version = _knownTicks } },
            Success = { new RequestOp { RequestPut = new PutRequest { Key = s_key, Value = ByteString.CopyFromUtf8(_revisionThen.ToString(CultureInfo.InvariantCulture)) } } },
            Failure = { new RequestOp { RequestRange = new Wire.RangeRequest { Key = s_key } } },
        };
        var answer = await client.CallAsync((member, options) => member.KV.TxnAsync(request, options), isQuestion: false, cancellationToken).ConfigureAwait(false);
        long before = _revisionThen;
        _revisionThen = answer.Header.Revision;
        if (!answer.Succeeded)
        {
            var kv = answer.Responses[0].ResponseRange.Kvs is [var found] ? found : null;
            _knownTicks = kv?.Version ?? 0;
            return ValueOf(kv);
        }
        _knownTicks++;
        // The first tick only tells the time.
        if (before == 0) return 0;
        await CompactAsync(before, cancellationToken).ConfigureAwait(false);
        return before;
    }

    /// <summary>Forgets what was superseded at or before a revision. Done already is done.</summary>
    public async Task CompactAsync(long revision, CancellationToken cancellationToken)
    {
        var request = new CompactionRequest { Revision = revision };
        try
        {
            await client.CallAsync((member, options) => member.KV.CompactAsync(request, options), isQuestion: true, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException error) when (EtcdErrors.IsCompacted(error))
        {
        }
    }

    /// <summary>Up to where etcd is compacted now.</summary>
    /// <remarks>etcd tells the number only to a watch that comes too late; a watch on a key that nobody writes asks for nothing else.</remarks>
    public async Task<long> ReadRevisionAsync(CancellationToken cancellationToken)
    {
        var key = ByteString.CopyFrom("compact_rev_question"u8);
        var question = new Wire.RangeRequest { Key = key, Revision = 1, CountOnly = true };
        try
        {
            await client.CallAsync((member, options) => member.KV.RangeAsync(question, options), isQuestion: true, cancellationToken).ConfigureAwait(false);
            return 0;
        }
        catch (RpcException error) when (EtcdErrors.IsCompacted(error))
        {
            using var call = client.Current.Watch.Watch(new CallOptions(await client.HeadersAsync(cancellationToken).ConfigureAwait(false), cancellationToken: cancellationToken));
            await call.RequestStream.WriteAsync(new WatchRequest { CreateRequest = new WatchCreateRequest { Key = key, StartRevision = 1 } }, cancellationToken).ConfigureAwait(false);
            while (await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false))
            {
                if (call.ResponseStream.Current.CompactRevision > 0) return call.ResponseStream.Current.CompactRevision;
            }
            throw new DatastoreException($"etcd {client.Names} does not say what it has compacted", error);
        }
    }

    private static long ValueOf(KeyValue? kv) =>
        kv is not null && long.TryParse(Encoding.UTF8.GetString(kv.Value.Span), NumberStyles.None, CultureInfo.InvariantCulture, out long revision) ? revision : 0;
}
