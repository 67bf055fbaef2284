using System.Globalization;
using K3sFast.ApiServer;
using K3sFast.Configuration;

namespace K3sFast.Server;

/// <summary>kube-apiserver's --audit-* flags.</summary>
internal static class AuditFlags
{
    private const string JsonVersion = "audit.k8s.io/v1";

    /// <exception cref="ConfigurationException">A value is wrong.</exception>
    public static AuditOptions Read(ComponentArguments arguments)
    {
        var format = arguments.Text("audit-log-format", "json");
        if (format is not ("json" or "legacy"))
            throw new ConfigurationException($"invalid audit log format {format}, allowed formats are \"legacy,json\"");
        foreach (var name in (string[])["audit-log-version", "audit-webhook-version"])
        {
            if (arguments.Text(name, JsonVersion) != JsonVersion)
                throw new ConfigurationException($"invalid group version for {name}, allowed versions are [\"{JsonVersion}\"]");
        }
        var defaults = new AuditOptions();
        return new()
        {
            PolicyFile = arguments.Text("audit-policy-file"),
            LogPath = arguments.Text("audit-log-path"),
            LogFormat = format,
            LogMaxAgeDays = arguments.Number("audit-log-maxage", defaults.LogMaxAgeDays, 0, int.MaxValue),
            LogMaxBackups = arguments.Number("audit-log-maxbackup", defaults.LogMaxBackups, 0, int.MaxValue),
            LogMaxMegabytes = arguments.Number("audit-log-maxsize", defaults.LogMaxMegabytes, 0, 1024 * 1024),
            LogCompresses = arguments.Switch("audit-log-compress", false),
            Log = Delivery(arguments, "log", defaults.Log),
            WebhookFile = arguments.Text("audit-webhook-config-file"),
            WebhookInitialBackoff = arguments.Duration("audit-webhook-initial-backoff", arguments.Duration("audit-webhook-batch-initial-backoff", defaults.WebhookInitialBackoff)),
            Webhook = Delivery(arguments, "webhook", defaults.Webhook),
        };
    }

    private static AuditDelivery Delivery(ComponentArguments arguments, string backend, AuditDelivery defaults)
    {
        var prefix = $"audit-{backend}-";
        var mode = arguments.Text(prefix + "mode", defaults.Mode == AuditMode.Batch ? "batch" : "blocking");
        var delivery = new AuditDelivery
        {
            Mode = mode switch
            {
                "batch" => AuditMode.Batch,
                "blocking" => AuditMode.Blocking,
                "blocking-strict" => AuditMode.BlockingStrict,
                _ => throw new ConfigurationException($"invalid audit {backend} mode {mode}, allowed modes are \"batch,blocking,blocking-strict\""),
            },
            BufferSize = arguments.Number(prefix + "batch-buffer-size", defaults.BufferSize, 1, 10_000_000),
            MaxBatchEvents = arguments.Number(prefix + "batch-max-size", defaults.MaxBatchEvents, 1, 1_000_000),
            MaxBatchWait = arguments.Duration(prefix + "batch-max-wait", defaults.MaxBatchWait),
            ThrottleQps = Qps(arguments, prefix, defaults),
            ThrottleBurst = arguments.Number(prefix + "batch-throttle-burst", defaults.ThrottleBurst, 1, 1_000_000),
            Truncates = arguments.Switch(prefix + "truncate-enabled", false),
            MaxEventBytes = arguments.Number(prefix + "truncate-max-event-size", defaults.MaxEventBytes, 1, int.MaxValue),
            MaxBatchBytes = arguments.Number(prefix + "truncate-max-batch-size", defaults.MaxBatchBytes, 1, int.MaxValue),
        };
        if (delivery.Truncates && delivery.MaxBatchBytes < delivery.MaxEventBytes)
        {
            throw new ConfigurationException(
                $"invalid audit truncate {backend} max batch size {delivery.MaxBatchBytes}, must be greater than max event size ({delivery.MaxEventBytes})");
        }
        return delivery;
    }

    // Upstream throttles the webhook by default and the log not at all.
    private static double Qps(ComponentArguments arguments, string prefix, AuditDelivery defaults)
    {
        var text = arguments.Text(prefix + "batch-throttle-qps");
        var qps = defaults.ThrottleQps > 0 ? defaults.ThrottleQps : 10;
        if (text.Length > 0 && (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out qps) || qps <= 0))
            throw new ConfigurationException($"invalid audit batch throttle QPS {text}, must be a positive number");
        return arguments.Switch(prefix + "batch-throttle-enable", defaults.ThrottleQps > 0) ? qps : 0;
    }
}
