namespace K3sFast.ApiServer;

/// <summary>Where audit events end: a file, or somebody who takes them.</summary>
/// <remarks>Any thread.</remarks>
internal interface IAuditOutput : IAsyncDisposable
{
    /// <summary>Upstream's name of this kind of output, for metrics.</summary>
    string Plugin { get; }

    /// <summary>The event as this output wants it.</summary>
    byte[] Encode(AuditEvent e, AuditStages stage, DateTimeOffset now, bool hasObjects);

    /// <summary>False when the events could not be written; that is logged.</summary>
    ValueTask<bool> WriteAsync(IReadOnlyList<byte[]> events, CancellationToken cancel);
}
