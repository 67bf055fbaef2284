using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Which controllers there are, and which of upstream's are not there yet.</summary>
internal static class ControllerList
{
    /// <summary>Named in the log at each start.</summary>
    internal static IReadOnlyList<string> Missing { get; } =
    [
        "persistent-volume-binder", "attachdetach-controller", "horizontal-pod-autoscaler",
        "ephemeral-volume-controller", "expand-controller",
    ];

    internal static List<Controller> Create(ControllerContext context)
    {
        var discovery = new DiscoveryCache(context);
        List<Controller> all =
        [
            new NamespaceController(context, discovery),
            new ServiceAccountController(context),
            new RootCaPublisher(context),
            new TokenSecretController(context),
            new LegacyTokenCleaner(context),
            new TokenCleaner(context),
            new CertificateController(context),
            new ReplicaController<V1ReplicaSet>(context, new ReplicaSetKind()),
            new ReplicaController<V1ReplicationController>(context, new ReplicationControllerKind()),
            new DeploymentController(context),
            new EndpointSliceController(context),
            new EndpointsController(context),
            new EndpointSliceMirroringController(context),
            new GarbageCollector(context, discovery),
            new NodeLifecycleController(context),
            new TaintEvictionController(context),
            new NodeIpamController(context),
            new PodGcController(context),
            new ClusterRoleAggregation(context),
            new StatefulSetController(context),
            new DaemonSetController(context),
            new JobController(context),
            new TtlAfterFinishedController(context),
            new CronJobController(context),
            new ResourceQuotaController(context, discovery),
            new DisruptionController(context, discovery),
            new ClaimProtectionController(context),
            new VolumeProtectionController(context),
            new ServiceCidrController(context),
            new AdmissionPolicyStatusController(context),
        ];
        all.RemoveAll(controller => context.Options.Disabled.Contains(controller.Name));
        return all;
    }
}
