using System.Buffers;
using System.Text;

namespace K3sFast.Client;

/// <summary>What an <see cref="HttpPort"/> answers to one request.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Body">The body.</param>
/// <param name="ContentType">Its type.</param>
/// <param name="Header">One more header line, or "".</param>
public readonly record struct HttpAnswer(int Status, ReadOnlyMemory<byte> Body, string ContentType = "application/json", string Header = "")
{
    private const string PlainText = "text/plain; charset=utf-8";

    // The form that Prometheus reads (exposition format 0.0.4).
    private const string MetricsText = "text/plain; version=0.0.4; charset=utf-8";

    /// <summary>A path that nothing is known about.</summary>
    public static HttpAnswer NotFound { get; } = Text(404, "404 page not found\n");

    /// <summary>Plain text.</summary>
    public static HttpAnswer Text(int status, string text) => new(status, Encoding.UTF8.GetBytes(text), PlainText);

    /// <summary>The metrics of one server, and those of the process.</summary>
    public static HttpAnswer Metrics(MetricRegistry registry)
    {
        var text = new ArrayBufferWriter<byte>(16 * 1024);
        registry.Write(text, MetricRegistry.Process);
        return new HttpAnswer(200, text.WrittenMemory, MetricsText);
    }
}
