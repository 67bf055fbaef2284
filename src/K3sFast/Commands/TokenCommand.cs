using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using K3sFast.Agent;
using K3sFast.Client;
using K3sFast.Configuration;
using k8s.Models;

namespace K3sFast.Commands;

/// <summary><c>k3sfast token</c>: bootstrap tokens, by which nodes join for a time. Each is a Secret of kube-system.</summary>
internal static partial class TokenCommand
{
    private const string Namespace = "kube-system";
    private const string SecretPrefix = "bootstrap-token-";
    private const string Alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";

    public static async Task<int> RunAsync(string[] arguments, Func<string, string?> environment, TextWriter output, TextWriter error)
    {
        try
        {
            if (arguments.Length == 0 || arguments[0] is "--help" or "-h" or "help")
            {
                output.Write(Help);
                return 0;
            }
            if (arguments[0] == "generate")
            {
                output.WriteLine(Generate());
                return 0;
            }
            if (arguments[0] is not ("create" or "delete" or "list"))
                throw new ConfigurationException(arguments[0] == "rotate" ? "k3sfast token rotate is not yet in this version" : $"No help topic for '{arguments[0]}'; k3sfast token --help lists the commands");
            var told = TokenArguments.Parse(arguments.AsSpan(1), environment);
            var kubeconfig = told.Kubeconfig.Length > 0 ? told.Kubeconfig : Path.Combine(told.DataDir, "server", "cred", "admin.kubeconfig");
            var (transport, ca) = KubeconfigFile.Open(kubeconfig);
            using (transport)
            {
                var client = new ApiClient(transport);
                await (arguments[0] switch
                {
                    "create" => CreateAsync(client, told, ca, output),
                    "delete" => DeleteAsync(client, told, output),
                    _ => ListAsync(client, told, output, TimeProvider.System.GetUtcNow()),
                }).ConfigureAwait(false);
            }
            return 0;
        }
        catch (Exception e) when (e is ConfigurationException or ApiException or HttpRequestException)
        {
            return Fatal.Report(error, e.Message);
        }
    }

    private static async Task CreateAsync(ApiClient client, TokenArguments told, byte[] ca, TextWriter output)
    {
        if (told.Words.Count > 1)
            throw new ConfigurationException("token create takes one token at most");
        var token = told.Words.Count == 1 ? told.Words[0] : Generate();
        if (!TokenForm().IsMatch(token))
            throw new ConfigurationException($"the bootstrap token \"{token}\" was not of the form \"{TokenForm()}\"");
        var data = new Dictionary<string, byte[]>
        {
            ["token-id"] = Bytes(token[..6]),
            ["token-secret"] = Bytes(token[7..]),
            ["auth-extra-groups"] = Bytes(string.Join(',', told.Groups)),
        };
        foreach (var usage in told.Usages)
            data["usage-bootstrap-" + usage] = Bytes("true");
        if (told.Description.Length > 0)
            data["description"] = Bytes(told.Description);
        if (told.Ttl > TimeSpan.Zero)
            data["expiration"] = Bytes((TimeProvider.System.GetUtcNow() + told.Ttl).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));
        await client.CreateAsync(Resources.Secrets, new V1Secret
        {
            Metadata = new V1ObjectMeta { Name = SecretPrefix + token[..6], NamespaceProperty = Namespace },
            Type = "bootstrap.kubernetes.io/token",
            Data = data,
        }, CancellationToken.None).ConfigureAwait(false);
        var authorities = new X509Certificate2Collection();
        authorities.ImportFromPem(Encoding.UTF8.GetString(ca));
        output.WriteLine($"K10{SupervisorClient.HashOf(ca, authorities)}::{token}");
    }

    private static async Task DeleteAsync(ApiClient client, TokenArguments told, TextWriter output)
    {
        if (told.Words.Count == 0)
            throw new ConfigurationException("missing argument; 'token delete' is missing token");
        foreach (var word in told.Words)
        {
            // The id, the token, or the token with the CA's hash.
            var token = word[(word.LastIndexOf("::", StringComparison.Ordinal) is >= 0 and var at ? at + 2 : 0)..];
            var id = token.Split('.')[0];
            if (!IdForm().IsMatch(id))
                throw new ConfigurationException($"given token didn't match pattern \"{IdForm()}\" or \"{TokenForm()}\"");
            try
            {
                await client.DeleteAsync(Resources.Secrets, Namespace, SecretPrefix + id, CancellationToken.None).ConfigureAwait(false);
            }
            catch (ApiException e)
            {
                throw new ConfigurationException($"failed to delete bootstrap token \"{id}\": {e.Message}", e);
            }
            output.WriteLine($"bootstrap token \"{id}\" deleted");
        }
    }

    private static async Task ListAsync(ApiClient client, TokenArguments told, TextWriter output, DateTimeOffset now)
    {
        var secrets = await client.ListAsync(Resources.Secrets, Namespace, new ListOptions(FieldSelector: "type=bootstrap.kubernetes.io/token"), CancellationToken.None).ConfigureAwait(false);
        var rows = new List<TokenRow>();
        foreach (var secret in secrets.Items)
        {
            if (TokenRow.Of(secret) is { } row)
                rows.Add(row);
        }
        if (told.Output == "json")
        {
            output.WriteLine(TokenRow.Json(rows));
            return;
        }
        string[][] cells = [["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION"], .. rows.Select(row => row.Cells(now))];
        var widths = Enumerable.Range(0, 4).Select(column => cells.Max(row => row[column].Length) + 2).ToArray();
        foreach (var row in cells)
            output.WriteLine(string.Concat(Enumerable.Range(0, 4).Select(column => row[column].PadRight(widths[column]))) + row[4]);
    }

    private static string Generate() => $"{RandomNumberGenerator.GetString(Alphabet, 6)}.{RandomNumberGenerator.GetString(Alphabet, 16)}";

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private const string Help = """
        NAME:
           k3sfast token - Manage tokens

        USAGE:
           k3sfast token command [command options] [arguments...]

        COMMANDS:
           create    Create bootstrap tokens on the server [--ttl 24h0m0s (0: for ever)] [--description TEXT] [--groups G] [--usages U] [token]
           delete    Delete bootstrap tokens on the server
           generate  Generate and print a bootstrap token, but do not create it on the server
           list      List bootstrap tokens on the server [-o text|json]

        OPTIONS:
           --data-dir value, -d value  Folder of the server's state (default: /var/lib/rancher/k3s) [$K3S_DATA_DIR]
           --kubeconfig value          Server to connect to (default: server/cred/admin.kubeconfig of the folder)

        """;

    [GeneratedRegex(@"\A[a-z0-9]{6}\.[a-z0-9]{16}\z")]
    private static partial Regex TokenForm();

    [GeneratedRegex(@"\A[a-z0-9]{6}\z")]
    private static partial Regex IdForm();
}

/// <summary>A bootstrap token as it is listed.</summary>
internal sealed record TokenRow(string Token, DateTimeOffset? Expires, IReadOnlyList<string> Usages, IReadOnlyList<string> Groups, string Description)
{
    private const string UsagePrefix = "usage-bootstrap-";

    /// <summary>The token in a Secret; null when there is none.</summary>
    public static TokenRow? Of(V1Secret secret)
    {
        string Text(string key) => secret.Data is { } data && data.TryGetValue(key, out var bytes) ? Encoding.UTF8.GetString(bytes) : "";
        if (Text("token-id").Length == 0)
            return null;
        DateTimeOffset? expires = DateTimeOffset.TryParse(Text("expiration"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : null;
        var usages = secret.Data.Where(static pair => pair.Key.StartsWith(UsagePrefix, StringComparison.Ordinal) && Encoding.UTF8.GetString(pair.Value) == "true")
            .Select(static pair => pair.Key[UsagePrefix.Length..]).Order(StringComparer.Ordinal);
        return new($"{Text("token-id")}.{Text("token-secret")}", expires, [.. usages], Text("auth-extra-groups").Split(',', StringSplitOptions.RemoveEmptyEntries), Text("description"));
    }

    public string[] Cells(DateTimeOffset now) =>
    [
        Token, Expires is { } end ? Remaining(end - now) : "<forever>",
        Expires?.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture) ?? "<never>",
        Usages.Count > 0 ? string.Join(',', Usages) : "<none>", Description.Length > 0 ? Description : "<none>",
    ];

    public static string Json(IEnumerable<TokenRow> rows)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartArray();
            foreach (var row in rows)
            {
                json.WriteStartObject();
                json.WriteString("token", row.Token);
                if (row.Description.Length > 0)
                    json.WriteString("description", row.Description);
                if (row.Expires is { } end)
                    json.WriteString("expires", end.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));
                foreach (var (name, values) in ((string, IReadOnlyList<string>)[])[("usages", row.Usages), ("groups", row.Groups)])
                {
                    json.WriteStartArray(name);
                    foreach (var value in values)
                        json.WriteStringValue(value);
                    json.WriteEndArray();
                }
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    // Upstream's short durations: the largest unit alone.
    private static string Remaining(TimeSpan left) => left <= TimeSpan.Zero ? "<invalid>"
        : left.TotalMinutes < 1 ? $"{(int)left.TotalSeconds}s"
        : left.TotalHours < 1 ? $"{(int)left.TotalMinutes}m"
        : left.TotalDays < 1 ? $"{(int)left.TotalHours}h"
        : left.TotalDays < 365 ? $"{(int)left.TotalDays}d"
        : $"{(int)(left.TotalDays / 365)}y";
}
