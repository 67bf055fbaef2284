using System.Net;
using Grpc.Core;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Probes;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>Runs postStart and preStop hooks: a command in the container, a HTTP request, or a wait.</summary>
internal sealed class LifecycleHooks(CriClient cri, HttpProber http, TimeProvider time)
{
    // Upstream gives an HTTP hook this long.
    private static readonly TimeSpan s_httpTimeout = TimeSpan.FromSeconds(30);

    /// <summary>Runs the hook to its end; throws <see cref="HookException"/> when it fails.</summary>
    public async Task RunAsync(V1LifecycleHandler hook, string containerId, V1Container spec, string podIP, CancellationToken cancellationToken)
    {
        if (hook.Exec is { } exec)
        {
            ExecSyncResponse result;
            try
            {
                result = await cri.ExecSyncAsync(containerId, exec.Command ?? [], TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
            }
            catch (RpcException e)
            {
                throw new HookException(e.Status.Detail);
            }
            if (result.ExitCode != 0) throw new HookException($"command '{string.Join(' ', exec.Command ?? [])}' exited with {result.ExitCode}: {result.Stderr.ToStringUtf8()}");
        }
        else if (hook.HttpGet is { } get)
        {
            var (isSuccess, message) = await http.GetAsync(get, spec, podIP, s_httpTimeout, cancellationToken).ConfigureAwait(false);
            if (!isSuccess) throw new HookException(message);
        }
        else if (hook.Sleep is { } sleep)
        {
            await Task.Delay(TimeSpan.FromSeconds(sleep.Seconds), time, cancellationToken).ConfigureAwait(false);
        }
    }
}

/// <summary>A hook failed; the message says how.</summary>
internal sealed class HookException(string message) : Exception(message);
