namespace K3sFast.EndToEnd.Tests;

/// <summary>kubectl create and its generators: what is asked for is what is there.</summary>
public sealed class KubectlCreateTests(Cluster cluster) : ClusterTest(cluster)
{
    [Theory]
    [InlineData("configmap x --from-literal=a=b --from-literal=c=d", "configmap/x", "{.data.a}{.data.c}", "bd")]
    [InlineData("cronjob x --image=busybox:1.35 --schedule=0_0_1_1_* -- date", "cronjob.batch/x", "{.spec.schedule}|{.spec.jobTemplate.spec.template.spec.containers[0].command}", "0 0 1 1 *|[\"date\"]")]
    [InlineData("deployment x --image=busybox:1.35 --replicas=0 --port=80", "deployment.apps/x", "{.spec.replicas}|{.spec.template.spec.containers[0].ports[0].containerPort}", "0|80")]
    [InlineData("ingress x --class=c --rule=a.test/p*=s:80,tls=t --annotation=k=v", "ingress.networking.k8s.io/x", "{.spec.rules[0].host}|{.spec.rules[0].http.paths[0].pathType}|{.spec.tls[0].secretName}|{.metadata.annotations.k}", "a.test|Prefix|t|v")]
    [InlineData("job x --image=busybox:1.35 -- true", "job.batch/x", "{.spec.template.spec.restartPolicy}", "Never")]
    [InlineData("poddisruptionbudget x --selector=app=x --max-unavailable=50%", "poddisruptionbudget.policy/x", "{.spec.maxUnavailable}", "50%")]
    [InlineData("quota x --hard=pods=5 --scopes=BestEffort", "resourcequota/x", "{.spec.hard.pods}{.spec.scopes}", "5[\"BestEffort\"]")]
    [InlineData("role x --verb=get,list --resource=pods,deployments.apps --resource-name=r", "role.rbac.authorization.k8s.io/x", "{.rules[*].resources}|{.rules[0].resourceNames}", "[\"pods\"] [\"deployments\"]|[\"r\"]")]
    [InlineData("rolebinding x --clusterrole=view --user=u --group=g --serviceaccount=a:b", "rolebinding.rbac.authorization.k8s.io/x", "{.roleRef.name}|{.subjects[*].kind}", "view|User Group ServiceAccount")]
    [InlineData("secret docker-registry x --docker-server=r.test --docker-username=u --docker-password=p", "secret/x", "{.type}", "kubernetes.io/dockerconfigjson")]
    [InlineData("secret generic x --from-literal=a=b --type=my/type", "secret/x", "{.type}|{.data.a}", "my/type|Yg==")]
    [InlineData("service clusterip x --tcp=80:8080", "service/x", "{.spec.type}|{.spec.ports[0].targetPort}|{.spec.selector.app}", "ClusterIP|8080|x")]
    [InlineData("service clusterip x --clusterip=None", "service/x", "{.spec.clusterIP}", "None")]
    [InlineData("service externalname x --external-name=a.test", "service/x", "{.spec.type}|{.spec.externalName}", "ExternalName|a.test")]
    [InlineData("service loadbalancer x --tcp=80", "service/x", "{.spec.type}", "LoadBalancer")]
    [InlineData("serviceaccount x", "serviceaccount/x", "{.metadata.name}", "x")]
    public async Task Create_EachGenerator_MakesWhatItSays(string command, string created, string path, string expected)
    {
        // Spaces inside one argument are written as underscores.
        var result = await Try(["create", .. command.Split(' ').Select(static word => word.Replace('_', ' '))]);
        Assert.Equal($"{created} created", result.Ok());
        Assert.Equal(expected, await K("get", created, "-o", $"jsonpath={path}"));
        Assert.Contains("already exists", (await Try(["create", .. command.Split(' ').Select(static word => word.Replace('_', ' '))])).Error);
    }

    [Fact]
    public async Task Create_ClusterWideKinds_MakesWhatItSays()
    {
        var name = Namespace;
        try
        {
            Assert.Equal($"clusterrole.rbac.authorization.k8s.io/{name} created", await K("create", "clusterrole", name, "--verb=get", "--resource=nodes,pods/log", "--non-resource-url=/metrics"));
            Assert.Equal($"clusterrole.rbac.authorization.k8s.io/{name}-sum created", await K("create", "clusterrole", name + "-sum", $"--aggregation-rule=part={name}"));
            await K("label", "clusterrole", name, $"part={name}");
            await Eventually.GetAsync(() => K("get", "clusterrole", name + "-sum", "-o", "jsonpath={.rules[*].nonResourceURLs}"), rules => rules.Contains("/metrics"), "the sum has its part's rules");
            Assert.Equal($"clusterrolebinding.rbac.authorization.k8s.io/{name} created", await K("create", "clusterrolebinding", name, $"--clusterrole={name}", "--group=g"));
            Assert.Equal($"priorityclass.scheduling.k8s.io/{name} created", await K("create", "priorityclass", name, "--value=7", "--preemption-policy=Never", "--description=low"));
            Assert.Matches($@"{name}\s+7\s+false\s+\d+s\s+Never", await K("get", "priorityclass", name));
            Assert.Equal($"namespace/{name}-too created", await K("create", "namespace", name + "-too"));
        }
        finally
        {
            await Try("delete", "clusterrole", name, name + "-sum");
            await Try("delete", "clusterrolebinding", name);
            await Try("delete", "priorityclass", name);
            await Try("delete", "namespace", name + "-too", "--wait=false");
        }
    }

    [Fact]
    public async Task Create_NodePort_TakesThePortAndRefusesItTwice()
    {
        // From the part of the range that is kept for who asks for a port by number: no other test is given it.
        await K("create", "service", "nodeport", "a", "--tcp=80", "--node-port=30017");
        Assert.Matches(@"a\s+NodePort\s+\S+\s+<none>\s+80:30017/TCP", await K("get", "service", "a"));
        var second = await Try("create", "service", "nodeport", "b", "--tcp=80", "--node-port=30017");
        Assert.Contains("spec.ports[0].nodePort: Invalid value: 30017: provided port is already allocated", second.Error);
    }

    [Fact]
    public async Task Create_TlsSecret_TakesCertificateAndKey()
    {
        var (crt, key) = (Path.Combine(Node.Folder, Namespace + ".crt"), Path.Combine(Node.Folder, Namespace + ".key"));
        (await Node.RunAsync("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", crt, "-days", "1", "-subj", "/CN=x")).Ok();
        Assert.Equal("secret/t created", await K("create", "secret", "tls", "t", "--cert", crt, "--key", key));
        Assert.Equal("kubernetes.io/tls", await K("get", "secret", "t", "-o", "jsonpath={.type}"));
        Assert.Matches(@"tls.crt:\s+\d+ bytes", await K("describe", "secret", "t"));
    }

    [Fact]
    public async Task Create_FromFilesAndManifests_TakesTheirContent()
    {
        var folder = Directory.CreateDirectory(Path.Combine(Node.Folder, "files-" + Namespace)).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "one.txt"), "first\n");
        await File.WriteAllBytesAsync(Path.Combine(folder, "two.bin"), [0xff, 0x00]);
        var env = Path.Combine(Node.Folder, Namespace + ".env");
        await File.WriteAllTextAsync(env, "# a comment\nA=1\nB=two words\n");
        Assert.Equal("configmap/m created", await K("create", "configmap", "m", "--from-file", folder, "--from-file=named=" + env));
        Assert.Equal("first\n", (await Try("get", "configmap", "m", "-o", @"jsonpath={.data.one\.txt}")).Output);
        Assert.Equal("/wA=", await K("get", "configmap", "m", "-o", @"jsonpath={.binaryData.two\.bin}"));
        Assert.Equal("configmap/e created", await K("create", "configmap", "e", "--from-env-file", env));
        Assert.Equal("1|two words", await K("get", "configmap", "e", "-o", "jsonpath={.data.A}|{.data.B}"));
        Assert.Equal("secret/s created", await K("create", "secret", "generic", "s", "--from-file", Path.Combine(folder, "two.bin")));
        Assert.Equal("/wA=", await K("get", "secret", "s", "-o", @"jsonpath={.data.two\.bin}"));
        const string Two = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- {apiVersion: v1, kind: ServiceAccount, metadata: {generateName: b-}}\n";
        Assert.Matches(@"^configmap/a created\nserviceaccount/b-\w{5} created$", (await Node.KubectlAsync(["-n", Namespace, "create", "-f", "-", "--save-config"], Two)).Ok());
        Assert.Contains("last-applied-configuration", await K("get", "configmap", "a", "-o", "yaml"));
        var wrong = await Node.KubectlAsync(["-n", Namespace, "create", "-f", "-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndatum: {}\n");
        Assert.Contains("strict decoding error: unknown field \"datum\"", wrong.Error);
        Assert.Contains("created", (await Node.KubectlAsync(["-n", Namespace, "create", "--validate=false", "-f", "-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndatum: {}\n")).Ok());
    }

    [Fact]
    public async Task Create_Token_IsForWhatWasAsked()
    {
        await K("create", "serviceaccount", "robot");
        var token = await K("create", "token", "robot", "--audience=vault", "--duration=10m");
        var claims = Claims(token);
        Assert.Equal("vault", (string?)claims["aud"]![0]);
        Assert.Equal(600, (long)claims["exp"]! - (long)claims["iat"]!);
        Assert.Equal($"system:serviceaccount:{Namespace}:robot", (string?)claims["sub"]);
        await K("create", "secret", "generic", "s");
        var bound = Claims(await K("create", "token", "robot", "--bound-object-kind=Secret", "--bound-object-name=s"));
        Assert.Equal("s", (string?)bound["kubernetes.io"]!["secret"]!["name"]);
        Assert.Contains("secrets \"none\" not found", (await Try("create", "token", "robot", "--bound-object-kind=Secret", "--bound-object-name=none")).Error);
    }

    [NeedsNode]
    [Fact]
    public async Task Create_JobFromCronJob_RunsItNow()
    {
        await K("create", "cronjob", "c", "--image=busybox:1.35", "--schedule=0 0 1 1 *", "--", "echo", "hello");
        await K("create", "job", "now", "--from=cronjob/c");
        await K("wait", "job/now", "--for=condition=Complete", "--timeout=240s");
        Assert.Equal("hello", await K("logs", "job/now"));
        Assert.Equal("c", await K("get", "job", "now", "-o", "jsonpath={.metadata.ownerReferences[0].name}"));
    }

    [Fact]
    public async Task Create_DryRun_ShowsAndMakesNothing()
    {
        var server = await K("create", "configmap", "m", "--from-literal=a=b", "--dry-run=server", "-o", "yaml");
        Assert.Contains("uid: ", server);
        Assert.DoesNotContain("uid: ", await K("create", "configmap", "m", "--from-literal=a=b", "--dry-run=client", "-o", "yaml"));
        Assert.Contains("(NotFound)", (await Try("get", "configmap", "m")).Error);
    }

    private static System.Text.Json.Nodes.JsonNode Claims(string token)
    {
        var payload = token.Split('.')[1].Replace('-', '+').Replace('_', '/');
        return System.Text.Json.Nodes.JsonNode.Parse(Convert.FromBase64String(payload.PadRight((payload.Length + 3) / 4 * 4, '=')))!;
    }
}
