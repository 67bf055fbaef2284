using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Audit events as bytes: audit.k8s.io/v1 JSON, or the old line of words.</summary>
internal static class AuditEventWriter
{
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    /// <summary>One event, without a line end.</summary>
    internal static byte[] Json(AuditEvent e, AuditStages stage, DateTimeOffset now, bool hasObjects = true)
    {
        var output = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(output, s_options))
        {
            json.WriteStartObject();
            json.WriteString("kind"u8, "Event"u8);
            json.WriteString("apiVersion"u8, "audit.k8s.io/v1"u8);
            json.WriteString("level"u8, e.Verdict.Level.ToString());
            json.WriteString("auditID"u8, e.Id);
            json.WriteString("stage"u8, stage.ToString());
            json.WriteString("requestURI"u8, e.RequestUri);
            json.WriteString("verb"u8, e.Verb);
            json.WritePropertyName("user"u8);
            WriteUser(json, e.User);
            if (e.Impersonated is not null)
            {
                json.WritePropertyName("impersonatedUser"u8);
                WriteUser(json, e.Impersonated);
            }
            if (e.ImpersonationConstraint.Length > 0)
            {
                json.WriteStartObject("authenticationMetadata"u8);
                json.WriteString("impersonationConstraint"u8, e.ImpersonationConstraint);
                json.WriteEndObject();
            }
            json.WriteStartArray("sourceIPs"u8);
            foreach (var address in e.SourceAddresses)
                json.WriteStringValue(address);
            json.WriteEndArray();
            Text(json, "userAgent"u8, e.UserAgent);
            WriteReference(json, e);
            WriteStatus(json, e);
            if (hasObjects)
            {
                Raw(json, "requestObject"u8, e.RequestObject);
                Raw(json, "responseObject"u8, e.ResponseObject);
            }
            json.WriteString("requestReceivedTimestamp"u8, Time(e.Received));
            json.WriteString("stageTimestamp"u8, Time(now));
            WriteAnnotations(json, e, isTruncated: !hasObjects);
            json.WriteEndObject();
        }
        return output.WrittenSpan.ToArray();
    }

    /// <summary>The old format's line, without its end.</summary>
    internal static string Line(AuditEvent e, AuditStages stage)
    {
        var user = e.User?.Name is { Length: > 0 } name ? name : "<none>";
        var groups = e.User is { Name.Length: > 0, Groups.Count: > 0 } ? Quoted(e.User.Groups) : "<none>";
        var actsAs = e.Impersonated?.Name ?? "<self>";
        var actsAsGroups = e.Impersonated is { } other ? Quoted(other.Groups) : "<lookup>";
        var ns = e.Namespace.Length > 0 ? e.Namespace : "<none>";
        var response = e.ResponseCode == 0 ? "<deferred>" : e.ResponseCode.ToString(CultureInfo.InvariantCulture);
        var address = e.SourceAddresses.Count > 0 ? e.SourceAddresses[0] : "<unknown>";
        var time = e.Received.ToString("yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'", CultureInfo.InvariantCulture);
        return $"{time} AUDIT: id={Q(e.Id)} stage={Q(stage.ToString())} ip={Q(address)} method={Q(e.Verb)} user={Q(user)} groups={Q(groups)} as={Q(actsAs)} asgroups={Q(actsAsGroups)} "
            + $"user-agent={Q(e.UserAgent)} namespace={Q(ns)} uri={Q(e.RequestUri)} response=\"{response}\"";
    }

    private static void WriteUser(Utf8JsonWriter json, UserInfo? user)
    {
        json.WriteStartObject();
        if (user is not null)
        {
            Text(json, "username"u8, user.Name);
            Text(json, "uid"u8, user.Uid);
            UserInfoJson.WriteGroups(json, "groups"u8, user);
            UserInfoJson.WriteExtra(json, user);
        }
        json.WriteEndObject();
    }

    private static void WriteReference(Utf8JsonWriter json, AuditEvent e)
    {
        if (!e.IsResource)
            return;
        json.WriteStartObject("objectRef"u8);
        Text(json, "resource"u8, e.Resource);
        Text(json, "namespace"u8, e.Namespace);
        Text(json, "name"u8, e.Name);
        Text(json, "uid"u8, e.Uid);
        Text(json, "apiGroup"u8, e.Group);
        Text(json, "apiVersion"u8, e.Version);
        Text(json, "resourceVersion"u8, e.ResourceVersion);
        Text(json, "subresource"u8, e.Subresource);
        json.WriteEndObject();
    }

    private static void WriteStatus(Utf8JsonWriter json, AuditEvent e)
    {
        if (e.ResponseCode == 0 && e.ResponseStatus is null)
            return;
        json.WriteStartObject("responseStatus"u8);
        json.WriteStartObject("metadata"u8);
        json.WriteEndObject();
        if (e.ResponseStatus is { } status)
        {
            using var document = JsonDocument.Parse(status);
            foreach (var name in (ReadOnlySpan<string>)["status", "message", "reason", "details"])
            {
                if (!document.RootElement.TryGetProperty(name, out var value))
                    continue;
                json.WritePropertyName(name);
                value.WriteTo(json);
            }
        }
        json.WriteNumber("code"u8, e.ResponseCode);
        json.WriteEndObject();
    }

    private static void WriteAnnotations(Utf8JsonWriter json, AuditEvent e, bool isTruncated)
    {
        if (e.Annotations.Count == 0 && !isTruncated)
            return;
        json.WriteStartObject("annotations"u8);
        if (isTruncated)
            json.WriteString("audit.k8s.io/truncated"u8, "true"u8);
        foreach (var (key, value) in e.Annotations.OrderBy(static entry => entry.Key, StringComparer.Ordinal))
            json.WriteString(key, value);
        json.WriteEndObject();
    }

    private static void Raw(Utf8JsonWriter json, ReadOnlySpan<byte> name, byte[]? value)
    {
        if (value is null)
            return;
        json.WritePropertyName(name);
        json.WriteRawValue(value, skipInputValidation: true);
    }

    private static void Text(Utf8JsonWriter json, ReadOnlySpan<byte> name, string value)
    {
        if (value.Length > 0)
            json.WriteString(name, value);
    }

    private static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);

    private static string Quoted(IEnumerable<string> values) => string.Join(',', values.Select(static value => GoText.Quote(value)));

    private static string Q(string text) => GoText.Quote(text);
}
