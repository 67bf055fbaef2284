using Grpc.Core;
using K3sFast.Datastore.Etcd.Wire;

namespace K3sFast.Datastore.Etcd;

/// <summary>
/// Leases for keys that end by themselves. A lease is dear to etcd, so one serves all keys of the same time to live that come within
/// a span: it is asked for a little longer, as kube-apiserver does (5 % of the time, at most 60 s, at most 1000 keys).
/// </summary>
internal sealed class EtcdLeases(EtcdClient client, TimeProvider clock) : IDisposable
{
    private const int MaxKeys = 1000;
    private const long MaxReuseSeconds = 60;
    private const int ReusePercent = 5;

    private readonly SemaphoreSlim _gate = new(1, 1);

    // Guarded by _gate
    private readonly Dictionary<long, Granted> _byTtl = [];

    /// <summary>A lease that ends not before <paramref name="seconds"/> have passed.</summary>
    public async Task<long> ForAsync(long seconds, CancellationToken cancellationToken)
    {
        long reuse = Math.Min(seconds * ReusePercent / 100, MaxReuseSeconds);
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_byTtl.TryGetValue(seconds, out var granted) && granted.Keys < MaxKeys
                && clock.GetElapsedTime(granted.At) < TimeSpan.FromSeconds(reuse))
            {
                granted.Keys++;
                return granted.Id;
            }
            long at = clock.GetTimestamp();
            var request = new LeaseGrantRequest { TTL = seconds + reuse };
            // A lease too many ends by itself: it may be asked for again.
            var answer = await client.CallAsync((member, options) => member.Lease.LeaseGrantAsync(request, options), isQuestion: true, cancellationToken).ConfigureAwait(false);
            if (answer.Error.Length > 0) throw new DatastoreException($"etcd {client.Names} grants no lease: {answer.Error}");
            _byTtl[seconds] = new Granted(answer.ID, at);
            return answer.ID;
        }
        catch (RpcException error)
        {
            throw new DatastoreException($"etcd {client.Names} grants no lease: {error.Status.Detail}", error);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>etcd does not know the lease any more.</summary>
    public async Task ForgetAsync(long seconds, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        _byTtl.Remove(seconds);
        _gate.Release();
    }

    public void Dispose() => _gate.Dispose();

    private sealed class Granted(long id, long at)
    {
        public long Id => id;
        public long At => at;
        public int Keys { get; set; } = 1;
    }
}
