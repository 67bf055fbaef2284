namespace K3sFast.ApiServer;

/// <summary>How events reach a back end.</summary>
public enum AuditMode
{
    /// <summary>Collected and sent by a loop of their own; a full buffer loses events, which is logged.</summary>
    Batch,

    /// <summary>The request waits until its event is written.</summary>
    Blocking,

    /// <summary>As <see cref="Blocking"/>, and a request whose receipt cannot be written is refused.</summary>
    BlockingStrict,
}

/// <summary>What both back ends have in common.</summary>
public sealed record AuditDelivery
{
    /// <summary>How events reach the back end.</summary>
    public AuditMode Mode { get; init; }

    /// <summary>Events that may wait.</summary>
    public int BufferSize { get; init; } = 10_000;

    /// <summary>Events in one batch.</summary>
    public int MaxBatchEvents { get; init; } = 400;

    /// <summary>How long a batch is waited for to be full; zero = not at all.</summary>
    public TimeSpan MaxBatchWait { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Batches per second; 0 = no limit.</summary>
    public double ThrottleQps { get; init; }

    /// <summary>Batches that may go at once.</summary>
    public int ThrottleBurst { get; init; } = 15;

    /// <summary>Long events lose their objects, longer ones are lost.</summary>
    public bool Truncates { get; init; }

    /// <summary>Longest event when <see cref="Truncates"/>.</summary>
    public int MaxEventBytes { get; init; } = 100 * 1024;

    /// <summary>Longest batch when <see cref="Truncates"/>.</summary>
    public int MaxBatchBytes { get; init; } = 10 * 1024 * 1024;
}

/// <summary>Which requests are recorded, and where. Nothing is when there is no policy.</summary>
public sealed record AuditOptions
{
    /// <summary>The file of --audit-policy-file; "" = nothing is audited.</summary>
    public string PolicyFile { get; init; } = "";

    /// <summary>The log file; "-" = standard output, "" = none.</summary>
    public string LogPath { get; init; } = "";

    /// <summary>json, or legacy: a line of words.</summary>
    public string LogFormat { get; init; } = "json";

    /// <summary>Rotated files are removed after so many days; 0 = never.</summary>
    public int LogMaxAgeDays { get; init; } = 366;

    /// <summary>So many rotated files are kept; 0 = all.</summary>
    public int LogMaxBackups { get; init; } = 100;

    /// <summary>The file is rotated before it grows beyond so many megabytes.</summary>
    public int LogMaxMegabytes { get; init; } = 100;

    /// <summary>Rotated files are compressed.</summary>
    public bool LogCompresses { get; init; }

    /// <summary>How events reach the log.</summary>
    public AuditDelivery Log { get; init; } = new() { Mode = AuditMode.Blocking, MaxBatchEvents = 1, MaxBatchWait = TimeSpan.Zero };

    /// <summary>A webhook that takes events, as a kubeconfig file; "" = none.</summary>
    public string WebhookFile { get; init; } = "";

    /// <summary>The first pause before a failed batch is sent again.</summary>
    public TimeSpan WebhookInitialBackoff { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How events reach the webhook.</summary>
    public AuditDelivery Webhook { get; init; } = new() { ThrottleQps = 10 };
}
