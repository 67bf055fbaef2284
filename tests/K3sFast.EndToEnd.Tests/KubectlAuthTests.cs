namespace K3sFast.EndToEnd.Tests;

/// <summary>auth can-i, whoami and reconcile; certificate approve and deny.</summary>
public sealed class KubectlAuthTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task CanI_List_ShowsTheRulesOfTheUser()
    {
        await K("create", "role", "r", "--verb=get,list", "--resource=pods");
        await K("create", "rolebinding", "b", "--role=r", "--user=jane");
        await Eventually.GetAsync(() => Try("auth", "can-i", "get", "pods", "--as=jane"), answer => answer.Output.Trim() == "yes", "the role is in force");
        var rules = await K("auth", "can-i", "--list", "--as=jane");
        Assert.Matches(@"pods\s+\[\]\s+\[\]\s+\[get list\]", rules);
        Assert.Contains("selfsubjectreviews.authentication.k8s.io", rules);
        Assert.Equal("no", (await Try("auth", "can-i", "get", "pods", "--as=jane", "-n", "kube-system")).Output.Trim());
        Assert.Equal("yes", await K("auth", "can-i", "*", "*"));
        Assert.Equal("yes", await K("auth", "can-i", "get", "/version", "--as=jane", "--as-group=system:authenticated"));
        Assert.Equal(1, (await Try("auth", "can-i", "create", "pods/exec", "--as=jane", "-q")).ExitCode);
    }

    [Fact]
    public async Task WhoAmI_AlsoImpersonated_TellsNameAndGroups()
    {
        Assert.Matches(@"Username\s+system:admin\nGroups\s+\[system:masters system:authenticated\]", await K("auth", "whoami"));
        var other = await K("auth", "whoami", "--as=jane", "--as-group=devs", "--as-uid=7");
        Assert.Matches(@"Username\s+jane", other);
        Assert.Matches(@"UID\s+7", other);
        Assert.Contains("devs", other);
    }

    [Fact]
    public async Task Reconcile_Rules_AddsWhatIsMissing()
    {
        var role = $"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r, namespace: {Namespace}}}\nrules: [{{apiGroups: [''], resources: [pods], verbs: [get]}}]\n";
        await K("create", "role", "r", "--verb=list", "--resource=secrets");
        var result = await Node.KubectlAsync(["-n", Namespace, "auth", "reconcile", "-f", "-"], role);
        Assert.Contains("role.rbac.authorization.k8s.io/r reconciled", result.Ok());
        Assert.Equal("[\"secrets\"] [\"pods\"]", await K("get", "role", "r", "-o", "jsonpath={.rules[*].resources}"));
        (await Node.KubectlAsync(["-n", Namespace, "auth", "reconcile", "-f", "-", "--remove-extra-permissions"], role)).Ok();
        Assert.Equal("[\"pods\"]", await K("get", "role", "r", "-o", "jsonpath={.rules[*].resources}"));
    }

    [Theory]
    [InlineData("approve", "approved", "Approved")]
    [InlineData("deny", "denied", "Denied")]
    public async Task Certificate_Verdict_IsACondition(string verb, string says, string condition)
    {
        var name = $"{Namespace}-{verb}";
        var folder = Node.Folder;
        (await Node.RunAsync("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", $"{folder}/{name}.key", "-out", $"{folder}/{name}.csr", "-subj", "/CN=jane/O=devs")).Ok();
        var request = Convert.ToBase64String(await File.ReadAllBytesAsync($"{folder}/{name}.csr", TestContext.Current.CancellationToken));
        (await Node.KubectlAsync(["create", "-f", "-"],
            $"apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {name}}}\nspec: {{request: {request}, signerName: example.com/mine, usages: [client auth]}}\n")).Ok();
        try
        {
            Assert.Matches($@"{name}\s+\d+s\s+example.com/mine\s+system:admin\s+<none>\s+Pending", await K("get", "csr", name));
            Assert.Equal($"certificatesigningrequest.certificates.k8s.io/{name} {says}", await K("certificate", verb, name));
            Assert.Equal($"{condition} True", await K("get", "csr", name, "-o", "jsonpath={.status.conditions[0].type} {.status.conditions[0].status}"));
            Assert.Matches($@"{name}\s+.*{condition}", await K("get", "csr", name));
            Assert.Matches(@"Common Name:\s+jane", await K("describe", "csr", name));
        }
        finally
        {
            await Try("delete", "csr", name);
        }
        Assert.Contains("\"nope\" not found", (await Try("certificate", "approve", "nope")).Error);
    }
}
