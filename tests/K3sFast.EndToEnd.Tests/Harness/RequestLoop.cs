using System.Diagnostics;

namespace K3sFast.EndToEnd.Tests;

/// <summary>A client on the node that makes one request after the other, whatever happens to the server.</summary>
internal sealed class RequestLoop : IDisposable
{
    private readonly string _go, _made;
    private Process? _process;

    private RequestLoop(ServerNode node) => (_go, _made) = (Path.Combine(node.Folder, "go"), Path.Combine(node.Folder, "made"));

    /// <summary>Begins to ask for http://ADDRESS/.</summary>
    internal static async Task<RequestLoop> StartAsync(ServerNode node, string address)
    {
        var loop = new RequestLoop(node);
        await File.WriteAllTextAsync(loop._go, "");
        await File.WriteAllTextAsync(loop._made, "0");
        // Until the file is gone; prints how many were made and how many failed.
        loop._process = node.StartCommand(
            "sh", "-c",
            $"n=0; f=0; while [ -e {loop._go} ]; do n=$((n+1)); echo $n >{loop._made}; curl -s -m 30 -o /dev/null http://{address}/ || f=$((f+1)); sleep 0.01; done; echo $n $f");
        return loop;
    }

    /// <summary>Waits for so many more requests.</summary>
    internal async Task UntilMadeAsync(int more)
    {
        var count = await ReadAsync();
        await Eventually.GetAsync(ReadAsync, now => now >= count + more, "further requests");
    }

    /// <summary>Stops; answers how many requests failed.</summary>
    internal async Task<int> EndAsync()
    {
        File.Delete(_go);
        return int.Parse((await _process!.StandardOutput.ReadToEndAsync()).Trim().Split(' ')[1]);
    }

    public void Dispose()
    {
        File.Delete(_go);
        _process?.Dispose();
    }

    private async Task<int> ReadAsync() => int.Parse("0" + (await File.ReadAllTextAsync(_made)).Trim());
}
