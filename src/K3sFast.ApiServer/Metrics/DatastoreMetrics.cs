using K3sFast.Client;
using K3sFast.Datastore;

namespace K3sFast.ApiServer;

/// <summary>How the datastore is, read when metrics are printed.</summary>
internal sealed class DatastoreMetrics
{
    // The metrics of one page are of one moment; reading the status takes some system calls.
    private static readonly TimeSpan s_shared = TimeSpan.FromMilliseconds(200);

    private readonly IDatastoreMonitor _monitor;
    private readonly Lock _gate = new();
    private DatastoreStatus? _status;
    private long _readAt;

    private DatastoreMetrics(IDatastoreMonitor monitor) => _monitor = monitor;

    private DatastoreStatus Status
    {
        get
        {
            lock (_gate)
            {
                if (_status is not null && Environment.TickCount64 - _readAt < s_shared.TotalMilliseconds)
                    return _status;
                _readAt = Environment.TickCount64;
                return _status = _monitor.ReadStatus();
            }
        }
    }

    /// <summary>Registers them; an engine that tells nothing has none.</summary>
    internal static void Follow(MetricRegistry registry, IDatastore store)
    {
        if (store.Monitor is not { } monitor)
            return;
        var metrics = new DatastoreMetrics(monitor);
        metrics.Gauge(registry, "file_bytes", "Size of the database file.", static status => status.FileBytes);
        metrics.Gauge(registry, "log_bytes", "Size of the write-ahead log's file.", static status => status.LogBytes);
        metrics.Gauge(registry, "unused_bytes", "Bytes of the database file that hold nothing.", static status => status.UnusedBytes);
        metrics.Gauge(registry, "disk_free_bytes", "Bytes that the datastore's file system has left.", static status => status.FreeDiskBytes);
        metrics.Gauge(registry, "disk_reserved_bytes", "Below this many free bytes only deletions and compaction are written.", static status => status.ReservedDiskBytes);
        metrics.Gauge(registry, "full", "1 = creates and updates are refused for want of space.", static status => status.IsFull ? 1 : 0);
        metrics.Gauge(registry, "damaged", "1 = the file is damaged, and reads and writes are refused.", static status => status.Damage is null ? 0 : 1);
        metrics.Counter(registry, "damaged_reads_total", "Reads that met something else than was written.", static status => status.DamagedReads);
        metrics.Gauge(registry, "revision", "The newest revision.", static status => status.CurrentRevision);
        metrics.Gauge(registry, "compact_revision", "The revision up to which history is gone.", static status => status.CompactRevision);
        metrics.Gauge(registry, "compaction_target_revision", "The revision that the compaction under way is to reach; 0 = none is.", static status => status.CompactionTarget);
        metrics.Counter(registry, "compacted_rows_total", "Rows that compaction took away.", static status => status.CompactedRows);
        metrics.Counter(registry, "vacuumed_pages_total", "Pages given back to the file system.", static status => status.VacuumedPages);
        metrics.Counter(registry, "written_pages_total", "Pages written into the log.", static status => status.WrittenPages);
        metrics.Counter(registry, "checkpoints_total", "Times that the log was copied into the database.", static status => status.Checkpoints);
        metrics.Gauge(registry, "queued_writes", "Writes that wait for a group.", static status => status.QueuedAppends);
        metrics.Counter(registry, "refused_busy_total", "Writes refused because too many waited.", static status => status.RefusedBusy);
        metrics.Counter(registry, "refused_full_total", "Writes refused for want of space.", static status => status.RefusedFull);
        metrics.Histogram(registry, "commit_duration_seconds", "Time to write and flush a group of changes.", static status => status.CommitSeconds);
        metrics.Histogram(registry, "group_changes", "Changes that were flushed together.", static status => status.GroupSizes);
        metrics.Histogram(registry, "compaction_step_duration_seconds", "Time that a step of compaction keeps the writer.", static status => status.CompactionSeconds);
        metrics.Histogram(registry, "vacuum_step_duration_seconds", "Time that a step of giving pages back keeps the writer.", static status => status.VacuumSeconds);
        metrics.Histogram(registry, "maintenance_flush_duration_seconds", "Time of the steps of either that end with a flush.", static status => status.MaintenanceFlushSeconds);
        metrics.Histogram(registry, "log_wait_duration_seconds", "Time that the writer waits until a log that is too long is copied.", static status => status.LogWaitSeconds);
    }

    /// <summary>Why creates and updates are refused for want of space; null = they are not. For /readyz.</summary>
    internal static string? SpaceComplaint(IDatastore store) =>
        store.Monitor?.ReadStatus() is { IsFull: true } status
            ? $"database space exceeded: {status.FreeDiskBytes} bytes are free, {status.ReservedDiskBytes} are reserved; creates and updates are refused"
            : null;

    /// <summary>Damage of the store, or why its newest write failed; null = neither. For /readyz.</summary>
    internal static string? Complaint(IDatastore store) =>
        store.Monitor?.ReadStatus() is not { } status ? null : status.Damage ?? (status.WriteFailure is { } failure ? $"the newest write failed: {failure}" : null);

    private void Gauge(MetricRegistry registry, string name, string help, Func<DatastoreStatus, long> read) => Add(registry, name, "gauge", help, read);

    private void Counter(MetricRegistry registry, string name, string help, Func<DatastoreStatus, long> read) => Add(registry, name, "counter", help, read);

    private void Add(MetricRegistry registry, string name, string type, string help, Func<DatastoreStatus, long> read)
    {
        var full = $"k3sfast_datastore_{name}";
        registry.Collected(full, type, help, text => text.Sample(full, "", read(Status)));
    }

    private void Histogram(MetricRegistry registry, string name, string help, Func<DatastoreStatus, Distribution> read)
    {
        var full = $"k3sfast_datastore_{name}";
        registry.Collected(full, "histogram", help, text =>
        {
            var distribution = read(Status);
            text.Histogram(full, distribution.Bounds, distribution.Counts, distribution.Sum);
        });
    }
}
