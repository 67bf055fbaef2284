namespace K3sFast.ApiMachinery.Tests;

/// <summary>Objects as kube-apiserver answers them: canonical, so that decode and encode give the same bytes back.</summary>
internal static class Samples
{
    public const string Pod = """
        {"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-6d4cf56db6-x2x7k","generateName":"web-6d4cf56db6-","namespace":"shop","uid":"7d5f2c1e-7f0f-4f0e-9b57-0a6f5b9f7a11","resourceVersion":"184467","generation":1,"creationTimestamp":"2026-03-01T10:20:30Z","labels":{"app":"web","pod-template-hash":"6d4cf56db6","tier":"front"},"annotations":{"example.com/checksum":"9f86d081884c7d659a2feaa0c55ad015"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-6d4cf56db6","uid":"0f3a1c2b-11aa-4b6c-8d9e-3c5f6a7b8c9d","controller":true,"blockOwnerDeletion":true}]},"spec":{"volumes":[{"name":"config","configMap":{"name":"web-config","defaultMode":420}},{"name":"cache","emptyDir":{"sizeLimit":"128Mi"}},{"name":"kube-api-access-9q2xw","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],"containers":[{"name":"web","image":"registry.example.com/shop/web:1.4.2","args":["--listen=:8080","--cache=/cache"],"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"POD_IP","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"status.podIP"}}},{"name":"MODE","value":"production"}],"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"volumeMounts":[{"name":"config","readOnly":true,"mountPath":"/etc/web"},{"name":"cache","mountPath":"/cache"},{"name":"kube-api-access-9q2xw","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"initialDelaySeconds":5,"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"readinessProbe":{"httpGet":{"path":"/ready","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":5,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent","securityContext":{"runAsNonRoot":true,"allowPrivilegeEscalation":false}}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default","nodeName":"edge-1","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-03-01T10:20:35Z"}],"hostIP":"10.0.0.5","podIP":"10.42.0.17","podIPs":[{"ip":"10.42.0.17"}],"startTime":"2026-03-01T10:20:30Z","qosClass":"Burstable"}}
        """;

    public const string Deployment = """
        {"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web:1","resources":{}}]}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":1}}},"status":{}}
        """;

    public const string Service = """
        {"kind":"Service","apiVersion":"v1","metadata":{"name":"web","namespace":"shop"},"spec":{"ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":"http"},{"name":"raw","protocol":"UDP","port":53,"targetPort":5353}],"selector":{"app":"web"},"clusterIP":"10.43.0.12","clusterIPs":["10.43.0.12"],"type":"ClusterIP","sessionAffinity":"None","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster"},"status":{"loadBalancer":{}}}
        """;

    public const string Secret = """
        {"kind":"Secret","apiVersion":"v1","metadata":{"name":"login","namespace":"shop"},"immutable":true,"data":{"password":"cGFzcw==","user":"YQ=="},"type":"Opaque"}
        """;

    public const string ConfigMap = """
        {"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"html","namespace":"shop"},"data":{"a":"\u003cb\u003e \u0026 \"q\" \\ \u2028 \t\n ü 日本","empty":""},"binaryData":{"blob":"AAECAw=="}}
        """;

    public const string Node = """
        {"kind":"Node","apiVersion":"v1","metadata":{"name":"edge-1"},"spec":{"podCIDR":"10.42.0.0/24","podCIDRs":["10.42.0.0/24"],"taints":[{"key":"a","effect":"NoSchedule","timeAdded":"2026-03-01T10:20:30Z"}]},"status":{"capacity":{"cpu":"2","memory":"4025532Ki","pods":"110"},"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-03-01T10:20:30Z","lastTransitionTime":null}],"addresses":[{"type":"InternalIP","address":"10.0.0.5"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":10250}},"nodeInfo":{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"6.1","osImage":"","containerRuntimeVersion":"","kubeletVersion":"v1.36.2","kubeProxyVersion":"","operatingSystem":"linux","architecture":"amd64"}}}
        """;

    public const string Lease = """
        {"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"edge-1","namespace":"kube-node-lease"},"spec":{"holderIdentity":"edge-1","leaseDurationSeconds":40,"renewTime":"2026-03-01T10:20:30.123456Z"}}
        """;

    public const string Event = """
        {"kind":"Event","apiVersion":"v1","metadata":{"name":"web.17","namespace":"shop"},"involvedObject":{"kind":"Pod","name":"web"},"reason":"Pulled","source":{"component":"kubelet"},"firstTimestamp":"2026-03-01T10:20:30Z","lastTimestamp":"2026-03-01T10:20:30Z","count":2,"type":"Normal","eventTime":null,"reportingComponent":"","reportingInstance":""}
        """;

    public const string ControllerRevision = """
        {"kind":"ControllerRevision","apiVersion":"apps/v1","metadata":{"name":"web-1","namespace":"shop","managedFields":[{"manager":"x","operation":"Update","apiVersion":"apps/v1","time":"2026-03-01T10:20:30Z","fieldsType":"FieldsV1","fieldsV1":{"f:data":{},"f:metadata":{"f:labels":{".":{}}}}}]},"data":{"spec":{"b":1,"a":[null,true,1.5]}},"revision":7}
        """;

    public const string CustomResourceDefinition = """
        {"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","metadata":{"name":"things.example.com"},"spec":{"group":"example.com","names":{"plural":"things","singular":"thing","kind":"Thing","listKind":"ThingList"},"scope":"Namespaced","versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","default":{"a":2,"z":1},"properties":{"size":{"type":"integer","maximum":10.5,"minimum":1},"tags":{"type":"array","items":{"type":"string"}}},"additionalProperties":true}},"x-kubernetes-preserve-unknown-fields":true}}}],"conversion":{"strategy":"None"}},"status":{"conditions":null,"acceptedNames":{"plural":"","kind":""},"storedVersions":null}}
        """;

    public const string HorizontalPodAutoscaler = """
        {"kind":"HorizontalPodAutoscaler","apiVersion":"autoscaling/v2","metadata":{"name":"web","namespace":"shop"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"web","apiVersion":"apps/v1"},"minReplicas":1,"maxReplicas":5,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]},"status":{"desiredReplicas":0,"currentMetrics":null}}
        """;

    public const string Ingress = """
        {"kind":"Ingress","apiVersion":"networking.k8s.io/v1","metadata":{"name":"web","namespace":"shop"},"spec":{"rules":[{"host":"shop.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"web","port":{"number":80}}}}]}}]},"status":{"loadBalancer":{}}}
        """;

    public const string ClusterRole = """
        {"kind":"ClusterRole","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"reader"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]},{"verbs":["get"],"nonResourceURLs":["/healthz"]}]}
        """;

    public const string SubjectAccessReview = """
        {"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":{},"spec":{"resourceAttributes":{"namespace":"shop","verb":"get","resource":"pods"},"user":"jane","groups":["dev"],"extra":{"scopes":["a","b"]}},"status":{"allowed":false}}
        """;

    public const string EndpointSlice = """
        {"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"web-abc","namespace":"shop","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[{"addresses":["10.42.0.17"],"conditions":{"ready":true,"serving":true,"terminating":false},"targetRef":{"kind":"Pod","namespace":"shop","name":"web"},"nodeName":"edge-1"}],"ports":[{"name":"http","protocol":"TCP","port":8080}]}
        """;

    public const string PodDisruptionBudget = """
        {"kind":"PodDisruptionBudget","apiVersion":"policy/v1","metadata":{"name":"web","namespace":"shop"},"spec":{"minAvailable":0,"selector":{"matchLabels":{"app":"web"}}},"status":{"disruptedPods":{"web-1":"2026-03-01T10:20:30Z"},"disruptionsAllowed":0,"currentHealthy":0,"desiredHealthy":0,"expectedPods":0}}
        """;

    public const string PodList = """
        {"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"12","continue":"abc","remainingItemCount":3},"items":[]}
        """;

    public const string PersistentVolume = """
        {"kind":"PersistentVolume","apiVersion":"v1","metadata":{"name":"pv-1"},"spec":{"capacity":{"storage":"1Gi"},"local":{"path":"/data"},"accessModes":["ReadWriteOnce"],"persistentVolumeReclaimPolicy":"Delete","storageClassName":"local-path","volumeMode":"Filesystem","nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["edge-1"]}]}]}}},"status":{"phase":"Bound"}}
        """;

    /// <summary>Every sample with its source name.</summary>
    public static TheoryData<string, string> All => new()
    {
        { nameof(Pod), Pod }, { nameof(Deployment), Deployment }, { nameof(Service), Service }, { nameof(Secret), Secret },
        { nameof(ConfigMap), ConfigMap }, { nameof(Node), Node }, { nameof(Lease), Lease }, { nameof(Event), Event },
        { nameof(ControllerRevision), ControllerRevision }, { nameof(CustomResourceDefinition), CustomResourceDefinition },
        { nameof(HorizontalPodAutoscaler), HorizontalPodAutoscaler }, { nameof(Ingress), Ingress }, { nameof(ClusterRole), ClusterRole },
        { nameof(SubjectAccessReview), SubjectAccessReview }, { nameof(EndpointSlice), EndpointSlice },
        { nameof(PodDisruptionBudget), PodDisruptionBudget }, { nameof(PodList), PodList }, { nameof(PersistentVolume), PersistentVolume },
    };

    /// <summary>The schema of a sample, by its own kind and version.</summary>
    public static TypeSchema TypeOf(string json)
    {
        using var document = Text.Decode(json);
        var version = document.Root["apiVersion"u8].AsString();
        var slash = version.IndexOf('/', StringComparison.Ordinal);
        return Schema.BuiltIn.FindType(slash < 0 ? "" : version[..slash], version[(slash + 1)..], document.Root["kind"u8].AsString())!;
    }
}
