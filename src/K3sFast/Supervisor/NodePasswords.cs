using System.Text;
using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Supervisor;

/// <summary>What became of a node's claim to its name.</summary>
internal enum NodeClaim
{
    Good,
    /// <summary>Another password is known for the name.</summary>
    Rejected,
    /// <summary>The password could not be looked at or kept; it is let pass, as in k3s, lest an outage of a webhook keeps nodes away.</summary>
    Unverified,
}

/// <summary>
/// Knows each node by the password that it made itself when it first joined: a second machine of the same name is turned away. Kept as k3s does, in
/// Secret kube-system/&lt;node&gt;.node-password.k3s, which goes with the Node.
/// </summary>
/// <remarks>Any thread; one hash at a time, each about 100 ms and 32 MB. A password that was good once is known without another.</remarks>
internal sealed class NodePasswords(ApiClient client, ILogger log) : IDisposable
{
    private const string Namespace = "kube-system";
    private const string Key = "hash";

    private readonly SemaphoreSlim _one = new(1);
    // Guarded by _one. What was good, by node: the hash and the password's digest.
    private readonly Dictionary<string, (string Hash, byte[] Digest)> _known = [];

    public void Dispose() => _one.Dispose();

    /// <summary>Verifies the password of a node, or keeps it when the node has none yet.</summary>
    public async ValueTask<NodeClaim> EnsureAsync(string node, string password, CancellationToken cancellationToken)
    {
        await _one.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await EnsureLockedAsync(node, password, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is ApiException or IOException or HttpRequestException)
        {
            log.NodePasswordUnverified(node, e.Message);
            return NodeClaim.Unverified;
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>Keeps the server's own password when its node has none yet; one that is there is believed.</summary>
    public async ValueTask ClaimAsync(string node, string password, CancellationToken cancellationToken)
    {
        if (await client.FindAsync(Resources.Secrets, Namespace, SecretOf(node), cancellationToken).ConfigureAwait(false) is null)
            await EnsureAsync(node, password, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Forgets passwords of nodes that are gone, until cancelled: a machine set up anew may take the name.</summary>
    public async Task FollowAsync(InformerFactory informers, CancellationToken cancellationToken)
    {
        using var queue = new WorkQueue<string>();
        var nodes = informers.Get(Resources.Nodes);
        nodes.AddHandler(new InformerHandler<V1Node>(Deleted: node => queue.Add(node.Metadata.Name)));
        await new Reconciler<string>("node-password", queue, RemoveAsync, log).RunAsync(1, cancellationToken).ConfigureAwait(false);

        async ValueTask RemoveAsync(string name, CancellationToken stop)
        {
            if (nodes.Get(null, name) is not null) return;
            try
            {
                await client.DeleteAsync(Resources.Secrets, Namespace, SecretOf(name), stop).ConfigureAwait(false);
            }
            catch (ApiException gone) when (gone.IsNotFound)
            {
            }
        }
    }

    private static string SecretOf(string node) => node + ".node-password.k3s";

    private async ValueTask<NodeClaim> EnsureLockedAsync(string node, string password, CancellationToken cancellationToken)
    {
        var digest = System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes(password));
        var secret = await client.FindAsync(Resources.Secrets, Namespace, SecretOf(node), cancellationToken).ConfigureAwait(false);
        if (secret is null)
        {
            var hash = PasswordHash.Make(password);
            await client.CreateAsync(Resources.Secrets, new V1Secret
            {
                Metadata = new V1ObjectMeta { Name = SecretOf(node), NamespaceProperty = Namespace },
                Immutable = true,
                Data = new Dictionary<string, byte[]> { [Key] = Encoding.UTF8.GetBytes(hash) },
            }, cancellationToken).ConfigureAwait(false);
            _known[node] = (hash, digest);
            return NodeClaim.Good;
        }
        var kept = secret.Data is { } data && data.TryGetValue(Key, out var bytes) ? Encoding.UTF8.GetString(bytes) : "";
        if (_known.TryGetValue(node, out var known) && known.Hash == kept && known.Digest.AsSpan().SequenceEqual(digest))
            return NodeClaim.Good;
        if (PasswordHash.Matches(kept, password) != true)
        {
            log.NodePasswordRejected(node, SecretOf(node));
            return NodeClaim.Rejected;
        }
        _known[node] = (kept, digest);
        return NodeClaim.Good;
    }
}
