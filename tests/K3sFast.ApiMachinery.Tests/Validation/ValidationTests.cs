namespace K3sFast.ApiMachinery.Tests;

public sealed class ValidationTests
{
    private const string Label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    private const string Subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

    [Theory]
    [InlineData("pods", """{"metadata":{"name":"a","namespace":"default"},"spec":{"containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80,"name":"http"}],"volumeMounts":[{"name":"v","mountPath":"/v"}],"resources":{"requests":{"cpu":"1"},"limits":{"cpu":"2","memory":"1Gi"}},"env":[{"name":"A_b.c","value":"1"}],"livenessProbe":{"tcpSocket":{"port":"http"}}}],"volumes":[{"name":"v","configMap":{"name":"x"}}],"tolerations":[{"operator":"Exists"}],"nodeSelector":{"a/b":"c"}}}""")]
    [InlineData("deployments.apps", """{"metadata":{"name":"a","namespace":"default"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b","c":"d"}},"spec":{"containers":[{"name":"c","image":"nginx"}]}}}}""")]
    [InlineData("statefulsets.apps", """{"metadata":{"name":"a","namespace":"default"},"spec":{"serviceName":"s","selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"nginx","volumeMounts":[{"name":"d","mountPath":"/d"}]}]}},"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]}}""")]
    [InlineData("daemonsets.apps", """{"metadata":{"name":"a","namespace":"default"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"nginx"}]}}}}""")]
    [InlineData("jobs.batch", """{"metadata":{"name":"a","namespace":"default","uid":"u"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"nginx"}]}}}}""")]
    [InlineData("cronjobs.batch", """{"metadata":{"name":"a","namespace":"default"},"spec":{"schedule":"*/5 1-3,5 * JAN-MAR mon","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"OnFailure","containers":[{"name":"c","image":"nginx"}]}}}}}}""")]
    [InlineData("services", """{"metadata":{"name":"a","namespace":"default"},"spec":{"clusterIP":"10.43.0.1","clusterIPs":["10.43.0.1"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","ports":[{"port":80},{"port":81,"name":"x"},{"port":80,"protocol":"UDP","name":"y"}]}}""", "spec.ports[0].name: Required value")]
    [InlineData("services", """{"metadata":{"name":"a","namespace":"default"},"spec":{"clusterIP":"None","clusterIPs":["None"]}}""")]
    [InlineData("services", """{"metadata":{"name":"a","namespace":"default"},"spec":{"type":"ExternalName","externalName":"example.com"}}""")]
    [InlineData("services", """{"metadata":{"name":"a","namespace":"default"},"spec":{"type":"Foo","ports":[{"port":0,"targetPort":"-"}]}}""",
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "spec.ports[0].targetPort: Invalid value: \"-\": must contain at least one letter (a-z)",
        "spec.ports[0].targetPort: Invalid value: \"-\": must not begin or end with a hyphen",
        "spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"")]
    [InlineData("configmaps", """{"metadata":{"name":"a","namespace":"default"},"data":{"a b":"1","..x":"2"}}""",
        "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        "data[..x]: Invalid value: \"..x\": must not start with '..'")]
    [InlineData("secrets", """{"metadata":{"name":"a","namespace":"default"},"type":"kubernetes.io/tls","stringData":{"tls.crt":"x"}}""", "data[tls.key]: Required value")]
    [InlineData("pods", """{"metadata":{"name":"A_","namespace":"default","labels":{"-":"b"},"annotations":{"x/y/z":""}},"spec":{"containers":[]}}""",
        "metadata.name: Invalid value: \"A_\": " + Subdomain,
        "metadata.labels: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        "metadata.annotations: Invalid value: \"x/y/z\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        "spec.containers: Required value")]
    [InlineData("pods", """{"metadata":{"name":"a","namespace":"default"},"spec":{"restartPolicy":"Sometimes","containers":[{"name":"C","image":" x","imagePullPolicy":"Often","ports":[{"containerPort":70000,"protocol":"tcp"}],"env":[{"name":"a=b"}],"volumeMounts":[{"name":"v","mountPath":"/v"}],"resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}},"readinessProbe":{}},{"name":"d"}]}}""",
        "spec.containers[0].name: Invalid value: \"C\": " + Label,
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        "spec.containers[0].imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        "spec.containers[0].readinessProbe: Required value: must specify a handler type",
        "spec.containers[1].image: Required value",
        "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        "spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace")]
    [InlineData("deployments.apps", """{"metadata":{"name":"a","namespace":"default"},"spec":{"replicas":-1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"c"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"nginx"}]}}}}""",
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
        "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"")]
    [InlineData("jobs.batch", """{"metadata":{"name":"a","namespace":"default","uid":"u"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"nginx"}]}}}}""",
        "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"")]
    [InlineData("namespaces", """{"metadata":{"name":"a.b"}}""", "metadata.name: Invalid value: \"a.b\": must not contain dots")]
    [InlineData("clusterrolebindings.rbac.authorization.k8s.io", """{"metadata":{"name":"system:x"},"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"ServiceAccount","name":"s"}]}""",
        "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
        "subjects[0].namespace: Required value")]
    [InlineData("ingresses.networking.k8s.io", """{"metadata":{"name":"a","namespace":"n"},"spec":{"rules":[{"host":"*.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}}""")]
    [InlineData("ingresses.networking.k8s.io", """{"metadata":{"name":"a","namespace":"n"},"spec":{"rules":[{"host":"1.2.3.4","http":{"paths":[{"path":"x//y","pathType":"Exact","backend":{"service":{"name":"s"}}},{"backend":{}}]}}]}}""",
        "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
        "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must be an absolute path",
        "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must not contain '//'",
        "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
        "spec.rules[0].http.paths[1].pathType: Required value: pathType must be specified")]
    [InlineData("networkpolicies.networking.k8s.io", """{"metadata":{"name":"a","namespace":"n"},"spec":{"podSelector":{},"ingress":[{"from":[{},{"ipBlock":{"cidr":"10.0.0.0/8","except":["11.0.0.0/16"]}}],"ports":[{"port":80,"endPort":79}]}]}}""",
        "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
        "spec.ingress[0].from[0]: Required value: must specify a peer",
        "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`")]
    [InlineData("horizontalpodautoscalers.autoscaling", """{"metadata":{"name":"a","namespace":"n"},"spec":{"maxReplicas":1,"minReplicas":2,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}}""",
        "spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`")]
    [InlineData("poddisruptionbudgets.policy", """{"metadata":{"name":"a","namespace":"n"},"spec":{"maxUnavailable":"101%","selector":{"matchLabels":{"a":"b"}}}}""",
        "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%")]
    [InlineData("persistentvolumeclaims", """{"metadata":{"name":"a","namespace":"n"},"spec":{"accessModes":["RWO"]}}""",
        "spec.accessModes: Unsupported value: \"RWO\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
        "spec.resources[storage]: Required value")]
    [InlineData("persistentvolumes", """{"metadata":{"name":"a"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/d"},"storageClassName":"x"}}""")]
    [InlineData("endpointslices.discovery.k8s.io", """{"metadata":{"name":"a","namespace":"n"},"addressType":"IPv4","endpoints":[{"addresses":["127.0.0.1"]},{"addresses":["::1:2"]},{"addresses":[]}],"ports":[{"port":80}]}""",
        "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        "endpoints[1].addresses: Invalid value: \"::1:2\": must be an IPv4 address",
        "endpoints[2].addresses: Required value: must contain at least 1 address")]
    [InlineData("priorityclasses.scheduling.k8s.io", """{"metadata":{"name":"a"},"value":1000000001}""", "value: Forbidden: maximum allowed value of a user defined priority is 1000000000")]
    [InlineData("leases.coordination.k8s.io", """{"metadata":{"name":"a","namespace":"n"},"spec":{"leaseDurationSeconds":0}}""", "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0")]
    [InlineData("storageclasses.storage.k8s.io", """{"metadata":{"name":"a"},"provisioner":"rancher.io/local-path"}""")]
    [InlineData("cronjobs.batch", """{"metadata":{"name":"a","namespace":"n"},"spec":{"schedule":"* * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}""",
        "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]")]
    public void ValidateCreate_Object_SaysWhatUpstreamSays(string resource, string json, params string[] expected) =>
        Assert.Equal(expected, Rules.CreateErrors(resource, json));

    [Fact]
    public void ValidateUpdate_PodFieldsThatMayChange_AreAccepted() => Assert.Empty(Rules.UpdateErrors("pods", Pod("nginx:1", "30"), Pod("nginx:2", "30")));

    [Fact]
    public void ValidateUpdate_OtherPodField_IsForbiddenWithTheList()
    {
        var errors = Rules.UpdateErrors("pods", Pod("nginx:1", "30"), Pod("nginx:1", "31"));

        Assert.StartsWith(
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n",
            Assert.Single(errors));
    }

    [Fact]
    public void ValidateUpdate_ContainerAdded_IsForbidden()
    {
        var more = Pod("nginx:1", "30").Replace("\"containers\":[", "\"containers\":[{\"name\":\"x\",\"image\":\"x\"},");

        Assert.Equal("spec.containers: Forbidden: pod updates may not add or remove containers", Assert.Single(Rules.UpdateErrors("pods", Pod("nginx:1", "30"), more)));
    }

    [Fact]
    public void ValidateUpdate_DeploymentSelector_IsImmutable()
    {
        const string Old = """{"metadata":{"name":"a","namespace":"n","resourceVersion":"1"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b","c":"d"}},"spec":{"containers":[{"name":"c","image":"nginx"}]}}}}""";
        var errors = Rules.UpdateErrors("deployments.apps", Old, Old.Replace("\"matchLabels\":{\"a\":\"b\"}", "\"matchLabels\":{\"c\":\"d\"}"));

        Assert.Equal("spec.selector: Invalid value: {\"matchLabels\":{\"c\":\"d\"}}: field is immutable", Assert.Single(errors));
    }

    // Older ones were stored without it.
    [Fact]
    public void ValidateUpdate_StatefulSetWhoseClaimsDoNotSayWhatTheyAre_IsAccepted()
    {
        const string Set = """{"metadata":{"name":"a","namespace":"n","resourceVersion":"1"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"nginx"}]}},"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]}}""";
        var resource = Rules.Resource("statefulsets.apps");
        using var old = Rules.Created("statefulsets.apps", Set);
        foreach (var claim in old.Root["spec"u8]["volumeClaimTemplates"u8].Elements)
        {
            claim.Remove("kind"u8);
            claim.Remove("apiVersion"u8);
        }
        using var same = Rules.Defaulted("statefulsets.apps", Set);
        RestStrategy.PrepareForUpdate(same.Root, old.Root, resource, "");
        Assert.Empty(Validation.ValidateUpdate(same.Root, old.Root, resource, ""));
        using var other = Rules.Defaulted("statefulsets.apps", Set.Replace("1Gi", "2Gi"));
        RestStrategy.PrepareForUpdate(other.Root, old.Root, resource, "");
        Assert.Single(Validation.ValidateUpdate(other.Root, old.Root, resource, ""));
    }

    [Fact]
    public void ValidateUpdate_ConfigMapMarkedImmutable_KeepsItsData()
    {
        const string Old = """{"metadata":{"name":"a","namespace":"n","resourceVersion":"1"},"immutable":true,"data":{"a":"1"}}""";

        Assert.Equal(["data: Forbidden: field is immutable when `immutable` is set"], Rules.UpdateErrors("configmaps", Old, Old.Replace("\"1\"}}", "\"2\"}}")));
    }

    [Fact]
    public void ValidateUpdate_WithoutResourceVersion_IsInvalid() =>
        Assert.Contains("metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
            Rules.UpdateErrors("configmaps", """{"metadata":{"name":"a","namespace":"n"}}""", """{"metadata":{"name":"a","namespace":"n"}}"""));

    [Fact]
    public void ValidateCreate_PodWithNothingWrong_AllocatesOnlyTheList()
    {
        var resource = Rules.Resource("pods");
        // Quantities are compared as exact numbers, which costs a little each: not what is measured here.
        using var document = Rules.Created("pods", Pod("nginx:1", "30").Replace(",\"resources\":{\"limits\":{\"cpu\":\"1\"}}", ""));
        for (int i = 0; i < 100; i++)
            Validation.ValidateCreate(document.Root, resource);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
            Validation.ValidateCreate(document.Root, resource);

        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 1000, 0, 64);
    }

    private static string Pod(string image, string grace) =>
        """{"metadata":{"name":"a","namespace":"default","resourceVersion":"1"},"spec":{"terminationGracePeriodSeconds":GRACE,"containers":[{"name":"c","image":"IMAGE","ports":[{"containerPort":80,"name":"http"}],"resources":{"limits":{"cpu":"1"}}}]}}"""
            .Replace("IMAGE", image).Replace("GRACE", grace);
}
