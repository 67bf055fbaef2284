namespace K3sFast.Server;

/// <summary>
/// Roles of k3s' own users, which a cluster is born with, in the form of the API server's table: kind, namespace, name, API groups ("-" = core),
/// resources, resource names, paths, verbs, role, subjects, aggregates, aggregated to.
/// </summary>
internal static class SystemRoles
{
    public static IReadOnlyList<string> Rows { get; } =
    [
        // The network of a node: knows all nodes, notes on its own how it is reached, and will know whom policies speak of.
        Rule("ClusterRole", "", "system:k3s-controller", "-", "nodes,pods,namespaces,endpoints,services", "get,list,watch"),
        Rule("ClusterRole", "", "system:k3s-controller", "-", "nodes/status", "patch"),
        Rule("ClusterRole", "", "system:k3s-controller", "networking.k8s.io", "networkpolicies", "get,list,watch"),
        Rule("ClusterRole", "", "system:k3s-controller", "discovery.k8s.io", "endpointslices", "get,list,watch"),
        Binding("ClusterRoleBinding", "", "system:k3s-controller", "ClusterRole/system:k3s-controller", "User:system:k3s-controller"),
        // DNS: what CoreDNS has in k3s, and its own Service, which no manifest makes here.
        Rule("ClusterRole", "", "system:coredns", "-", "endpoints,services,pods,namespaces", "list,watch"),
        Rule("ClusterRole", "", "system:coredns", "-", "nodes", "get,list,watch"),
        Rule("ClusterRole", "", "system:coredns", "discovery.k8s.io", "endpointslices", "list,watch"),
        Binding("ClusterRoleBinding", "", "system:coredns", "ClusterRole/system:coredns", "ServiceAccount:kube-system/coredns"),
        Rule("Role", "kube-system", "system:coredns", "-", "endpoints,services", "get,create,update"),
        Rule("Role", "kube-system", "system:coredns", "discovery.k8s.io", "endpointslices", "get,create,update,delete"),
        Rule("Role", "kube-system", "system:coredns", "-", "configmaps", "get,list,watch,create,patch"),
        Rule("Role", "kube-system", "system:coredns", "-", "events", "create,patch"),
        Binding("RoleBinding", "kube-system", "system:coredns", "Role/system:coredns", "ServiceAccount:kube-system/coredns"),
        Binding("ClusterRoleBinding", "", "kube-apiserver-kubelet-admin", "ClusterRole/system:kubelet-api-admin", "User:kube-apiserver"),
    ];

    private static string Rule(string kind, string ns, string name, string groups, string resources, string verbs) =>
        string.Join('\t', kind, ns, name, groups, resources, "", "", verbs, "", "", "", "");

    private static string Binding(string kind, string ns, string name, string role, string subjects) =>
        string.Join('\t', kind, ns, name, "", "", "", "", "", role, subjects, "", "");
}
