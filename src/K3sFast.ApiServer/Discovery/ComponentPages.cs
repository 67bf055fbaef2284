using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>/statusz and /flagz: what this server is and with which flags it runs, as text for people or as objects of config.k8s.io. Each has its feature gate.</summary>
internal sealed class ComponentPages
{
    private const string Name = "apiserver";
    private const string Group = "config.k8s.io";
    private const string Warning = "This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.";

    // What every component of Kubernetes has.
    private static readonly string[] s_paths = ["/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version"];
    private static readonly string[] s_accepted = ["application/json", "application/yaml", "text/plain"];

    private readonly ApiServerOptions _options;
    private readonly DateTimeOffset _started;
    private readonly string[] _all;

    internal ComponentPages(ApiServerOptions options)
    {
        _options = options;
        _started = options.Clock.GetUtcNow();
        Paths = [.. s_paths.Where(Owns)];
        _all = [.. s_paths.Where(path => path is not ("/statusz" or "/flagz") || Owns(path))];
    }

    /// <summary>The pages that are on.</summary>
    internal IReadOnlyList<string> Paths { get; }

    internal bool Owns(string path) => path switch
    {
        "/statusz" => _options.FeatureGates.IsOn("ComponentStatusz"),
        "/flagz" => _options.FeatureGates.IsOn("ComponentFlagz"),
        _ => false,
    };

    internal ValueTask AnswerAsync(ApiCall call, string path)
    {
        var isStatus = path == "/statusz";
        var kind = isStatus ? "Statusz" : "Flagz";
        foreach (var range in AcceptHeader.Parse(call.Accept))
        {
            var isObject = range["g"] == Group && range["as"] == kind && range["v"] is "v1alpha1" or "v1beta1";
            var isYaml = range is { Type: "application", Subtype: "yaml" };
            if (isObject && (isYaml || range is { Type: "application", Subtype: "json" }))
                return WriteObjectAsync(call, path, kind, range["v"], isYaml);
            if (!isObject && range.Covers("text", "plain"))
                return ResponseWriter.WriteTextAsync(call, 200, $"\n{Name} {path[1..]}\nWarning: {Warning}\n{(isStatus ? StatusText() : FlagText())}");
        }
        throw ApiStatus.NotAcceptable(s_accepted).ToException();
    }

    private string Version => _options.GitVersion.TrimStart('v').Split('+', '-')[0];

    private string Emulated => string.Join('.', Version.Split('.').Take(2));

    private TimeSpan Up => _options.Clock.GetUtcNow() - _started;

    private string StatusText()
    {
        var up = Up;
        return string.Create(CultureInfo.InvariantCulture,
            $"""

            Started: {_started.UtcDateTime:ddd MMM} {_started.UtcDateTime.Day,2} {_started.UtcDateTime:HH:mm:ss} UTC {_started.Year}
            Up: {(int)up.TotalHours} hr {up.Minutes:00} min {up.Seconds:00} sec
            Go version: {RuntimeInformation.FrameworkDescription}
            Binary version: {Version}
            Emulation version: {Emulated}
            Paths: {string.Join(' ', _all)}

            """);
    }

    private string FlagText()
    {
        var text = new StringBuilder();
        foreach (var (flag, value) in Flags())
            text.Append(flag).Append(' ').Append(value).Append('\n');
        return text.ToString();
    }

    private IEnumerable<KeyValuePair<string, string>> Flags() => _options.Flags.OrderBy(static flag => flag.Key, StringComparer.Ordinal);

    private ValueTask WriteObjectAsync(ApiCall call, string path, string kind, string version, bool isYaml)
    {
        if (version == "v1alpha1")
            call.AddWarning($"This version of the {path[1..]} endpoint is deprecated. Please use a newer version.");
        var json = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(json, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            Write(writer, kind, version);
        var output = new PooledBuffer(json.WrittenCount);
        if (isYaml)
        {
            using var document = JsonCodec.Decode(json.WrittenSpan, null, DecodeOptions.Free, null);
            YamlText.Write(document.Root, output);
        }
        else
        {
            output.Write(json.WrittenSpan);
        }
        return ResponseWriter.WriteBufferAsync(call, 200, $"application/{(isYaml ? "yaml" : "json")};g={Group};v={version};as={kind}", output);
    }

    private void Write(Utf8JsonWriter json, string kind, string version)
    {
        json.WriteStartObject();
        json.WriteString("kind"u8, kind);
        json.WriteString("apiVersion"u8, $"{Group}/{version}");
        json.WriteStartObject("metadata"u8);
        json.WriteString("name"u8, Name);
        json.WriteEndObject();
        if (kind == "Statusz")
        {
            json.WriteString("startTime"u8, ObjectText.Time(_started));
            json.WriteNumber("uptimeSeconds"u8, (long)Up.TotalSeconds);
            json.WriteString("goVersion"u8, RuntimeInformation.FrameworkDescription);
            json.WriteString("binaryVersion"u8, Version);
            json.WriteString("emulationVersion"u8, Emulated);
            json.WriteStartArray("paths"u8);
            foreach (var path in _all)
                json.WriteStringValue(path);
            json.WriteEndArray();
        }
        else
        {
            json.WriteStartObject("flags"u8);
            foreach (var (flag, value) in Flags())
                json.WriteString(flag, value);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }
}
