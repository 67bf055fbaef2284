using System.Text;

namespace K3sFast.ApiMachinery.Tests;

public sealed class DefaultingTests
{
    [Fact]
    public void Table_EveryType_ExistsInTheSchema()
    {
        var unknown = DefaultsTable.Types.Where(static type => Schema.BuiltIn.FindType(type) is null).ToArray();

        Assert.Empty(unknown);
    }

    [Fact]
    public void Table_EveryRule_NamesAFieldOfItsType()
    {
        var wrong = new List<string>();
        foreach (var type in DefaultsTable.Types)
            foreach (var rule in DefaultsTable.For(type))
                if (!Schema.BuiltIn.FindType(type)!.TryGetField(rule.FirstSegment, out _))
                    wrong.Add($"{type}.{Encoding.UTF8.GetString(rule.FirstSegment)}");

        Assert.Empty(wrong);
    }

    [Theory]
    [InlineData("pods",
        """{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80}]}]}}""",
        """{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler","enableServiceLinks":true},"status":{}}""")]
    [InlineData("pods",
        """{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"hostNetwork":true,"serviceAccountName":"sa","containers":[{"name":"c","image":"r.io:5000/nginx:1.27","ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"0.5","memory":"64Mi"},"requests":{"cpu":"100m"}},"livenessProbe":{"httpGet":{"port":80}},"env":[{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}]}],"volumes":[{"name":"e"},{"name":"s","secret":{"secretName":"x"}},{"name":"h","hostPath":{"path":"/"}}]}}""",
        """{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{"volumes":[{"name":"e","emptyDir":{}},{"name":"s","secret":{"secretName":"x","defaultMode":420}},{"name":"h","hostPath":{"path":"/","type":""}}],"containers":[{"name":"c","image":"r.io:5000/nginx:1.27","ports":[{"hostPort":80,"containerPort":80,"protocol":"TCP"}],"env":[{"name":"IP","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"status.podIP"}}}],"resources":{"limits":{"cpu":"500m","memory":"64Mi"},"requests":{"cpu":"100m","memory":"64Mi"}},"livenessProbe":{"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"sa","serviceAccount":"sa","hostNetwork":true,"securityContext":{},"schedulerName":"default-scheduler","enableServiceLinks":true},"status":{}}""")]
    [InlineData("deployments.apps",
        """{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x:1"}]}}}}""",
        """{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x:1","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}},"revisionHistoryLimit":10,"progressDeadlineSeconds":600},"status":{}}""")]
    [InlineData("deployments.apps",
        """{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":0,"strategy":{"type":"Recreate"},"selector":{},"template":{"spec":{"containers":[]}}}}""",
        """{"kind":"Deployment","apiVersion":"apps/v1","metadata":{},"spec":{"replicas":0,"selector":{},"template":{"metadata":{},"spec":{"containers":[],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"strategy":{"type":"Recreate"},"revisionHistoryLimit":10,"progressDeadlineSeconds":600},"status":{}}""")]
    [InlineData("statefulsets.apps",
        """{"apiVersion":"apps/v1","kind":"StatefulSet","spec":{"serviceName":"s","selector":{},"template":{"spec":{"containers":[]}},"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]}}""",
        """{"kind":"StatefulSet","apiVersion":"apps/v1","metadata":{},"spec":{"replicas":1,"selector":{},"template":{"metadata":{},"spec":{"containers":[],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"volumeClaimTemplates":[{"kind":"PersistentVolumeClaim","apiVersion":"v1","metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"volumeMode":"Filesystem"},"status":{"phase":"Pending"}}],"serviceName":"s","podManagementPolicy":"OrderedReady","updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":0}},"revisionHistoryLimit":10,"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"}},"status":{"replicas":0,"availableReplicas":0}}""")]
    [InlineData("services",
        """{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"selector":{"a":"b"},"type":"NodePort","ports":[{"port":80}]}}""",
        """{"kind":"Service","apiVersion":"v1","metadata":{"name":"s"},"spec":{"ports":[{"protocol":"TCP","port":80,"targetPort":80}],"selector":{"a":"b"},"type":"NodePort","sessionAffinity":"None","externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster"},"status":{"loadBalancer":{}}}""")]
    [InlineData("rolebindings.rbac.authorization.k8s.io",
        """{"kind":"RoleBinding","metadata":{"name":"x"},"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"u"},{"kind":"ServiceAccount","name":"s","namespace":"n"}]}""",
        """{"kind":"RoleBinding","metadata":{"name":"x"},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"u"},{"kind":"ServiceAccount","name":"s","namespace":"n"}],"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"}}""")]
    [InlineData("networkpolicies.networking.k8s.io",
        """{"kind":"NetworkPolicy","metadata":{"name":"x"},"spec":{"podSelector":{},"egress":[{"ports":[{"port":53}]}]}}""",
        """{"kind":"NetworkPolicy","metadata":{"name":"x"},"spec":{"podSelector":{},"egress":[{"ports":[{"protocol":"TCP","port":53}]}],"policyTypes":["Ingress","Egress"]}}""")]
    public void Apply_Object_IsWhatUpstreamShows(string resource, string json, string expected)
    {
        using var document = Rules.Defaulted(resource, json);

        Assert.Equal(expected, Text.Encode(document, Rules.Resource(resource).Type));
    }

    [Theory]
    [InlineData("""{"a":"b"}""", "null", """{"a":"b"}""")]
    [InlineData("""{"a":"b"}""", """{"c":"d"}""", """{"c":"d"}""")]
    [InlineData("{}", "{}", "")]
    public void Complete_AJobWithoutLabels_TakesThoseOfItsPods(string ofPods, string own, string expected)
    {
        using var document = Text.Decode($$"""{"metadata":{"name":"j","labels":{{own}} },"spec":{"template":{"metadata":{"labels":{{ofPods}} } } } }""", Text.Type("batch.v1.Job"));
        Defaulting.Complete(document.Root, Rules.Resource("jobs.batch"));
        Assert.Equal(expected.Length == 0 ? "{\"name\":\"j\"}" : $"{{\"name\":\"j\",\"labels\":{expected}}}", Text.Encode(document, Text.Type("batch.v1.Job"))["{\"metadata\":".Length..].Split(",\"spec\"")[0]);
    }

    [Fact]
    public void Apply_Twice_ChangesNothing()
    {
        using var document = Rules.Defaulted("pods", """{"spec":{"containers":[{"name":"c","image":"a","resources":{"limits":{"cpu":"1"}}}],"volumes":[{"name":"v"}]}}""");
        string once = Text.Encode(document, Rules.Resource("pods").Type);
        Defaulting.Apply(document.Root, Rules.Resource("pods"));

        Assert.Equal(once, Text.Encode(document, Rules.Resource("pods").Type));
    }

    [Theory]
    [InlineData("nginx", "Always")]
    [InlineData("nginx:latest", "Always")]
    [InlineData("r.io:5000/nginx", "Always")]
    [InlineData("nginx:1.27", "IfNotPresent")]
    [InlineData("nginx@sha256:0123456789012345678901234567890123456789012345678901234567890123", "IfNotPresent")]
    public void Apply_Image_PullPolicyFollowsTag(string image, string policy)
    {
        using var document = Rules.Defaulted("pods", """{"spec":{"containers":[{"name":"c","image":"IMAGE"}]}}""".Replace("IMAGE", image));

        Assert.Equal(policy, document.Root["spec"u8]["containers"u8][0]["imagePullPolicy"u8].AsString());
    }
}
