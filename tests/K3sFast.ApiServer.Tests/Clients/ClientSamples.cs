namespace K3sFast.ApiServer.Tests;

/// <summary>One small valid object of each kind that a client may create: the operations that make it, its kind, and what is in it besides its name.</summary>
internal static class ClientSamples
{
    private const string Pod = """ "containers":[{"name":"c","image":"i"}] """;
    private const string Template = """ "selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}} """;
    private const string Webhook = """ "webhooks":[{"name":"a.b.c","clientConfig":{"url":"https://a.test/"},"sideEffects":"None","admissionReviewVersions":["v1"]}] """;

    /// <summary>Operations property, kind, members of the object.</summary>
    internal static IEnumerable<TheoryDataRow<string, string, string>> All => Rows.Select(static row => new TheoryDataRow<string, string, string>(row.Operations, row.Kind, row.Members));

    /// <summary>A new name for an object of that kind; some are named after what they hold.</summary>
    internal static string NameOf(string kind, string operations)
    {
        var name = $"t{Guid.NewGuid():N}"[..12];
        return (operations, kind) switch
        {
            (_, "CustomResourceDefinition" or "APIService") => name + ".x.test",
            (_, "IPAddress") => $"10.43.{Random.Shared.Next(200, 255)}.{Random.Shared.Next(1, 255)}",
            ("CoreV1", "Service") => "s" + name,
            _ => name,
        };
    }

    /// <summary>The object as JSON.</summary>
    internal static string Json(string kind, string members, string name, string ns) =>
        $$"""{"kind":"{{kind}}","metadata":{"name":"{{name}}"}, {{members.Replace("NAMESPACE", ns, StringComparison.Ordinal).Replace("NAME", name.Split('.')[0], StringComparison.Ordinal)}} }""";

    /// <summary>False for kinds whose content is one object's alone: names, addresses, selectors that the server made.</summary>
    internal static bool CanBeCopied(string kind) => kind is not ("CustomResourceDefinition" or "APIService" or "Service" or "Job" or "ServiceCIDR");

    private static (string Operations, string Kind, string Members)[] Rows =>
    [
        ("AdmissionregistrationV1", "MutatingWebhookConfiguration", Webhook),
        ("AdmissionregistrationV1", "ValidatingWebhookConfiguration", Webhook),
        ("AdmissionregistrationV1", "ValidatingAdmissionPolicy", """ "spec":{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"]}]},"validations":[{"expression":"true"}]} """),
        ("AdmissionregistrationV1", "ValidatingAdmissionPolicyBinding", """ "spec":{"policyName":"p","validationActions":["Deny"]} """),
        ("ApiextensionsV1", "CustomResourceDefinition", """ "spec":{"group":"x.test","scope":"Namespaced","names":{"kind":"Thing","plural":"NAME","singular":"thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]} """),
        ("ApiregistrationV1", "APIService", """ "spec":{"group":"x.test","version":"NAME","groupPriorityMinimum":100,"versionPriority":10,"service":{"namespace":"a","name":"b"},"insecureSkipTLSVerify":true} """),
        ("AppsV1", "ControllerRevision", """ "revision":1,"data":{"a":"b"} """),
        ("AppsV1", "DaemonSet", $$""" "spec":{ {{Template}} } """),
        ("AppsV1", "Deployment", $$""" "spec":{ {{Template}} } """),
        ("AppsV1", "ReplicaSet", $$""" "spec":{ {{Template}} } """),
        ("AppsV1", "StatefulSet", $$""" "spec":{"serviceName":"s", {{Template}} } """),
        ("AutoscalingV1", "HorizontalPodAutoscaler", """ "spec":{"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"targetCPUUtilizationPercentage":50} """),
        ("AutoscalingV2", "HorizontalPodAutoscaler", """ "spec":{"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}]} """),
        ("BatchV1", "CronJob", $$""" "spec":{"schedule":"0 0 1 1 *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never", {{Pod}} } } } } } """),
        ("BatchV1", "Job", $$""" "spec":{"template":{"spec":{"restartPolicy":"Never", {{Pod}} } } } """),
        ("CertificatesV1", "CertificateSigningRequest", $$""" "spec":{"request":"{{Request()}}","signerName":"x.test/signer","usages":["client auth"]} """),
        ("CoordinationV1", "Lease", """ "spec":{"holderIdentity":"me","leaseDurationSeconds":9,"renewTime":"2026-01-02T03:04:05.678901Z"} """),
        ("CoreV1", "ConfigMap", """ "data":{"a":"b"},"binaryData":{"c":"AAE="} """),
        ("CoreV1", "Endpoints", """ "subsets":[{"addresses":[{"ip":"10.1.2.3"}],"ports":[{"port":80}]}] """),
        ("CoreV1", "Event", """ "involvedObject":{"kind":"Pod","name":"p","namespace":"NAMESPACE"},"reason":"R","message":"m","type":"Normal","count":3 """),
        ("CoreV1", "LimitRange", """ "spec":{"limits":[{"type":"Container","default":{"cpu":"1"}}]} """),
        ("CoreV1", "Namespace", """ "spec":{} """),
        ("CoreV1", "Node", """ "spec":{"podCIDR":"10.42.9.0/24","podCIDRs":["10.42.9.0/24"]} """),
        ("CoreV1", "PersistentVolume", """ "spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"}} """),
        ("CoreV1", "PersistentVolumeClaim", """ "spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}} """),
        ("CoreV1", "Pod", $$""" "spec":{ {{Pod}} } """),
        ("CoreV1", "PodTemplate", $$""" "template":{"spec":{ {{Pod}} } } """),
        ("CoreV1", "ReplicationController", """ "spec":{"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}} """),
        ("CoreV1", "ResourceQuota", """ "spec":{"hard":{"count/leases.coordination.k8s.io":"99"}} """),
        ("CoreV1", "Secret", """ "data":{"a":"Yg=="},"stringData":{"c":"d"} """),
        ("CoreV1", "Service", """ "spec":{"selector":{"a":"b"},"ports":[{"port":80,"targetPort":"web"}]} """),
        ("CoreV1", "ServiceAccount", """ "automountServiceAccountToken":false """),
        ("DiscoveryV1", "EndpointSlice", """ "addressType":"IPv4","endpoints":[{"addresses":["10.1.2.3"],"conditions":{"ready":true}}],"ports":[{"name":"web","port":80}] """),
        ("EventsV1", "Event", """ "eventTime":"2026-01-02T03:04:05.678901Z","reportingController":"x.test/c","reportingInstance":"i","action":"A","reason":"R","type":"Normal","regarding":{"kind":"Pod","name":"p","namespace":"NAMESPACE"} """),
        ("FlowcontrolApiserverV1", "FlowSchema", """ "spec":{"matchingPrecedence":900,"priorityLevelConfiguration":{"name":"global-default"},"distinguisherMethod":{"type":"ByUser"}} """),
        ("FlowcontrolApiserverV1", "PriorityLevelConfiguration", """ "spec":{"type":"Limited","limited":{"nominalConcurrencyShares":5,"limitResponse":{"type":"Reject"}}} """),
        ("NetworkingV1", "Ingress", """ "spec":{"rules":[{"host":"a.test","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]} """),
        ("NetworkingV1", "IngressClass", """ "spec":{"controller":"x.test/c"} """),
        ("NetworkingV1", "IPAddress", """ "spec":{"parentRef":{"resource":"services","namespace":"none","name":"none"}} """),
        ("NetworkingV1", "ServiceCIDR", """ "spec":{"cidrs":["10.98.0.0/24"]} """),
        ("NetworkingV1", "NetworkPolicy", """ "spec":{"podSelector":{"matchLabels":{"a":"b"}},"policyTypes":["Ingress"]} """),
        ("NodeV1", "RuntimeClass", """ "handler":"runc" """),
        ("PolicyV1", "PodDisruptionBudget", """ "spec":{"minAvailable":"50%","selector":{"matchLabels":{"a":"b"}}} """),
        ("RbacAuthorizationV1", "ClusterRole", """ "rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}] """),
        ("RbacAuthorizationV1", "ClusterRoleBinding", """ "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"u"}] """),
        ("RbacAuthorizationV1", "Role", """ "rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}] """),
        ("RbacAuthorizationV1", "RoleBinding", """ "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"u"}] """),
        ("ResourceV1", "DeviceClass", """ "spec":{} """),
        ("ResourceV1", "ResourceClaim", """ "spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"d"}}]}} """),
        ("ResourceV1", "ResourceClaimTemplate", """ "spec":{"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"d"}}]}}} """),
        ("ResourceV1", "ResourceSlice", """ "spec":{"driver":"x.test","nodeName":"n","pool":{"name":"n","generation":1,"resourceSliceCount":1},"devices":[]} """),
        ("SchedulingV1", "PriorityClass", """ "value":7,"preemptionPolicy":"Never" """),
        ("StorageV1", "CSIDriver", """ "spec":{"attachRequired":false} """),
        ("StorageV1", "CSINode", """ "spec":{"drivers":[{"name":"x.test","nodeID":"n","topologyKeys":["k"]}]} """),
        ("StorageV1", "CSIStorageCapacity", """ "storageClassName":"s","capacity":"1Gi" """),
        ("StorageV1", "StorageClass", """ "provisioner":"x.test/p" """),
        ("StorageV1", "VolumeAttachment", """ "spec":{"attacher":"x.test","nodeName":"n","source":{"persistentVolumeName":"v"}} """),
        ("StorageV1", "VolumeAttributesClass", """ "driverName":"x.test","parameters":{"a":"b"} """),
    ];

    // In PEM, as JSON holds bytes.
    private static string Request()
    {
        using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        var request = new System.Security.Cryptography.X509Certificates.CertificateRequest("CN=somebody", key, System.Security.Cryptography.HashAlgorithmName.SHA256);
        return Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(request.CreateSigningRequestPem()));
    }
}
