using System.IO.Pipelines;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace K3sFast.Kubelet.Server;

/// <summary>One request of the kubelet's API: a thin view on Kestrel's features. Valid while the request is being processed.</summary>
internal sealed class KubeletRequest(IFeatureCollection features)
{
    private readonly IHttpRequestFeature _request = features.GetRequiredFeature<IHttpRequestFeature>();
    private readonly IHttpResponseFeature _response = features.GetRequiredFeature<IHttpResponseFeature>();
    private readonly IHttpResponseBodyFeature _body = features.GetRequiredFeature<IHttpResponseBodyFeature>();
    private Dictionary<string, List<string>>? _query;

    public string Method => _request.Method;

    public string Path { get; } = Uri.UnescapeDataString(features.GetRequiredFeature<IHttpRequestFeature>().Path);

    public CancellationToken Aborted { get; } = features.Get<IHttpRequestLifetimeFeature>()?.RequestAborted ?? default;

    public X509Certificate2? ClientCertificate => features.Get<ITlsConnectionFeature>()?.ClientCertificate;

    public int LocalPort => features.Get<IHttpConnectionFeature>()?.LocalPort ?? 0;

    public PipeWriter Output => _body.Writer;

    public bool HasStarted => _response.HasStarted;

    public IHttpUpgradeFeature? Upgrade => features.Get<IHttpUpgradeFeature>();

    public int StatusCode
    {
        set => _response.StatusCode = value;
    }

    public StringValues Header(string name) => _request.Headers[name];

    public void SetHeader(string name, string value) => _response.Headers[name] = value;

    /// <summary>First value of a query parameter; "" when it is not there.</summary>
    public string Query(string name) => QueryAll(name) is [var first, ..] ? first : "";

    /// <summary>True for a parameter that says 1, true or nothing at all.</summary>
    public bool QueryFlag(string name) => QueryAll(name) is [var first, ..] && first is "1" or "true" or "True" or "TRUE" or "t";

    public IReadOnlyList<string> QueryAll(string name)
    {
        _query ??= ParseQuery(_request.QueryString);
        return _query.TryGetValue(name, out var values) ? values : [];
    }

    /// <summary>Answers with a text.</summary>
    public async Task AnswerAsync(int code, string text, string contentType = "text/plain; charset=utf-8")
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        StatusCode = code;
        SetHeader("Content-Type", contentType);
        _response.Headers.ContentLength = bytes.Length;
        await Output.WriteAsync(bytes, Aborted).ConfigureAwait(false);
    }

    private static Dictionary<string, List<string>> ParseQuery(string query)
    {
        var result = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        foreach (var pair in query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = pair.IndexOf('=');
            var name = Decode(equals < 0 ? pair : pair[..equals]);
            if (!result.TryGetValue(name, out var values)) result[name] = values = [];
            values.Add(equals < 0 ? "" : Decode(pair[(equals + 1)..]));
        }
        return result;
    }

    private static string Decode(string text) => Uri.UnescapeDataString(text.Replace('+', ' '));
}

/// <summary>A refusal with its code; the message is the answer's body.</summary>
internal sealed class KubeletRequestException(int code, string message) : Exception(message)
{
    public int Code { get; } = code;
}
