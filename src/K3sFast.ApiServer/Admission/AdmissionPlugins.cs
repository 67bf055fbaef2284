using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>What plugins are made of.</summary>
internal sealed record AdmissionParts(
    ResourceCatalog Catalog, RbacPolicy Policy, Authorizer Authorizer, ApiServerOptions Options, Func<WriteFlow> Writes, ApiServerMetrics Metrics)
{
    internal ResourceStorage Storage(string group, string resource) => Catalog.Storage(group, resource);
}

/// <summary>
/// All admission plugins by upstream's names, in the one order that counts; which are on is upstream's choice and what --enable-admission-plugins and
/// --disable-admission-plugins say.
/// </summary>
internal static class AdmissionPlugins
{
    private static readonly Entry[] s_all =
    [
        new("AlwaysAdmit", false, static (_, _) => null),
        new("NamespaceAutoProvision", false, static (parts, _) => new NamespaceAutoProvision(parts.Storage("", "namespaces"), parts.Writes)),
        new("NamespaceLifecycle", true, static (parts, _) => new NamespaceLifecycle(parts.Storage("", "namespaces"))),
        new("NamespaceExists", false, static (parts, _) => new NamespaceExists(parts.Storage("", "namespaces"))),
        new("LimitPodHardAntiAffinityTopology", false, static (_, _) => new AntiAffinityTopology()),
        new("LimitRanger", true, static (parts, _) => new LimitRanger(parts.Storage("", "limitranges"))),
        new("ServiceAccount", true, static (parts, _) => new ServiceAccountAdmission(parts.Storage("", "serviceaccounts"), parts.Options.Clock)),
        new("NodeRestriction", false, static (parts, _) => new NodeRestriction(parts.Catalog, parts.Authorizer)),
        new("TaintNodesByCondition", true, static (_, _) => new TaintNodesByCondition()),
        new("AlwaysPullImages", false, static (_, _) => new AlwaysPullImages()),
        Entry.NotThere("ImagePolicyWebhook", false),
        new("PodSecurity", true, static (parts, configuration) => new PodSecurityAdmission(
            PodSecurityConfiguration.Read(configuration), parts.Storage("", "namespaces"), parts.Storage("", "pods"), parts.Metrics.PodSecurity, parts.Options.Clock)),
        new("PodNodeSelector", false, static (parts, configuration) => new PodNodeSelector(configuration, parts.Storage("", "namespaces"))),
        new("Priority", true, static (parts, _) => new PriorityAdmission(parts.Storage("scheduling.k8s.io", "priorityclasses"))),
        new("DefaultTolerationSeconds", true, static (parts, _) => new DefaultTolerationSeconds(
            parts.Options.DefaultNotReadyTolerationSeconds, parts.Options.DefaultUnreachableTolerationSeconds)),
        new("PodTolerationRestriction", false, static (parts, configuration) => new PodTolerationRestriction(configuration, parts.Storage("", "namespaces"))),
        new("EventRateLimit", false, static (parts, configuration) => new EventRateLimit(configuration, parts.Options.Clock)),
        new("ExtendedResourceToleration", false, static (_, _) => new ExtendedResourceToleration()),
        new("DefaultStorageClass", true, static (parts, _) => new DefaultStorageClass(parts.Storage("storage.k8s.io", "storageclasses"))),
        new("StorageObjectInUseProtection", true, static (_, _) => new StorageObjectInUseProtection()),
        // The four plugins whose feature is off by default upstream do nothing there either.
        new("PodGroupProtection", true, static (_, _) => null),
        new("OwnerReferencesPermissionEnforcement", false, static (parts, _) => new OwnerReferencesPermissionEnforcement(parts.Catalog, parts.Authorizer)),
        new("PersistentVolumeClaimResize", true, static (parts, _) => new PersistentVolumeClaimResize(parts.Storage("storage.k8s.io", "storageclasses"))),
        new("RuntimeClass", true, static (parts, _) => new RuntimeClassAdmission(parts.Storage("node.k8s.io", "runtimeclasses"))),
        new("CertificateApproval", true, static (parts, _) => new CertificateApproval(parts.Authorizer)),
        new("CertificateSigning", true, static (parts, _) => new CertificateSigning(parts.Authorizer)),
        new("ClusterTrustBundleAttest", true, static (_, _) => null),
        new("CertificateSubjectRestriction", true, static (_, _) => new CertificateSubjectRestriction()),
        new("DefaultIngressClass", true, static (parts, _) => new DefaultIngressClass(parts.Storage("networking.k8s.io", "ingressclasses"))),
        new("DenyServiceExternalIPs", false, static (_, _) => new DenyServiceExternalIPs()),
        new("PodTopologyLabels", true, static (parts, _) => new PodTopologyLabels(parts.Storage("", "nodes"))),
        new("PodGroupWorkloadExists", true, static (_, _) => null),
        Entry.NotThere("NodeDeclaredFeatureValidator", true),
        new("JobValidation", true, static (_, _) => null),
        new("PodResizeValidator", true, static (parts, _) => new PodResizeValidator(parts.Storage("", "nodes"))),
        new("MutatingAdmissionPolicy", true, static (parts, _) => new MutatingAdmissionPolicies(parts)),
        Entry.NotThere("MutatingAdmissionWebhook", true),
        new("ValidatingAdmissionPolicy", true, static (parts, _) => new ValidatingAdmissionPolicies(parts)),
        Entry.NotThere("ValidatingAdmissionWebhook", true),
        new("ResourceQuota", true, static (parts, configuration) => new ResourceQuotaAdmission(
            LimitedResource.Read(configuration), parts.Storage("", "resourcequotas"), parts.Writes, parts.Options.Clock)),
        new("AlwaysDeny", false, static (_, _) => new AlwaysDeny()),
    ];

    /// <summary>Makes the chain.</summary>
    /// <exception cref="ApiServerStartException">A name is unknown, named on both sides, or not there; or a configuration is wrong.</exception>
    internal static AdmissionChain Create(AdmissionParts parts, ILogger logger)
    {
        var options = parts.Options;
        Check(options.EnabledAdmissionPlugins, options.DisabledAdmissionPlugins);
        using var configuration = AdmissionConfiguration.Load(options.AdmissionControlConfigFile);
        var plugins = new List<AdmissionPlugin>();
        var missing = new List<string>();
        foreach (var entry in s_all)
        {
            var isWanted = options.EnabledAdmissionPlugins.Contains(entry.Name);
            if (!isWanted && (!entry.IsOnByDefault || options.DisabledAdmissionPlugins.Contains(entry.Name)))
                continue;
            if (entry.Make is null && isWanted && !entry.IsOnByDefault)
                throw new ApiServerStartException($"admission plugin {GoText.Quote(entry.Name)} is not in this server: take it from enable-admission-plugins");
            if (entry.Make is null)
                missing.Add(entry.Name);
            else if (entry.Make(parts, configuration.For(entry.Name)) is { } plugin)
            {
                plugin.Name = entry.Name;
                plugins.Add(plugin);
            }
        }
        // No plugin upstream, but part of what the RBAC kinds are: it cannot be switched off.
        plugins.Add(new RbacEscalation(parts.Policy, parts.Authorizer));
        plugins.AddRange(options.MoreAdmission);
        if (missing.Count > 0)
            Log.AdmissionMissing(logger, string.Join(", ", missing));
        return new AdmissionChain(plugins, parts.Metrics.Admission);
    }

    private static void Check(IReadOnlyList<string> enabled, IReadOnlyList<string> disabled)
    {
        foreach (var name in enabled)
        {
            if (!s_all.Any(entry => entry.Name == name))
                throw new ApiServerStartException($"enable-admission-plugins plugin {GoText.Quote(name)} is unknown");
        }
        foreach (var name in disabled)
        {
            if (!s_all.Any(entry => entry.Name == name))
                throw new ApiServerStartException($"disable-admission-plugins plugin {GoText.Quote(name)} is unknown");
        }
        var both = enabled.Intersect(disabled).Order(StringComparer.Ordinal).ToList();
        if (both.Count > 0)
            throw new ApiServerStartException($"[{string.Join(' ', both)}] in enable-admission-plugins and disable-admission-plugins overlapped");
    }

    // Make is null for a plugin that this server does not have; it answers null for one that has nothing to do.
    private sealed record Entry(string Name, bool IsOnByDefault, Func<AdmissionParts, ApiNode, AdmissionPlugin?>? Make)
    {
        internal static Entry NotThere(string name, bool isOnByDefault) => new(name, isOnByDefault, null);
    }
}
