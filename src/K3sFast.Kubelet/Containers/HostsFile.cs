using System.Text;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>The <c>/etc/hosts</c> that containers of a pod see, unless they mount their own.</summary>
internal static class HostsFile
{
    /// <summary>Writes the file of a pod; one of a host network pod is the node's, with the aliases added.</summary>
    public static void Write(string path, V1Pod pod, PodContext context, string nodeHostsPath)
    {
        var text = new StringBuilder();
        if (pod.Spec.HostNetwork == true)
        {
            text.Append("# Kubernetes-managed hosts file (host network).\n");
            if (File.Exists(nodeHostsPath)) text.Append(File.ReadAllText(nodeHostsPath));
        }
        else
        {
            text.Append("# Kubernetes-managed hosts file.\n");
            text.Append("127.0.0.1\tlocalhost\n");
            text.Append("::1\tlocalhost ip6-localhost ip6-loopback\n");
            text.Append("fe00::0\tip6-localnet\n");
            text.Append("fe00::0\tip6-mcastprefix\n");
            text.Append("fe00::1\tip6-allnodes\n");
            text.Append("fe00::2\tip6-allrouters\n");
            foreach (var ip in context.PodIPs)
            {
                text.Append(ip).Append('\t');
                if (context.HostDomain.Length > 0) text.Append(context.Hostname).Append('.').Append(context.HostDomain).Append('\t');
                text.Append(context.Hostname).Append('\n');
            }
        }
        if (pod.Spec.HostAliases is { Count: > 0 } aliases)
        {
            text.Append("\n# Entries added by HostAliases.\n");
            foreach (var alias in aliases) text.Append(alias.Ip).Append('\t').AppendJoin('\t', alias.Hostnames ?? []).Append('\n');
        }
        File.WriteAllText(path, text.ToString());
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
    }
}
