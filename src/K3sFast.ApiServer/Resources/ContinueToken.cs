using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Where a paged list goes on: upstream's form, base64url without padding of <c>{"v":"meta.k8s.io/v1","rv":N,"start":"/name\u0000"}</c>. The start
/// is relative to the list's own prefix (its namespace's, where it has one) and stands just behind the last key that was sent. rv -1 means: go on
/// with what is there now.
/// </summary>
internal readonly record struct ContinueToken(long Revision, string StartKey)
{
    /// <summary>The token that goes on behind <paramref name="lastKey"/>, whose prefix ends with a slash.</summary>
    internal static string After(long revision, string lastKey, int prefixLength) => new ContinueToken(revision, $"{lastKey[(prefixLength - 1)..]}\0").Write();

    /// <summary>The token that goes on where this one does, with whatever is there now.</summary>
    internal string WriteInconsistent() => new ContinueToken(-1, StartKey).Write();

    internal string Write()
    {
        var json = string.Create(CultureInfo.InvariantCulture, $"{{\"v\":\"meta.k8s.io/v1\",\"rv\":{Revision},\"start\":\"{JsonEncodedText.Encode(StartKey)}\"}}");
        return Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
    }

    /// <summary>The first key of the rest, under a prefix that ends with a slash.</summary>
    internal byte[] KeyUnder(ReadOnlySpan<byte> prefix) => [.. prefix, .. Encoding.UTF8.GetBytes(StartKey.StartsWith('/') ? StartKey[1..] : StartKey)];

    /// <exception cref="ApiStatusException">400: it is none of ours.</exception>
    internal static ContinueToken Parse(string text)
    {
        var (version, revision, start) = ReadMembers(Decode(text));
        if (version != "meta.k8s.io/v1")
            throw Bad($"server does not recognize this encoded version {version}");
        if (revision == 0)
            throw Bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
        if (start.Length == 0)
            throw Bad("encoded start key empty (version meta.k8s.io/v1)");
        // A start must not lead out of the prefix that it is put behind.
        if (!IsClean(start.StartsWith('/') ? start : "/" + start))
            throw Bad(start);
        return new ContinueToken(revision, start);
    }

    private static byte[] Decode(string text)
    {
        var firstBad = text.AsSpan().IndexOfAnyExcept(s_alphabet);
        if (firstBad < 0 && text.Length % 4 == 1)
            firstBad = text.Length - 1;
        if (firstBad >= 0)
            throw Bad(string.Create(CultureInfo.InvariantCulture, $"illegal base64 data at input byte {firstBad}"));
        try
        {
            return Base64Url.DecodeFromChars(text);
        }
        catch (FormatException)
        {
            throw Bad(string.Create(CultureInfo.InvariantCulture, $"illegal base64 data at input byte {text.Length - 1}"));
        }
    }

    private static (string Version, long Revision, string Start) ReadMembers(byte[] json)
    {
        ApiObject document;
        try
        {
            document = JsonCodec.Decode(json, null, DecodeOptions.Free, null);
        }
        catch (ApiStatusException refused)
        {
            throw Bad(refused.Status.Message);
        }
        using (document)
        {
            var root = document.Root;
            if (root.Kind != NodeKind.Object)
                throw Bad($"json: cannot unmarshal {GoName(root.Kind)} into Go value of type storage.continueToken");
            Demand(root["v"u8], NodeKind.String, "v", "string");
            Demand(root["rv"u8], NodeKind.Number, "rv", "int64");
            Demand(root["start"u8], NodeKind.String, "start", "string");
            return (root["v"u8].AsString(), root["rv"u8].AsInt64(), root["start"u8].AsString());
        }
    }

    private static void Demand(ApiNode node, NodeKind kind, string name, string goType)
    {
        if (!node.IsNullOrUndefined && node.Kind != kind)
            throw Bad($"json: cannot unmarshal {GoName(node.Kind)} into Go struct field continueToken.{name} of type {goType}");
    }

    private static string GoName(NodeKind kind) => kind switch
    {
        NodeKind.Object => "object",
        NodeKind.Array => "array",
        NodeKind.String => "string",
        NodeKind.Number => "number",
        _ => "bool",
    };

    private static bool IsClean(string path)
    {
        var parts = path.Split('/');
        for (var i = 1; i < parts.Length; i++)
        {
            if (parts[i] is "." or ".." || parts[i].Length == 0 && path.Length > 1)
                return false;
        }
        return true;
    }

    private static ApiStatusException Bad(string why) => ApiStatus.BadRequest($"invalid continue token: continue key is not valid: {why}").ToException();

    private static readonly System.Buffers.SearchValues<char> s_alphabet =
        System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
}
