using K3sFast.Configuration;
using K3sFast.Server;

namespace K3sFast.Commands;

/// <summary><c>k3sfast cleanup</c>: takes the flags and config file of <c>server</c> or <c>agent</c>, and removes what that node left in the kernel.</summary>
/// <remarks>With <c>--purge</c> as first word its files too. The killall and uninstall scripts are built on it. Run it in the node's network namespace.</remarks>
internal static class CleanupCommand
{
    public static int Run(string[] arguments, Func<string, string?> environment, TextWriter output, TextWriter error)
    {
        try
        {
            if (!Environment.IsPrivilegedProcess)
                throw new ConfigurationException("k3sfast cleanup must run as root");
            // An address is of no use here, and a machine whose network is gone must still be cleaned up.
            var isPurge = arguments is ["--purge", ..];
            var flags = FlagValues.Load([.. isPurge ? arguments[1..] : arguments, "--node-ip=127.0.0.1"], environment, FlagTable.AnyFlags);
            var cleanup = new NodeCleanup(NodeConfig.From(flags), flags.Text("write-kubeconfig"), output);
            return cleanup.Run() && (!isPurge || cleanup.Purge()) ? 0 : 1;
        }
        catch (ConfigurationException e)
        {
            return Fatal.Report(error, e.Message);
        }
    }
}
