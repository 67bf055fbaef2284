using System.Buffers;
using System.Numerics;
using System.Text.Json;
using K3sFast.Datastore;

namespace K3sFast.ApiServer;

/// <summary>
/// The node ports that are taken, where several servers allocate: one RangeAllocation in the datastore, changed by compare-and-swap, as
/// kube-apiserver keeps it. Bit n of the number in <c>data</c> (big-endian) is the n-th port of the range.
/// </summary>
internal sealed class NodePortLedger(IDatastore store, int first, int last)
{
    private const string Key = "/registry/ranges/servicenodeports";

    // Numbers of the fields in upstream's protobuf: runtime.Unknown.raw, RangeAllocation.data.
    private const int RawField = 2;
    private const int DataField = 3;

    // Each try lost is somebody else's success.
    private const int MaxTries = 100;

    /// <summary>Changes the set of taken ports until the change is stored. <paramref name="change"/> may be called again with a newer set; false = nothing is to be stored.</summary>
    internal async ValueTask ChangeAsync(Func<HashSet<long>, bool> change, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = new Stored();
            await store.RangeAsync(new RangeRequest(Key), stored, cancel).ConfigureAwait(false);
            var taken = Read(stored.Value);
            if (!change(taken))
                return;
            var value = Write(taken);
            var request = stored.Revision == 0 ? AppendRequest.Create(Key, value) : AppendRequest.Update(Key, stored.Revision, value);
            var result = await store.AppendAsync(request, cancel).ConfigureAwait(false);
            if (result.Outcome == AppendOutcome.Committed)
                return;
            if (result.Outcome == AppendOutcome.Full)
                throw new DatastoreException("no space left in the datastore: node ports cannot be allocated");
        }
        throw new DatastoreException("node ports could not be allocated: other servers were always faster");
    }

    // JSON as we write it, or kube-apiserver's protobuf. What is neither is rebuilt from the Services by the repair that follows every start.
    private HashSet<long> Read(byte[] value)
    {
        var taken = new HashSet<long>();
        var number = new BigInteger(BitsOf(value), isUnsigned: true, isBigEndian: true);
        for (var i = 0; i <= last - first; i++)
        {
            if (!(number >> i).IsEven)
                taken.Add(first + i);
        }
        return taken;
    }

    private static ReadOnlySpan<byte> BitsOf(byte[] value)
    {
        if (value.AsSpan().StartsWith("k8s\0"u8))
            return Field(Field(value.AsSpan(4), RawField), DataField);
        if (value.Length == 0 || value[0] != '{')
            return default;
        using var document = JsonDocument.Parse(value);
        return document.RootElement.TryGetProperty("data"u8, out var data) && data.TryGetBytesFromBase64(out var bits) ? bits : default;
    }

    /// <summary>A field of a message whose fields are all length-delimited, as those of runtime.Unknown and RangeAllocation are; empty when it is not there.</summary>
    private static ReadOnlySpan<byte> Field(ReadOnlySpan<byte> message, int number)
    {
        while (message.Length >= 2)
        {
            var isWanted = message[0] == (number << 3 | 2);
            int length = 0, at = 1;
            for (var shift = 0; at < message.Length && shift < 28; shift += 7)
            {
                length |= (message[at] & 0x7f) << shift;
                if (message[at++] < 0x80)
                    break;
            }
            if (length > message.Length - at)
                return default;
            if (isWanted)
                return message.Slice(at, length);
            message = message[(at + length)..];
        }
        return default;
    }

    private byte[] Write(HashSet<long> taken)
    {
        var number = BigInteger.Zero;
        foreach (var port in taken)
        {
            if (port >= first && port <= last)
                number |= BigInteger.One << (int)(port - first);
        }
        var body = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(body);
        json.WriteStartObject();
        json.WriteString("kind"u8, "RangeAllocation"u8);
        json.WriteString("apiVersion"u8, "v1"u8);
        json.WriteStartObject("metadata"u8);
        json.WriteEndObject();
        json.WriteString("range"u8, $"{first}-{last}");
        json.WriteBase64String("data"u8, number.IsZero ? [] : number.ToByteArray(isUnsigned: true, isBigEndian: true));
        json.WriteEndObject();
        json.Flush();
        return body.WrittenSpan.ToArray();
    }

    private sealed class Stored : IDatastoreVisitor
    {
        internal byte[] Value { get; private set; } = [];

        internal long Revision { get; private set; }

        public void OnEntry(in DatastoreEntry entry)
        {
            if (entry.Key == Key)
                (Value, Revision) = (entry.Value.ToArray(), entry.Revision);
        }
    }
}
