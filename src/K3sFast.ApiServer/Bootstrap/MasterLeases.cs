using System.Buffers;
using System.Net;
using System.Text.Json;
using K3sFast.Datastore;

namespace K3sFast.ApiServer;

/// <summary>
/// The addresses of the API servers that share a datastore: each keeps a key of its own with a lease, as kube-apiserver does, so that the
/// kubernetes Service leads to those that live. Where the datastore is this server's alone, nothing is written.
/// </summary>
internal sealed class MasterLeases(IDatastore store, IPAddress address)
{
    private const string Prefix = "/registry/masterleases/";

    // Upstream's figures: how long a silent server stays among the endpoints, and how often one says that it lives.
    private const long LeaseSeconds = 15;

    internal static readonly TimeSpan Renewal = TimeSpan.FromSeconds(10);

    private readonly string _key = Prefix + address;

    internal bool IsShared => store.IsShared;

    /// <summary>Says that this server lives.</summary>
    internal async Task RenewAsync(CancellationToken cancel)
    {
        var value = Value();
        // Somebody else may only be a former life of this server.
        for (var tries = 0; tries < 5; tries++)
        {
            var present = new Seen();
            await store.RangeAsync(new RangeRequest(_key), present, cancel).ConfigureAwait(false);
            var revision = present.Keys.Find(found => found.Key == _key).Revision;
            var request = revision == 0 ? AppendRequest.Create(_key, value, LeaseSeconds) : AppendRequest.Update(_key, revision, value, LeaseSeconds);
            var result = await store.AppendAsync(request, cancel).ConfigureAwait(false);
            if (result.Outcome is AppendOutcome.Committed or AppendOutcome.Full)
                return;
        }
    }

    /// <summary>The servers that live, in an order that all agree on; this one too if <paramref name="isOneself"/>.</summary>
    internal async Task<List<string>> AddressesAsync(bool isOneself, CancellationToken cancel)
    {
        var seen = new Seen();
        if (store.IsShared)
            await store.RangeAsync(new RangeRequest(Prefix), seen, cancel).ConfigureAwait(false);
        var addresses = seen.Keys.ConvertAll(static found => found.Key[Prefix.Length..]);
        if (isOneself && !addresses.Contains(address.ToString()))
            addresses.Add(address.ToString());
        addresses.Sort(StringComparer.Ordinal);
        return addresses;
    }

    /// <summary>This server goes.</summary>
    internal async Task RemoveAsync(CancellationToken cancel)
    {
        var present = new Seen();
        await store.RangeAsync(new RangeRequest(_key), present, cancel).ConfigureAwait(false);
        if (present.Keys.Find(found => found.Key == _key) is { Revision: > 0 } found)
            await store.AppendAsync(AppendRequest.Delete(_key, found.Revision), cancel).ConfigureAwait(false);
    }

    // An Endpoints object, as upstream's servers write and read it.
    private byte[] Value()
    {
        var body = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(body);
        json.WriteStartObject();
        json.WriteString("kind"u8, "Endpoints"u8);
        json.WriteString("apiVersion"u8, "v1"u8);
        json.WriteStartObject("metadata"u8);
        json.WriteEndObject();
        json.WriteStartArray("subsets"u8);
        json.WriteStartObject();
        json.WriteStartArray("addresses"u8);
        json.WriteStartObject();
        json.WriteString("ip"u8, address.ToString());
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return body.WrittenSpan.ToArray();
    }

    private sealed class Seen : IDatastoreVisitor
    {
        internal List<(string Key, long Revision)> Keys { get; } = [];

        public void OnEntry(in DatastoreEntry entry) => Keys.Add((entry.Key, entry.Revision));
    }
}
