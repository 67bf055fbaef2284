using System.Text;
using System.Text.Json;
using K3sFast.Kubelet.Cri;

namespace K3sFast.Kubelet.Containers;

/// <summary>Parts of an image reference: <c>[registry/]path[:tag][@digest]</c>.</summary>
internal static class ImageName
{
    /// <summary>The reference with <c>:latest</c> where it has neither tag nor digest.</summary>
    public static string WithDefaultTag(string image) => image.Contains('@') || HasTag(image) ? image : image + ":latest";

    /// <summary>True where defaulting takes the image for a moving one.</summary>
    public static bool IsLatest(string image) => !image.Contains('@') && (!HasTag(image) || image.EndsWith(":latest", StringComparison.Ordinal));

    /// <summary>Host (and port) of the registry; docker.io where none is named.</summary>
    public static string Registry(string image)
    {
        var slash = image.IndexOf('/');
        if (slash < 0) return "docker.io";
        var first = image[..slash];
        return first.Contains('.') || first.Contains(':') || first == "localhost" ? first : "docker.io";
    }

    private static bool HasTag(string image) => image.IndexOf(':', image.LastIndexOf('/') + 1) >= 0;
}

/// <summary>Registry credentials in Docker's configuration form.</summary>
internal static class RegistryCredentials
{
    /// <summary>Adds those for <paramref name="registry"/> to <paramref name="found"/>. A file that is no such configuration adds nothing.</summary>
    public static void Read(byte[] config, string? section, string registry, List<AuthConfig?> found)
    {
        try
        {
            using var document = JsonDocument.Parse(config);
            var entries = document.RootElement;
            if (section is not null && !entries.TryGetProperty(section, out entries)) return;
            foreach (var entry in entries.EnumerateObject())
            {
                if (Host(entry.Name) != Host(registry)) continue;
                var auth = new AuthConfig { Username = Text(entry.Value, "username"), Password = Text(entry.Value, "password") };
                if (Text(entry.Value, "auth") is { Length: > 0 } encoded && auth.Username.Length == 0)
                {
                    var pair = Encoding.UTF8.GetString(Convert.FromBase64String(encoded)).Split(':', 2);
                    if (pair.Length == 2) (auth.Username, auth.Password) = (pair[0], pair[1]);
                }
                auth.IdentityToken = Text(entry.Value, "identitytoken");
                auth.RegistryToken = Text(entry.Value, "registrytoken");
                found.Add(auth);
            }
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException)
        {
            // As upstream: a secret that cannot be read gives no credentials, and the pull says what the registry thinks of that.
        }
    }

    private static string Text(JsonElement entry, string name) =>
        entry.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";

    private static string Host(string url)
    {
        var start = url.IndexOf("://", StringComparison.Ordinal);
        var host = (start < 0 ? url : url[(start + 3)..]).Split('/')[0];
        return host is "index.docker.io" or "registry-1.docker.io" ? "docker.io" : host;
    }
}
