using System.Buffers;
using System.Text.Json;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>Audit events to a webhook, as an EventList of audit.k8s.io/v1. Whatever goes wrong is tried again with growing delay, a few times.</summary>
internal sealed class AuditWebhook(WebhookClient client, string path, ILogger logger) : IAuditOutput
{
    public string Plugin => "webhook";

    public byte[] Encode(AuditEvent e, AuditStages stage, DateTimeOffset now, bool hasObjects) => AuditEventWriter.Json(e, stage, now, hasObjects);

    public async ValueTask<bool> WriteAsync(IReadOnlyList<byte[]> events, CancellationToken cancel)
    {
        try
        {
            await client.PostAsync(ListOf(events), cancel).ConfigureAwait(false);
            return true;
        }
        catch (WebhookException error)
        {
            Log.AuditFailed(logger, path, events.Count, error.Message);
            return false;
        }
    }

    public ValueTask DisposeAsync()
    {
        client.Dispose();
        return default;
    }

    private static byte[] ListOf(IReadOnlyList<byte[]> events)
    {
        var output = new ArrayBufferWriter<byte>(256 + events.Sum(static e => e.Length + 1));
        using (var json = new Utf8JsonWriter(output, new JsonWriterOptions { SkipValidation = true }))
        {
            json.WriteStartObject();
            json.WriteString("kind"u8, "EventList"u8);
            json.WriteString("apiVersion"u8, "audit.k8s.io/v1"u8);
            json.WriteStartObject("metadata"u8);
            json.WriteEndObject();
            json.WriteStartArray("items"u8);
            foreach (var e in events)
                json.WriteRawValue(e, skipInputValidation: true);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return output.WrittenSpan.ToArray();
    }
}
