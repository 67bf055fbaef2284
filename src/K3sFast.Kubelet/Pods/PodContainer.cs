using System.Text;
using k8s.Models;

namespace K3sFast.Kubelet.Pods;

/// <summary>The part that a container plays in its pod.</summary>
internal enum ContainerRole
{
    /// <summary>Runs to its end before the next one is started.</summary>
    Init,

    /// <summary>An init container that keeps running beside the pod (restartPolicy Always).</summary>
    Sidecar,

    /// <summary>One of the pod's own containers.</summary>
    Main,

    /// <summary>Added to a running pod, never restarted.</summary>
    Ephemeral,
}

/// <summary>A container of a pod's spec with its role. <paramref name="Target"/> is an ephemeral container's target, or null.</summary>
internal sealed record PodContainer(V1Container Spec, ContainerRole Role, string? Target = null)
{
    public string Name => Spec.Name;

    public bool IsInit => Role is ContainerRole.Init or ContainerRole.Sidecar;

    /// <summary>Path of the container in its pod, as events carry it.</summary>
    public string FieldPath => Role switch
    {
        ContainerRole.Main => $"spec.containers{{{Name}}}",
        ContainerRole.Ephemeral => $"spec.ephemeralContainers{{{Name}}}",
        _ => $"spec.initContainers{{{Name}}}",
    };

    /// <summary>Identity of what runs: a container with another value in the same pod is another program and is started anew. As upstream,
    /// name and image only: nothing else of a container's spec can change while it should keep running.</summary>
    public string Hash { get; } = ComputeHash(Spec);

    /// <summary>All containers of a pod: init and sidecar containers in order, then the pod's own, then ephemeral ones.</summary>
    public static IReadOnlyList<PodContainer> Of(V1Pod pod)
    {
        var all = new List<PodContainer>();
        foreach (var spec in pod.Spec.InitContainers ?? []) all.Add(new PodContainer(spec, spec.RestartPolicy == "Always" ? ContainerRole.Sidecar : ContainerRole.Init));
        foreach (var spec in pod.Spec.Containers ?? []) all.Add(new PodContainer(spec, ContainerRole.Main));
        foreach (var spec in pod.Spec.EphemeralContainers ?? []) all.Add(new PodContainer(AsContainer(spec), ContainerRole.Ephemeral, spec.TargetContainerName));
        return all;
    }

    /// <summary>What the restart policy of the pod and of the container say after an exit with <paramref name="exitCode"/>.</summary>
    public bool RestartsAfter(int exitCode, string podRestartPolicy) => Role switch
    {
        ContainerRole.Ephemeral => false,
        ContainerRole.Sidecar => true,
        _ => RestartRule(exitCode) ?? (Spec.RestartPolicy ?? podRestartPolicy) switch
        {
            "Never" => false,
            "OnFailure" => exitCode != 0,
            // An init container that succeeded is done, whatever the policy.
            _ => Role != ContainerRole.Init || exitCode != 0,
        },
    };

    // Rules by exit code come before the policy.
    private bool? RestartRule(int exitCode)
    {
        foreach (var rule in Spec.RestartPolicyRules ?? [])
        {
            if (rule.Action != "Restart" || rule.ExitCodes is not { } codes) continue;
            var isListed = codes.Values?.Contains(exitCode) ?? false;
            if (codes.OperatorProperty == "In" ? isListed : !isListed) return true;
        }
        return null;
    }

    private static string ComputeHash(V1Container spec) =>
        Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes($"{spec.Name}\0{spec.Image}")).AsSpan(0, 4));

    private static V1Container AsContainer(V1EphemeralContainer spec) => new()
    {
        Name = spec.Name,
        Image = spec.Image,
        Command = spec.Command,
        Args = spec.Args,
        Env = spec.Env,
        EnvFrom = spec.EnvFrom,
        ImagePullPolicy = spec.ImagePullPolicy,
        Lifecycle = spec.Lifecycle,
        Resources = spec.Resources,
        SecurityContext = spec.SecurityContext,
        Stdin = spec.Stdin,
        StdinOnce = spec.StdinOnce,
        Tty = spec.Tty,
        TerminationMessagePath = spec.TerminationMessagePath,
        TerminationMessagePolicy = spec.TerminationMessagePolicy,
        VolumeMounts = spec.VolumeMounts,
        WorkingDir = spec.WorkingDir,
    };
}
