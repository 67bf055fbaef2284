using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using K3sFast.ApiServer;
using K3sFast.Client;
using K3sFast.Configuration;
using K3sFast.Pki;
using Microsoft.Extensions.Logging;

namespace K3sFast.Supervisor;

/// <summary>
/// How nodes join, on the API's port, as k3s has it: the CA, settings and certificates of the cluster, for who shows the token.
/// </summary>
/// <remarks>
/// Public: <c>/cacerts</c>, <c>/ping</c>. For agents (user <c>node</c> or <c>server</c> with the token's secret, a bootstrap token, or a kubelet's
/// certificate): <c>/v1-k3s/{client-kubelet,serving-kubelet,client-kube-proxy,client-k3s-controller}.crt</c> by POST of a signing request in DER,
/// <c>client-ca.crt</c>, <c>server-ca.crt</c>, <c>config</c>, <c>apiservers</c>, <c>readyz</c>. What k3s has beyond is refused by name. Any thread.
/// </remarks>
internal sealed class SupervisorPaths(ClusterPki pki, JoinSecrets secrets, ClusterSettings settings, string advertised, ILogger log) : ISupervisorPaths
{
    // k3s' limits: what waits beyond them is told to come again.
    private const int MaxReads = 20, MaxWrites = 10;
    private const string Prefix = "/v1-k3s/";
    private const string Text = "text/plain";

    private int _reads, _writes;
    private volatile Cluster? _cluster;

    private sealed record Cluster(NodePasswords Passwords, ApiClient Client);

    /// <summary>From now on there is an API to look nodes and passwords up in.</summary>
    public void UseCluster(NodePasswords passwords, ApiClient client) => _cluster = new(passwords, client);

    public bool Owns(ReadOnlySpan<byte> path) => path.SequenceEqual("/cacerts"u8) || path.SequenceEqual("/ping"u8) || path.StartsWith("/v1-k3s/"u8);

    public async ValueTask<SupervisorAnswer> AnswerAsync(SupervisorRequest request, CancellationToken cancellationToken)
    {
        switch (request.Path)
        {
            case "/ping":
                return Plain(200, "pong");
            case "/cacerts":
                return new(200, Text, pki.ServerCa.ReadPem());
        }
        var isWrite = request.Method != "GET";
        var open = isWrite ? Interlocked.Increment(ref _writes) : Interlocked.Increment(ref _reads);
        try
        {
            return open > (isWrite ? MaxWrites : MaxReads)
                ? Error(429, "too many nodes ask at once; ask again")
                : await AnswerAgentAsync(request, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (isWrite)
                Interlocked.Decrement(ref _writes);
            else
                Interlocked.Decrement(ref _reads);
        }
    }

    private async ValueTask<SupervisorAnswer> AnswerAgentAsync(SupervisorRequest request, CancellationToken cancellationToken)
    {
        var asker = secrets.Identify(request);
        if (asker is null)
        {
            log.AgentRefused(request.RemoteAddress.ToString(), request.Path);
            return Error(401, "not authorized: the token is not this cluster's");
        }
        var name = request.Path[Prefix.Length..];
        switch (name)
        {
            case "client-ca.crt":
                return new(200, Text, pki.ClientCa.ReadPem());
            case "server-ca.crt":
                return new(200, Text, pki.ServerCa.ReadPem());
            case "config":
                return new(200, "application/json", ClusterSettingsJson.Write(settings));
            case "readyz":
                return _cluster is null ? Error(503, "runtime core not ready") : Plain(200, "ok");
            case "apiservers":
                return new(200, "application/json", await ServersAsync(cancellationToken).ConfigureAwait(false));
            case "client-kube-proxy.crt":
                return Sign(request, pki.ClientCa, new("client-kube-proxy", "system:kube-proxy", ""));
            case "client-k3s-controller.crt":
                return Sign(request, pki.ClientCa, new("client-k3s-controller", "system:k3s-controller", ""));
            case "client-kubelet.crt" or "serving-kubelet.crt":
                return await SignForNodeAsync(request, asker, name, cancellationToken).ConfigureAwait(false);
            case "connect" or "server-bootstrap" or "token" or "cert/cacerts" or "encrypt/status" or "encrypt/config":
                return Error(501, $"{request.Path} is not in this version of k3sfast");
            default:
                return Plain(404, "404 page not found\n");
        }
    }

    // What the kubernetes Service leads to: every server of the cluster.
    private async ValueTask<byte[]> ServersAsync(CancellationToken cancellationToken)
    {
        var servers = new SortedSet<string>(StringComparer.Ordinal);
        if (_cluster is { } cluster)
        {
            var slices = await cluster.Client.ListAsync(
                Resources.EndpointSlices, "default", new ListOptions(LabelSelector: "kubernetes.io/service-name=kubernetes"), cancellationToken).ConfigureAwait(false);
            servers.UnionWith(ServerAddresses.Of(slices.Items));
        }
        if (servers.Count == 0)
            servers.Add(advertised);
        return JsonSerializer.SerializeToUtf8Bytes([.. servers], SupervisorJson.Default.StringArray);
    }

    private async ValueTask<SupervisorAnswer> SignForNodeAsync(SupervisorRequest request, Asker asker, string name, CancellationToken cancellationToken)
    {
        var node = request.Header("k3s-Node-Name")?.ToLowerInvariant() ?? "";
        var password = request.Header("k3s-Node-Password") ?? "";
        if (node.Length == 0)
            return Error(400, "node name not set");
        if (password.Length == 0)
            return Error(400, "node password not set");
        // A certificate's common name holds 64 characters (RFC 5280, ub-common-name); a longer name would be another node's.
        if (node.Length > 253 || node.AsSpan().ContainsAnyExcept("abcdefghijklmnopqrstuvwxyz0123456789-."))
            return Error(400, $"node name \"{node}\" is not a valid RFC 1123 subdomain");
        if (asker.NodeName is { } own && own != node)
            return Error(400, "header node name does not match auth node name");
        if (_cluster is not { } cluster)
            return Error(503, "runtime core not ready");
        if (asker.NodeName is not null && await cluster.Client.FindAsync(Resources.Nodes, null, node, cancellationToken).ConfigureAwait(false) is null)
            return Error(401, "unable to verify node identity: the node is not in the cluster; join with the token");
        if (await cluster.Passwords.EnsureAsync(node, password, cancellationToken).ConfigureAwait(false) == NodeClaim.Rejected)
        {
            return Error(403, $"Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, "
                + $"try enabling a unique node name with the --with-node-id flag; if the machine was set up anew, delete the old node first: kubectl delete node {node}");
        }
        if (name == "client-kubelet.crt")
            return Sign(request, pki.ClientCa, new("client-kubelet", "system:node:" + node, "system:nodes"));

        var addresses = new List<IPAddress> { IPAddress.Loopback };
        foreach (var text in (request.Header("k3s-Node-IP") ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (!IPAddress.TryParse(text, out var address))
                return Error(400, $"invalid node IP address {text}");
            addresses.Add(address);
        }
        log.NodeJoins(node, request.RemoteAddress.ToString());
        return Sign(request, pki.ServerCa, new("serving-kubelet", node, "")
        {
            IsClient = false,
            IsServing = true,
            DnsNames = [node, "localhost"],
            Addresses = addresses,
        });
    }

    private static SupervisorAnswer Sign(SupervisorRequest request, CertificateAuthority authority, LeafSpec leaf)
    {
        if (request.Method != "POST" || request.Body.IsEmpty)
            return Error(405, "send a certificate signing request by POST: this server shares no private keys");
        try
        {
            // Only its key is believed; reading it verifies that the asker has the private one.
            var signing = CertificateRequest.LoadSigningRequest(request.Body.ToArray(), HashAlgorithmName.SHA256);
            using var certificate = authority.Sign(leaf, signing.PublicKey, DateTimeOffset.UtcNow);
            return new(200, Text, Encoding.ASCII.GetBytes(certificate.ExportCertificatePem() + "\n" + Encoding.ASCII.GetString(authority.ReadPem())));
        }
        catch (CryptographicException e)
        {
            return Error(400, $"the certificate signing request cannot be read: {e.Message}");
        }
    }

    private static SupervisorAnswer Plain(int code, string text) => new(code, Text, Encoding.UTF8.GetBytes(text));

    // k3s answers with a Status as well.
    private static SupervisorAnswer Error(int code, string message)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("kind", "Status");
            json.WriteString("apiVersion", "v1");
            json.WriteStartObject("metadata");
            json.WriteEndObject();
            json.WriteString("status", "Failure");
            json.WriteString("message", message);
            json.WriteString("reason", Reason(code));
            json.WriteNumber("code", code);
            json.WriteEndObject();
        }
        return new(code, "application/json", stream.ToArray());
    }

    private static string Reason(int code) => code switch
    {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        405 => "MethodNotAllowed",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "",
    };
}
