using System.Collections.Concurrent;
using System.Text;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Logs;

namespace K3sFast.Kubelet.Pods;

/// <summary>
/// Reads what the runtime knows about one pod. Ended containers and the addresses of ready sandboxes never change, so they are asked for once;
/// a sync of a settled pod costs two lists and one status per running container.
/// </summary>
internal sealed class PodRuntimeReader(CriClient cri)
{
    // Upstream's bounds on a termination message: of one container, and of the log's tail that stands in for it.
    private const int MaxMessageBytes = 4096;
    private const int MaxLogTailBytes = 2048;
    private const int MaxLogTailLines = 80;

    private readonly ConcurrentDictionary<string, ContainerRecord> _ended = new();
    private readonly ConcurrentDictionary<string, IReadOnlyList<string>> _addresses = new();

    public async Task<PodRuntime> ReadAsync(string podUid, CancellationToken cancellationToken)
    {
        var sandboxesTask = cri.ListSandboxesAsync(podUid, cancellationToken);
        var containers = await cri.ListContainersAsync(podUid, cancellationToken).ConfigureAwait(false);
        var sandboxes = await sandboxesTask.ConfigureAwait(false);

        var sandboxRecords = new List<SandboxRecord>(sandboxes.Count);
        foreach (var sandbox in sandboxes)
        {
            var isReady = sandbox.State == PodSandboxState.SandboxReady;
            var addresses = isReady ? await AddressesAsync(sandbox.Id, cancellationToken).ConfigureAwait(false) : [];
            sandboxRecords.Add(new SandboxRecord(sandbox.Id, sandbox.Metadata.Attempt, isReady, ContainerRecord.Time(sandbox.CreatedAt), addresses));
        }
        sandboxRecords.Sort((a, b) => b.CreatedAt.CompareTo(a.CreatedAt));

        var records = new List<ContainerRecord>(containers.Count);
        foreach (var container in containers)
        {
            if (container.State == ContainerState.ContainerExited && _ended.TryGetValue(container.Id, out var known))
            {
                records.Add(known);
                continue;
            }
            if (await cri.ContainerStatusAsync(container.Id, cancellationToken).ConfigureAwait(false) is not { } status) continue;
            var record = ContainerRecord.From(status, container.PodSandboxId);
            if (record.IsExited)
            {
                record = record with { Message = TerminationMessage(record) };
                _ended[record.Id] = record;
            }
            records.Add(record);
        }
        records.Sort((a, b) => b.CreatedAt.CompareTo(a.CreatedAt));
        return new PodRuntime(sandboxRecords, records);
    }

    /// <summary>Forgets what is kept about a pod that is gone.</summary>
    public void Forget(PodRuntime runtime)
    {
        foreach (var container in runtime.Containers) _ended.TryRemove(container.Id, out _);
        foreach (var sandbox in runtime.Sandboxes) _addresses.TryRemove(sandbox.Id, out _);
    }

    /// <summary>Forgets one container that was removed.</summary>
    public void Forget(ContainerRecord container) => _ended.TryRemove(container.Id, out _);

    private async Task<IReadOnlyList<string>> AddressesAsync(string sandboxId, CancellationToken cancellationToken)
    {
        if (_addresses.TryGetValue(sandboxId, out var known)) return known;
        if (await cri.SandboxStatusAsync(sandboxId, cancellationToken).ConfigureAwait(false) is not { Network: { } network } status) return [];
        if (status.Linux?.Namespaces?.Options?.Network == NamespaceMode.Node) return _addresses[sandboxId] = [];
        if (string.IsNullOrEmpty(network.Ip)) return [];
        return _addresses[sandboxId] = [network.Ip, .. network.AdditionalIps.Select(ip => ip.Ip)];
    }

    private static string TerminationMessage(ContainerRecord container)
    {
        var message = container.Message;
        if (container.TerminationMessageHostPath.Length > 0)
        {
            try
            {
                message += ReadStart(container.TerminationMessageHostPath, MaxMessageBytes);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return $"Error on reading termination log {container.TerminationMessageHostPath}: {e.Message}";
            }
        }
        if (message.Length > 0 || container.ExitCode == 0 || container.TerminationMessagePolicy != "FallbackToLogsOnError") return message;
        try
        {
            return CriLogTail.Read(container.LogPath, MaxLogTailLines, MaxLogTailBytes);
        }
        catch (IOException e)
        {
            return $"Error on reading termination message from logs: {e.Message}";
        }
    }

    private static string ReadStart(string path, int maxBytes)
    {
        if (!File.Exists(path)) return "";
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var buffer = new byte[maxBytes];
        var length = file.ReadAtLeast(buffer, maxBytes, throwOnEndOfStream: false);
        return Encoding.UTF8.GetString(buffer, 0, length);
    }
}
