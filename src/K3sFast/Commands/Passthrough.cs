using System.Collections;
using K3sFast.Configuration;
using K3sFast.Interop.Processes;

namespace K3sFast.Commands;

/// <summary>Becomes the system's kubectl, ctr or crictl, pointed at this node.</summary>
internal static class Passthrough
{
    public static bool IsTool(string name) => name is "kubectl" or "ctr" or "crictl";

    /// <summary>execve(2): does not return when the tool is installed.</summary>
    public static int Run(string tool, string[] arguments, Func<string, string?> environment, TextWriter error)
    {
        var path = FindOnPath(tool, environment("PATH"));
        if (path is null)
            return Fatal.Report(error, $"{tool} is not installed: {Advice(tool)}");
        var variables = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables())
            variables[(string)variable.Key] = (string?)variable.Value ?? "";
        List<string> words = [tool];
        AddDefaults(tool, variables, words);
        words.AddRange(arguments);
        try
        {
            ChildProcess.Replace(path, words, [.. variables.Select(static variable => $"{variable.Key}={variable.Value}")]);
            return 1;
        }
        catch (IOException e)
        {
            return Fatal.Report(error, e.Message);
        }
    }

    /// <summary>What the tool is told when the user did not: kubeconfig, socket, namespace.</summary>
    internal static void AddDefaults(string tool, Dictionary<string, string> environment, List<string> words)
    {
        var run = environment.GetValueOrDefault("K3SFAST_RUN_DIR")
            ?? NodePaths.DefaultRunFor(environment.GetValueOrDefault("K3S_DATA_DIR") ?? FlagTable.DefaultDataDir);
        var socket = Path.Combine(run, "containerd", "containerd.sock");
        switch (tool)
        {
            case "kubectl":
                environment.TryAdd("KUBECONFIG", FlagTable.DefaultKubeconfig);
                break;
            case "ctr":
                environment.TryAdd("CONTAINERD_ADDRESS", socket);
                environment.TryAdd("CONTAINERD_NAMESPACE", "k8s.io");
                break;
            default:
                environment.TryAdd("CONTAINER_RUNTIME_ENDPOINT", "unix://" + socket);
                environment.TryAdd("IMAGE_SERVICE_ENDPOINT", "unix://" + socket);
                break;
        }
    }

    /// <summary>The first executable of that name on <paramref name="path"/> that is not ourselves under the tool's name, or null.</summary>
    internal static string? FindOnPath(string tool, string? path)
    {
        var self = Environment.ProcessPath;
        foreach (var directory in (path ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").Split(':', StringSplitOptions.RemoveEmptyEntries))
        {
            var candidate = Path.Combine(directory, tool);
            if (!File.Exists(candidate) || (File.GetUnixFileMode(candidate) & (UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute)) == 0)
                continue;
            var target = File.ResolveLinkTarget(candidate, returnFinalTarget: true)?.FullName ?? candidate;
            if (target != self)
                return candidate;
        }
        return null;
    }

    private static string Advice(string tool) => tool switch
    {
        "kubectl" => "install it from https://kubernetes.io/docs/tasks/tools/ or with your distribution's package (Debian: kubernetes-client)",
        "ctr" => "it comes with containerd (Debian: apt-get install containerd)",
        _ => "install it from https://github.com/kubernetes-sigs/cri-tools",
    };
}
