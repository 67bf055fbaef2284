using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class CrudTests(TestServer server)
{
    [Fact]
    public async Task ConfigMap_ThroughItsLife_AnswersAsUpstream()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        var created = await server.CreateAsync(path, """{"metadata":{"name":"a"},"data":{"k":"v"}}""");
        Assert.Equal(["kind", "apiVersion", "metadata", "data"], created.AsObject().Select(static m => m.Key));
        Assert.NotEmpty((string)created["metadata"]!["uid"]!);

        var again = await server.SendAsync(HttpMethod.Post, path, """{"metadata":{"name":"a"}}""");
        Assert.Equal((409, "AlreadyExists", "configmaps \"a\" already exists"), (again.Code, again.Reason, again.Message));

        var version = (string)created["metadata"]!["resourceVersion"]!;
        created["data"]!["k"] = "w";
        var updated = await server.SendAsync(HttpMethod.Put, $"{path}/a", created.ToJsonString());
        Assert.Equal(200, updated.Code);
        Assert.NotEqual(version, (string)updated.Json["metadata"]!["resourceVersion"]!);

        var stale = await server.SendAsync(HttpMethod.Put, $"{path}/a", created.ToJsonString());
        Assert.Equal(409, stale.Code);
        Assert.Equal("Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again", stale.Message);

        var same = await server.SendAsync(HttpMethod.Put, $"{path}/a", updated.Text);
        Assert.Equal((string)updated.Json["metadata"]!["resourceVersion"]!, (string)same.Json["metadata"]!["resourceVersion"]!);

        var deleted = await server.SendAsync(HttpMethod.Delete, $"{path}/a");
        Assert.Equal(("Success", "a", "configmaps"), ((string?)deleted.Json["status"], (string?)deleted.Json["details"]!["name"], (string?)deleted.Json["details"]!["kind"]));
        Assert.Equal(404, (await server.GetAsync($"{path}/a")).Code);
    }

    [Theory]
    [InlineData("application/merge-patch+json", """{"data":{"b":null,"c":"3"}}""")]
    [InlineData("application/strategic-merge-patch+json", """{"data":{"b":null,"c":"3"}}""")]
    [InlineData("application/json-patch+json", """[{"op":"remove","path":"/data/b"},{"op":"add","path":"/data/c","value":"3"}]""")]
    public async Task Patch_OfEachKind_ChangesTheObject(string type, string patch)
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a"},"data":{"a":"1","b":"2"}}""");
        var patched = await server.SendAsync(HttpMethod.Patch, $"{path}/a", patch, type);
        Assert.Equal("""{"a":"1","c":"3"}""", patched.Json["data"]!.ToJsonString());
    }

    [Fact]
    public async Task Patches_InParallel_AllTakeEffect()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a"}}""");
        var answers = await Task.WhenAll(Enumerable.Range(0, 5).Select(i =>
            server.SendAsync(HttpMethod.Patch, $"{path}/a", "{\"data\":{\"k" + i + "\":\"v\"}}", "application/merge-patch+json")));
        Assert.All(answers, static a => Assert.Equal(200, a.Code));
        Assert.Equal(5, (await server.GetAsync($"{path}/a")).Json["data"]!.AsObject().Count);
    }

    [Fact]
    public async Task DryRun_OfEveryWrite_StoresNothing()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        Assert.Equal(201, (await server.SendAsync(HttpMethod.Post, $"{path}?dryRun=All", """{"metadata":{"name":"a"}}""")).Code);
        Assert.Equal(404, (await server.GetAsync($"{path}/a")).Code);
        await server.CreateAsync(path, """{"metadata":{"name":"a"}}""");
        await server.SendAsync(HttpMethod.Patch, $"{path}/a?dryRun=All", """{"data":{"k":"v"}}""", "application/merge-patch+json");
        await server.SendAsync(HttpMethod.Delete, $"{path}/a?dryRun=All");
        Assert.Null((await server.GetAsync($"{path}/a")).Json["data"]);
    }

    [Fact]
    public async Task DryRun_AnswersTheVersionOfWhatIsStored_AndNoneForWhatIsNot()
    {
        var path = $"/api/v1/namespaces/{await server.NamespaceAsync()}/configmaps";
        var created = await server.SendAsync(HttpMethod.Post, $"{path}?dryRun=All", """{"metadata":{"name":"a"}}""");
        Assert.Equal(201, created.Code);
        Assert.False(created.Json["metadata"]!.AsObject().ContainsKey("resourceVersion"));
        Assert.NotNull(created.Json["metadata"]!["uid"]);
        var stored = await server.SendAsync(HttpMethod.Post, path, """{"metadata":{"name":"a"}}""");
        var patched = await server.SendAsync(HttpMethod.Patch, $"{path}/a?dryRun=All", """{"data":{"k":"v"}}""", "application/merge-patch+json");
        Assert.Equal((string?)stored.Json["metadata"]!["resourceVersion"], (string?)patched.Json["metadata"]!["resourceVersion"]);
    }

    [Fact]
    public async Task Finalizer_HoldsADeletedObject_UntilItIsTakenAway()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a","finalizers":["example.com/x"]}}""");
        var deleted = await server.SendAsync(HttpMethod.Delete, $"{path}/a");
        Assert.NotNull(deleted.Json["metadata"]!["deletionTimestamp"]);
        Assert.Equal(200, (await server.GetAsync($"{path}/a")).Code);
        Assert.Equal(200, (await server.SendAsync(HttpMethod.Patch, $"{path}/a", """{"metadata":{"finalizers":null}}""", "application/merge-patch+json")).Code);
        Assert.Equal(404, (await server.GetAsync($"{path}/a")).Code);
    }

    [Fact]
    public async Task Delete_WithAnotherUid_IsAConflict()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a"}}""");
        var answer = await server.SendAsync(HttpMethod.Delete, $"{path}/a", """{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"x"}}""");
        Assert.Equal(409, answer.Code);
        Assert.Contains("the UID in the precondition (x) does not match the UID in record", answer.Message);
    }

    [Fact]
    public async Task Pod_Deleted_WaitsForItsGracePeriod()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/pods";
        await server.CreateAsync(path, """{"metadata":{"name":"p"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}}""");
        var deleted = await server.SendAsync(HttpMethod.Delete, $"{path}/p");
        Assert.Equal(30, (int)deleted.Json["metadata"]!["deletionGracePeriodSeconds"]!);
        var now = await server.SendAsync(HttpMethod.Delete, $"{path}/p?gracePeriodSeconds=0");
        Assert.Equal(200, now.Code);
        Assert.Equal(404, (await server.GetAsync($"{path}/p")).Code);
    }

    [Fact]
    public async Task Pod_Created_GetsAccountTokenTolerationsAndPriority()
    {
        var ns = await server.NamespaceAsync();
        var pod = await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"generateName":"p-"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        var spec = pod["spec"]!;
        Assert.StartsWith("p-", (string)pod["metadata"]!["name"]!);
        Assert.Equal("default", (string?)spec["serviceAccountName"]);
        Assert.Equal("/var/run/secrets/kubernetes.io/serviceaccount", (string?)spec["containers"]![0]!["volumeMounts"]![0]!["mountPath"]);
        Assert.Equal(2, spec["tolerations"]!.AsArray().Count);
        Assert.Equal(0, (int)spec["priority"]!);
        Assert.Equal("Pending", (string?)pod["status"]!["phase"]);
        Assert.Equal("BestEffort", (string?)pod["status"]!["qosClass"]);
    }

    [Fact]
    public async Task Pod_WithAnUnknownAccount_IsForbidden()
    {
        var answer = await server.SendAsync(HttpMethod.Post, "/api/v1/namespaces/default/pods",
            """{"metadata":{"name":"p"},"spec":{"serviceAccountName":"none","containers":[{"name":"c","image":"i"}]}}""");
        Assert.Equal(403, answer.Code);
        Assert.Equal("pods \"p\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found", answer.Message);
    }

    [Fact]
    public async Task Binding_Posted_AssignsThePodOnce()
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        const string Binding = """{"metadata":{"name":"p"},"target":{"kind":"Node","name":"n1"}}""";
        Assert.Equal(201, (await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods/p/binding", Binding)).Code);
        var pod = await server.GetAsync($"/api/v1/namespaces/{ns}/pods/p");
        Assert.Equal("n1", (string?)pod.Json["spec"]!["nodeName"]);
        Assert.Equal("PodScheduled", (string?)pod.Json["status"]!["conditions"]![0]!["type"]);
        var again = await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods/p/binding", Binding);
        Assert.Equal(409, again.Code);
    }

    [Fact]
    public async Task Scale_OfADeployment_ChangesItsReplicas()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/apis/apps/v1/namespaces/{ns}/deployments";
        await server.CreateAsync(path, """{"metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}""");
        var scale = await server.GetAsync($"{path}/d/scale");
        Assert.Equal(("Scale", "a=b"), ((string?)scale.Json["kind"], (string?)scale.Json["status"]!["selector"]));
        var scaled = await server.SendAsync(HttpMethod.Patch, $"{path}/d/scale", """{"spec":{"replicas":4}}""", "application/merge-patch+json");
        Assert.Equal(4, (int)scaled.Json["spec"]!["replicas"]!);
        var deployment = await server.GetAsync($"{path}/d");
        Assert.Equal((4, 2), ((int)deployment.Json["spec"]!["replicas"]!, (int)deployment.Json["metadata"]!["generation"]!));
    }

    [Fact]
    public async Task Status_Written_LeavesSpecAlone()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/apis/apps/v1/namespaces/{ns}/deployments";
        var created = await server.CreateAsync(path, """{"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}""");
        created["spec"]!["replicas"] = 9;
        created["status"] = new JsonObject { ["observedGeneration"] = 1 };
        created["metadata"]!["annotations"] = new JsonObject { ["deployment.kubernetes.io/revision"] = "1" };
        var written = await server.SendAsync(HttpMethod.Put, $"{path}/d/status", created.ToJsonString());
        Assert.Equal((1, 1), ((int)written.Json["spec"]!["replicas"]!, (int)written.Json["status"]!["observedGeneration"]!));
        Assert.Equal("1", (string?)written.Json["metadata"]!["annotations"]!["deployment.kubernetes.io/revision"]);
    }

    [Fact]
    public async Task Namespace_Finalized_IsGone()
    {
        var ns = await server.NamespaceAsync();
        var deleted = await server.SendAsync(HttpMethod.Delete, $"/api/v1/namespaces/{ns}");
        Assert.Equal("Terminating", (string?)deleted.Json["status"]!["phase"]);
        var refused = await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"a"}}""");
        Assert.Equal($"configmaps \"a\" is forbidden: unable to create new content in namespace {ns} because it is being terminated", refused.Message);
        var body = deleted.Json;
        body["spec"]!.AsObject().Remove("finalizers");
        Assert.Equal(200, (await server.SendAsync(HttpMethod.Put, $"/api/v1/namespaces/{ns}/finalize", body.ToJsonString())).Code);
        Assert.Equal(404, (await server.GetAsync($"/api/v1/namespaces/{ns}")).Code);
    }

    [Fact]
    public async Task Event_WrittenInOneGroup_IsReadInTheOther()
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/events",
            $$$"""{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","namespace":"{{{ns}}}","name":"p"},"reason":"R","message":"m","type":"Normal"}""");
        var other = await server.GetAsync($"/apis/events.k8s.io/v1/namespaces/{ns}/events?fieldSelector=regarding.name%3Dp");
        Assert.True(other.Code == 200, other.Text);
        Assert.Equal(("p", "m"), ((string?)other.Json["items"]![0]!["regarding"]!["name"], (string?)other.Json["items"]![0]!["note"]));
    }

    [Theory]
    [InlineData("source=tester", "core")]
    [InlineData("source=other", "new")]
    [InlineData("reportingComponent=other", "new")]
    public async Task Events_BySource_AreFoundByComponentOrReporter(string selector, string expected)
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/events",
            $$$"""{"metadata":{"name":"core"},"involvedObject":{"kind":"Pod","name":"p","namespace":"{{{ns}}}"},"source":{"component":"tester"},"type":"Normal"}""");
        await server.CreateAsync($"/apis/events.k8s.io/v1/namespaces/{ns}/events",
            $$$"""
            {"metadata":{"name":"new"},"regarding":{"kind":"Pod","name":"p","namespace":"{{{ns}}}"},"reportingController":"other","reportingInstance":"i",
            "action":"Do","reason":"R","type":"Normal","eventTime":"2026-01-02T03:04:05.000000Z"}
            """);
        var found = await server.GetAsync($"/api/v1/namespaces/{ns}/events?fieldSelector={Uri.EscapeDataString(selector)}");
        Assert.Equal([expected], found.Json["items"]!.AsArray().Select(static e => (string)e!["metadata"]!["name"]!));
    }
}
