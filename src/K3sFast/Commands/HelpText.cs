using System.Text;
using K3sFast.Configuration;

namespace K3sFast.Commands;

/// <summary>Help pages, made from <see cref="FlagTable"/>.</summary>
internal static class HelpText
{
    public static string Overview() => $"""
        NAME:
           k3sfast - Kubernetes, but small, simple and fast

        USAGE:
           k3sfast [global options] command [command options] [arguments...]

        VERSION:
           {ProductVersion.Text}

        COMMANDS:
           server   Run management server
           agent    Run node agent
           token    Manage bootstrap tokens
           kubectl  Run kubectl
           crictl   Run crictl
           ctr      Run ctr
           check-config  Tell what this machine lacks of a node's needs
           cleanup  Remove what a stopped node left in the kernel: pods, containers, mounts, links, rules, namespaces, cgroups
           version  Print the version
           help     Shows a list of commands

        GLOBAL OPTIONS:
           --help, -h     show help
           --version, -v  print the version

        """;

    /// <summary>Flags of <c>server</c>, hidden ones left out; those that do nothing yet are marked so.</summary>
    public static string Server() => Page("server", "Run management server", FlagTable.ServerFlags);

    /// <summary>Flags of <c>agent</c>, in the same way.</summary>
    public static string Agent() => Page("agent", "Run node agent", FlagTable.AgentFlags);

    private static string Page(string command, string what, FlagSet flags)
    {
        var text = new StringBuilder($"""
            NAME:
               k3sfast {command} - {what}

            USAGE:
               k3sfast {command} [OPTIONS]

            OPTIONS:

            """);
        foreach (var flag in flags.Rows)
        {
            if (flag.IsHidden)
                continue;
            text.Append("   --").Append(flag.Name);
            if (flag.Short.Length > 0)
                text.Append(", -").Append(flag.Short);
            if (flag.Kind != FlagKind.Switch)
                text.Append(" value");
            text.Append("  (").Append(flag.Group).Append(") ").Append(flag.Help);
            if (flag.State != FlagState.Works)
                text.Append(" (not yet in this version)");
            if (flag.Default.Length > 0)
                text.Append(" (default: ").Append(flag.Default).Append(')');
            if (flag.Environment.Length > 0)
                text.Append(" [$").AppendJoin(", $", flag.Environment).Append(']');
            text.Append('\n');
        }
        text.Append("   --help, -h  show help\n");
        return text.ToString();
    }
}
