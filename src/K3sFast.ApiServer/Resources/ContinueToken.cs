using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Where a paged list goes on: upstream's form, base64url of <c>{"v":"meta.k8s.io/v1","rv":N,"start":"ns/name\u0000"}</c>. The start is relative to
/// the resource's prefix and stands just behind the last key that was sent. rv -1 means: go on with what is there now.
/// </summary>
internal readonly record struct ContinueToken(long Revision, string StartKey)
{
    internal string Write()
    {
        var json = $"{{\"v\":\"meta.k8s.io/v1\",\"rv\":{Revision},\"start\":\"{JsonEncodedText.Encode(StartKey)}\\u0000\"}}";
        return Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
    }

    /// <exception cref="ApiStatusException">400: it is none of ours.</exception>
    internal static ContinueToken Parse(string text)
    {
        try
        {
            var json = Base64Url.DecodeFromChars(text.AsSpan().TrimEnd('='));
            using var document = JsonDocument.Parse(json);
            var root = document.RootElement;
            if (root.GetProperty("v").GetString() != "meta.k8s.io/v1")
                throw Bad("server does not recognize this encoded version");
            var revision = root.GetProperty("rv").GetInt64();
            var start = root.GetProperty("start").GetString() ?? "";
            if (revision == 0)
                throw Bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
            if (start.Length == 0 || start.StartsWith('/') || start.Split('/').Contains(".."))
                throw Bad("invalid continue key");
            return new ContinueToken(revision, start);
        }
        catch (Exception error) when (error is FormatException or JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw Bad("illegal base64 or JSON");
        }
    }

    private static ApiStatusException Bad(string why) => ApiStatus.BadRequest($"continue key is not valid: {why}").ToException();
}
