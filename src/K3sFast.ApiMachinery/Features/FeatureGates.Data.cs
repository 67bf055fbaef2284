// One gate a line: name, default, stage, and "locked" where it cannot be changed.
namespace K3sFast.ApiMachinery;

public sealed partial class FeatureGates
{
    private const string Table = """
        APIResponseCompression true Beta
        APIServerIdentity true Beta
        APIServerTracing true GA locked
        APIServingWithRoutine false Alpha
        AggregatedDiscoveryRemoveBetaType true Deprecated locked
        AllowDNSOnlyNodeCSR false Deprecated
        AllowInsecureKubeletCertificateSigningRequests false Deprecated
        AllowOverwriteTerminationGracePeriodSeconds false Deprecated locked
        AllowParsingUserUIDFromCertAuth true Beta
        AllowServiceExternalIPs true GA
        AllowUnsafeMalformedObjectDeletion false Alpha
        AnonymousAuthConfigurableEndpoints true GA locked
        AnyVolumeDataSource true GA locked
        AtomicFIFO true Beta
        AuthorizeNodeWithSelectors true GA locked
        AuthorizePodWebsocketUpgradeCreatePermission true Beta
        AuthorizeWithSelectors true GA locked
        BtreeWatchCache true GA locked
        CBORServingAndStorage false Alpha
        CPUCFSQuotaPeriod true GA
        CPUManagerPolicyAlphaOptions false Alpha
        CPUManagerPolicyBetaOptions true Beta
        CPUManagerPolicyOptions true GA locked
        CRDObservedGenerationTracking true Beta
        CRDValidationRatcheting true GA locked
        CRIListStreaming false Alpha
        CSIServiceAccountTokenSecrets true GA locked
        CSIVolumeHealth false Alpha
        ChangeContainerStatusOnKubeletRestart false Deprecated
        ClearingNominatedNodeNameAfterBinding true Beta
        ClientsAllowCARotation true Beta
        ClientsAllowCBOR false Alpha
        ClientsAllowTLSCacheGC true Beta
        ClientsPreferCBOR false Alpha
        CloudControllerManagerWatchBasedRoutesReconciliation false Alpha
        CloudControllerManagerWebhook false Alpha
        ClusterTrustBundle false Beta
        ClusterTrustBundleProjection false Beta
        ComponentFlagz true Beta
        ComponentStatusz true Beta
        ConcurrentWatchObjectDecode false Beta
        ConsistentListFromCache true GA locked
        ConstrainedImpersonation true Beta
        ContainerCheckpoint true Beta
        ContainerRestartRules true Beta
        ContainerStopSignals false Alpha
        ContextualLogging true Beta
        ControllerManagerReleaseLeaderElectionLockOnExit false Alpha
        CoordinatedLeaderElection false Beta
        CrossNamespaceVolumeDataSource false Alpha
        CustomResourceFieldSelectors true GA locked
        DRAAdminAccess true GA locked
        DRAConsumableCapacity true Beta
        DRADeviceBindingConditions true Beta
        DRADeviceTaintRules false Beta
        DRADeviceTaints true Beta
        DRAExtendedResource true Beta
        DRAListTypeAttributes false Alpha
        DRANodeAllocatableResources false Alpha
        DRAPartitionableDevices true Beta
        DRAPrioritizedList true GA
        DRAResourceClaimDeviceStatus true Beta
        DRAResourceClaimGranularStatusAuthorization true Beta
        DRAResourcePoolStatus false Alpha
        DRASchedulerFilterTimeout true Beta
        DRAWorkloadResourceClaims false Alpha
        DeclarativeValidation true GA locked
        DeclarativeValidationBeta true Beta
        DeclarativeValidationTakeover false Deprecated
        DeploymentReplicaSetTerminatingReplicas true Beta
        DetectCacheInconsistency true Beta
        DisableAllocatorDualWrite true GA locked
        DisableCPUQuotaWithExclusiveCPUs true Deprecated
        DisableNodeKubeProxyVersion true Deprecated locked
        DynamicResourceAllocation true GA locked
        EnvFiles true Beta
        EventedPLEG false Alpha
        ExecProbeTimeout true GA locked
        ExtendWebSocketsToKubelet true Beta
        ExternalServiceAccountTokenSigner true GA locked
        GangScheduling false Alpha
        GenericWorkload false Alpha
        GitRepoVolumeDriver false Deprecated locked
        GracefulNodeShutdown true Beta
        GracefulNodeShutdownBasedOnPodPriority true Beta
        HPAConfigurableTolerance true Beta
        HPAScaleToZero false Alpha
        HostnameOverride true Beta
        ImageMaximumGCAge true GA locked
        ImageVolume true GA locked
        ImageVolumeWithDigest false Alpha
        InOrderInformers true GA locked
        InOrderInformersBatchProcess true Beta
        InPlacePodLevelResourcesVerticalScaling true Beta
        InPlacePodVerticalScaling true GA locked
        InPlacePodVerticalScalingExclusiveCPUs false Alpha
        InPlacePodVerticalScalingExclusiveMemory false Alpha
        InPlacePodVerticalScalingInitContainers true Beta
        InformerResourceVersion true GA
        JobBackoffLimitPerIndex true GA locked
        JobManagedBy true GA locked
        JobPodReplacementPolicy true GA locked
        JobSuccessPolicy true GA locked
        KMSv1 false Deprecated
        KubeletCgroupDriverFromCRI true GA locked
        KubeletCrashLoopBackOffMax true Beta
        KubeletEnsureSecretPulledImages true Beta
        KubeletFineGrainedAuthz true GA locked
        KubeletInUserNamespace false Alpha
        KubeletPSI true GA locked
        KubeletPodResourcesDynamicResources true GA locked
        KubeletPodResourcesGet true GA locked
        KubeletPodResourcesListUseActivePods true Deprecated
        KubeletRegistrationGetOnExistsOnly false Deprecated
        KubeletSeparateDiskGC true Beta
        KubeletServiceAccountTokenForCredentialProviders true Beta
        KubeletTracing true GA locked
        ListFromCacheSnapshot true Beta
        LocalStorageCapacityIsolationFSQuotaMonitoring false Beta
        LogarithmicScaleDown true GA locked
        LoggingAlphaOptions false Alpha
        LoggingBetaOptions true Beta
        ManifestBasedAdmissionControlConfig false Alpha
        MatchLabelKeysInPodAffinity true GA locked
        MatchLabelKeysInPodTopologySpread true Beta
        MatchLabelKeysInPodTopologySpreadSelectorMerge true Beta
        MaxUnavailableStatefulSet false Beta
        MemoryQoS false Alpha
        MultiCIDRServiceAllocator true GA locked
        MutableCSINodeAllocatableCount true GA locked
        MutablePVNodeAffinity false Alpha
        MutablePodResourcesForSuspendedJobs true Beta
        MutableSchedulingDirectivesForSuspendedJobs true Beta
        MutatingAdmissionPolicy true GA
        NFTablesProxyMode true GA locked
        NativeHistograms false Alpha
        NodeDeclaredFeatures true Beta
        NodeInclusionPolicyInPodTopologySpread true GA locked
        NodeLogQuery true GA locked
        NodeSwap true GA locked
        NominatedNodeNameForExpectation true Beta
        OpenAPIEnums true Beta
        OpportunisticBatching true Beta
        OrderedNamespaceDeletion true GA locked
        PLEGOnDemandRelist true Beta
        PersistentVolumeClaimUnusedSinceTime false Alpha
        PodAndContainerStatsFromCRI false Alpha
        PodCertificateRequest false Beta
        PodDeletionCost true Beta
        PodLevelResourceManagers false Alpha
        PodLevelResources true Beta
        PodLifecycleSleepAction true GA locked
        PodLifecycleSleepActionAllowZero true GA locked
        PodLogsQuerySplitStreams false Alpha
        PodObservedGenerationTracking true GA locked
        PodReadyToStartContainersCondition true Beta
        PodSchedulingReadiness true GA locked
        PodTopologyLabelsAdmission true Beta
        PodsAPI false Alpha
        PortForwardWebsockets true Beta
        PreferSameTrafficDistribution true GA locked
        PreventStaticPodAPIReferences true Beta
        ProcMountType true GA locked
        QOSReserved false Alpha
        RecoverVolumeExpansionFailure true GA locked
        RecursiveReadOnlyMounts true GA locked
        ReduceDefaultCrashLoopBackOffDecay false Alpha
        RelaxedDNSSearchValidation true GA locked
        RelaxedEnvironmentVariableValidation true GA locked
        RelaxedServiceNameValidation true Beta
        ReloadKubeletClientCAFile true Beta
        ReloadKubeletServerCertificateFile true Beta
        RemoteRequestHeaderUID true Beta
        ResilientWatchCacheInitialization true GA locked
        ResourceHealthStatus true Beta
        ResourceHealthStatusMessage true Beta
        RestartAllContainersOnContainerExits true Beta
        RetryGenerateName true GA locked
        RotateKubeletServerCertificate true Beta
        RuntimeClassInImageCriAPI false Alpha
        SELinuxChangePolicy true GA locked
        SELinuxMount false Beta
        SELinuxMountReadWriteOncePod true GA locked
        SchedulerAsyncAPICalls false Beta
        SchedulerAsyncPreemption true Beta
        SchedulerPopFromBackoffQ true Beta
        SchedulerQueueingHints true GA locked
        SeparateCacheWatchRPC false Deprecated locked
        SeparateTaintEvictionController true GA locked
        ServiceAccountNodeAudienceRestriction true Beta
        ServiceAccountTokenJTI true GA locked
        ServiceAccountTokenNodeBinding true GA locked
        ServiceAccountTokenNodeBindingValidation true GA locked
        ServiceAccountTokenPodNodeInfo true GA locked
        ServiceCIDRStatusFieldWiping true Deprecated
        ShardedListAndWatch false Alpha
        SidecarContainers true GA locked
        SizeBasedListCostEstimate true Beta
        StaleControllerConsistencyDaemonSet true Beta
        StaleControllerConsistencyJob true Beta
        StaleControllerConsistencyReplicaSet true Beta
        StaleControllerConsistencyStatefulSet true Beta
        StatefulSetSemanticRevisionComparison true Beta
        StorageCapacityScoring false Alpha
        StorageNamespaceIndex true Deprecated
        StorageVersionAPI false Alpha
        StorageVersionHash true Beta
        StorageVersionMigrator false Beta
        StreamingCollectionEncodingToJSON true GA locked
        StreamingCollectionEncodingToProtobuf true GA locked
        StrictIPCIDRValidation true Beta
        StructuredAuthenticationConfiguration true GA locked
        StructuredAuthenticationConfigurationEgressSelector true Beta
        StructuredAuthenticationConfigurationJWKSMetrics true Beta
        SupplementalGroupsPolicy true GA locked
        SystemdWatchdog true GA locked
        TaintTolerationComparisonOperators false Alpha
        TokenRequestServiceAccountUIDValidation true Beta
        TopologyAwareWorkloadScheduling false Alpha
        TopologyManagerPolicyAlphaOptions false Alpha
        TopologyManagerPolicyBetaOptions true Beta
        TopologyManagerPolicyOptions true GA locked
        TranslateStreamCloseWebsocketRequests true Beta
        UnauthenticatedHTTP2DOSMitigation true Beta
        UnknownVersionInteroperabilityProxy true Beta
        UnlockWhileProcessingFIFO true Beta
        UserNamespacesHostNetworkSupport false Alpha
        UserNamespacesSupport true GA locked
        VolumeAttributesClass true GA locked
        VolumeLimitScaling false Alpha
        WatchCacheInitializationPostStartHook true Beta
        WatchList true Beta
        WatchListClient true Beta
        WinDSR true GA locked
        WinOverlay true GA locked
        WindowsCPUAndMemoryAffinity false Alpha
        WindowsGracefulNodeShutdown true Beta
        WindowsHostNetwork false Deprecated
        WorkloadAwarePreemption false Alpha
        WorkloadWithJob false Alpha
        """;
}
