using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class ApplyTests(TestServer server)
{
    private const string ApplyType = "application/apply-patch+yaml";
    private const string MergeType = "application/merge-patch+json";

    private async Task<string> PathAsync(string name = "a") => $"/api/v1/namespaces/{await server.NamespaceAsync()}/configmaps/{name}";

    private Task<Answer> ApplyAsync(string path, string manager, string body, string more = "") =>
        server.SendAsync(HttpMethod.Patch, $"{path}?fieldManager={manager}{more}", body, ApplyType);

    private static string Map(string data, string name = "a") =>
        $$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{name}}"},"data":{{data}}}""";

    // manager/operation[/subresource] fields, one line per entry.
    private static string Owners(Answer answer)
    {
        Assert.True(answer.Code is 200 or 201, answer.Text);
        var lines = new List<string>();
        foreach (var entry in answer.Json["metadata"]!["managedFields"]?.AsArray() ?? [])
        {
            var subresource = (string?)entry!["subresource"];
            lines.Add($"{entry["manager"]}/{entry["operation"]}{(subresource is null ? "" : $"/{subresource}")} {entry["fieldsV1"]!.ToJsonString()}");
        }
        return string.Join('\n', lines);
    }

    [Fact]
    public async Task Apply_OfWhatIsNotThere_CreatesItAndOwnsItsFields()
    {
        var path = await PathAsync();
        var created = await ApplyAsync(path, "one", Map("""{"k":"1"}"""));
        Assert.Equal(201, created.Code);
        Assert.Equal("""one/Apply {"f:data":{"f:k":{}}}""", Owners(created));
        Assert.Equal("v1", (string?)created.Json["metadata"]!["managedFields"]![0]!["apiVersion"]);
        Assert.Equal("FieldsV1", (string?)created.Json["metadata"]!["managedFields"]![0]!["fieldsType"]);
        Assert.EndsWith("Z", (string?)created.Json["metadata"]!["managedFields"]![0]!["time"]);
    }

    [Fact]
    public async Task Apply_Again_ChangesNeitherTimeNorVersion()
    {
        var path = await PathAsync();
        var created = await ApplyAsync(path, "one", Map("""{"k":"1"}"""));
        var again = await ApplyAsync(path, "one", Map("""{"k":"1"}"""));
        Assert.Equal(200, again.Code);
        Assert.Equal(created.Json.ToJsonString(), again.Json.ToJsonString());
    }

    [Fact]
    public async Task Apply_OfAnothersField_ConflictsUnlessForced()
    {
        var path = await PathAsync();
        await ApplyAsync(path, "one", Map("""{"k":"1","l":"1"}"""));
        var refused = await ApplyAsync(path, "two", Map("""{"k":"2"}"""));
        Assert.Equal(409, refused.Code);
        Assert.Equal("Conflict", refused.Reason);
        Assert.Equal("Apply failed with 1 conflict: conflict with \"one\": .data.k", refused.Message);
        Assert.Equal("""[{"reason":"FieldManagerConflict","message":"conflict with \u0022one\u0022","field":".data.k"}]""", refused.Json["details"]!["causes"]!.ToJsonString());

        var forced = await ApplyAsync(path, "two", Map("""{"k":"2"}"""), "&force=true");
        Assert.Equal("{\"k\":\"2\",\"l\":\"1\"}", forced.Json["data"]!.ToJsonString());
        Assert.Equal("one/Apply {\"f:data\":{\"f:l\":{}}}\ntwo/Apply {\"f:data\":{\"f:k\":{}}}", Owners(forced));
    }

    [Fact]
    public async Task Apply_AgainstSeveralManagers_NamesEveryConflict()
    {
        var path = await PathAsync();
        await ApplyAsync(path, "one", Map("""{"a":"1","b":"1"}"""));
        await server.SendAsync(HttpMethod.Patch, $"{path}?fieldManager=zwei", """{"data":{"c":"1"}}""", MergeType);
        var refused = await ApplyAsync(path, "two", Map("""{"a":"2","b":"2","c":"2"}"""));
        Assert.Equal(
            "Apply failed with 3 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b\nconflicts with \"zwei\" using v1:\n- .data.c", refused.Message);
    }

    [Fact]
    public async Task Apply_WithoutAField_RemovesItUnlessSomebodyElseOwnsIt()
    {
        var path = await PathAsync();
        await ApplyAsync(path, "one", Map("""{"mine":"1","ours":"1"}"""));
        await ApplyAsync(path, "two", Map("""{"ours":"1"}"""));
        var dropped = await ApplyAsync(path, "one", Map("""{}"""));
        Assert.Equal("""{"ours":"1"}""", dropped.Json["data"]!.ToJsonString());
        var gone = await ApplyAsync(path, "two", Map("""{}"""));
        Assert.Null(gone.Json["data"]);
    }

    [Fact]
    public async Task Apply_OfAnObjectWithoutOwners_LeavesThemToBeforeFirstApply()
    {
        var path = await PathAsync();
        await server.CreateAsync(path[..path.LastIndexOf('/')], Map("""{"k":"1"}"""));
        var reset = await server.SendAsync(HttpMethod.Patch, path, """{"metadata":{"managedFields":[{}]}}""", MergeType);
        Assert.Equal("", Owners(reset));
        var untracked = await server.SendAsync(HttpMethod.Patch, path, """{"data":{"l":"1"}}""", MergeType);
        Assert.Equal("", Owners(untracked));
        var applied = await ApplyAsync(path, "one", Map("""{"m":"1"}"""));
        Assert.Equal("one/Apply {\"f:data\":{\"f:m\":{}}}\nbefore-first-apply/Update {\"f:data\":{\".\":{},\"f:k\":{},\"f:l\":{}}}", Owners(applied));
    }

    [Fact]
    public async Task Update_OfAnObject_OwnsWhatItChanged()
    {
        var path = await PathAsync();
        var created = await server.SendAsync(HttpMethod.Post, $"{path[..path.LastIndexOf('/')]}?fieldManager=maker", Map("""{"k":"1","l":"1"}"""));
        Assert.Equal("""maker/Update {"f:data":{".":{},"f:k":{},"f:l":{}}}""", Owners(created));
        var updated = await server.SendAsync(HttpMethod.Put, $"{path}?fieldManager=other", Map("""{"k":"2","m":"1"}"""));
        Assert.Equal("maker/Update {\"f:data\":{}}\nother/Update {\"f:data\":{\"f:k\":{},\"f:m\":{}}}", Owners(updated));
        var same = await server.SendAsync(HttpMethod.Put, $"{path}?fieldManager=third", Map("""{"k":"2","m":"1"}"""));
        Assert.Equal(updated.Json.ToJsonString(), same.Json.ToJsonString());
    }

    [Fact]
    public async Task Update_ByManyManagers_KeepsTheNewestAndUnitesTheRest()
    {
        var path = await PathAsync();
        await server.CreateAsync(path[..path.LastIndexOf('/')], Map("""{"k":"1"}"""));
        Answer last = null!;
        for (var i = 0; i < 15; i++)
            last = await server.SendAsync(HttpMethod.Patch, $"{path}?fieldManager=m{i:00}", $"{{\"data\":{{\"k{i:00}\":\"1\"}}}}", MergeType);
        var managers = last.Json["metadata"]!["managedFields"]!.AsArray().Select(static e => (string?)e!["manager"]).ToList();
        Assert.Equal(10, managers.Count);
        Assert.Contains("ancient-changes", managers);
        Assert.Contains("m14", managers);
    }

    [Fact]
    public async Task Apply_ToStatus_OwnsNothingOfTheSpec()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/apis/apps/v1/namespaces/{ns}/deployments/d";
        const string deployment = """
            {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
             "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"replicas":7}}
            """;
        var created = await ApplyAsync(path, "one", deployment);
        Assert.Equal(
            """one/Apply {"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:containers":{"k:{\u0022name\u0022:\u0022c\u0022}":{".":{},"f:image":{},"f:name":{}}}}}}}""",
            Owners(created));
        var status = await ApplyAsync($"{path}/status", "two", deployment);
        Assert.Equal(200, status.Code);
        Assert.Equal(7, (int?)status.Json["status"]!["replicas"]);
        Assert.EndsWith("\ntwo/Apply/status {\"f:status\":{\"f:replicas\":{}}}", Owners(status));
        Assert.Equal(404, (await ApplyAsync($"{path[..^1]}nope/status", "two", deployment)).Code);
    }

    [Fact]
    public async Task Scale_TakesTheReplicasFromTheirOwner()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/apis/apps/v1/namespaces/{ns}/replicasets/r";
        await ApplyAsync(path, "one", """
            {"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"r"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
             "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}
            """);
        const string scale = """{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"r"},"spec":{"replicas":5}}""";
        var refused = await ApplyAsync($"{path}/scale", "two", scale);
        Assert.Equal("Apply failed with 1 conflict: conflict with \"one\": .spec.replicas", refused.Message);
        Assert.Equal(200, (await ApplyAsync($"{path}/scale", "two", scale, "&force=true")).Code);
        var owners = Owners(await server.GetAsync(path));
        Assert.DoesNotContain("one/Apply {\"f:spec\":{\"f:replicas\"", owners);
        Assert.StartsWith("two/Apply/scale {\"f:spec\":{\"f:replicas\":{}}}\n", owners);
    }

    [Theory]
    [InlineData("", Body, 422, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")]
    [InlineData("?fieldManager=m", """{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}""", 400, "invalid object type: /v1, Kind=Secret")]
    [InlineData("?fieldManager=m", """{"metadata":{"name":"a"}}""", 400, "invalid object type: /, Kind=")]
    [InlineData("?fieldManager=m", """[1]""", 400, "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}")]
    [InlineData("?fieldManager=m", """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","managedFields":[{}]}}""", 400, "metadata.managedFields must be nil")]
    [InlineData("?fieldManager=m", """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"foo":1}""", 500, "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .foo: field not declared in schema")]
    [InlineData("?fieldManager=m", """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":1}}""", 500, "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .data.k: expected string, got &value.valueUnstructured{Value:1}")]
    [InlineData("?fieldManager=m", """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}""", 400, "the name of the object (b) does not match the name on the URL (a)")]
    [InlineData("?fieldManager=m", """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","uid":"u"}}""", 409, "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid u, and no existing object was found")]
    [InlineData("?fieldManager=m&fieldValidation=Strict", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: a, k: b}\n", 400, "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 4: key \"k\" already set in map")]
    public async Task Apply_Refused_InUpstreamsWords(string query, string body, int code, string message)
    {
        var answer = await server.SendAsync(HttpMethod.Patch, $"{await PathAsync()}{query}", body, ApplyType);
        Assert.Equal((code, message), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Apply_OfWholeNumbersWithAFraction_TakesThemAsWhole()
    {
        var ns = await server.NamespaceAsync();
        const string deployment = """
            {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":REPLICAS,"selector":{"matchLabels":{"a":"b"}},
             "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80.0}]}]}}}}
            """;
        var path = $"/apis/apps/v1/namespaces/{ns}/deployments/d";
        var applied = await ApplyAsync(path, "m", deployment.Replace("REPLICAS", "2.0", StringComparison.Ordinal));
        Assert.Equal((201, 2), (applied.Code, (int?)applied.Json["spec"]!["replicas"]));
        Assert.Contains("""k:{\u0022containerPort\u0022:80,""", Owners(applied), StringComparison.Ordinal);
        Assert.Equal(
            "failed to convert new object (/d; apps/v1, Kind=Deployment) to proper version: unable to convert unstructured object to apps/v1, Kind=Deployment: cannot convert float64 to int32",
            (await ApplyAsync(path, "m", deployment.Replace("REPLICAS", "2.5", StringComparison.Ordinal))).Message);
    }

    private const string Body = """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}""";

    [Fact]
    public async Task Force_OfAnotherPatch_IsRefused()
    {
        var answer = await server.SendAsync(HttpMethod.Patch, $"{await PathAsync()}?force=true", "{}", MergeType);
        Assert.Equal("PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch", answer.Message);
    }

    [Fact]
    public async Task Patch_OfAnUnknownKind_IsRefused()
    {
        var answer = await server.SendAsync(HttpMethod.Patch, await PathAsync(), "{}", "application/apply-patch+cbor");
        Assert.Equal((415, "UnsupportedMediaType", "415: Unsupported Media Type"), (answer.Code, answer.Reason, answer.Message));
    }

    [Fact]
    public async Task DryRunApply_StoresNothing()
    {
        var path = await PathAsync();
        Assert.Equal(201, (await ApplyAsync(path, "one", Map("""{"k":"1"}"""), "&dryRun=All")).Code);
        Assert.Equal(404, (await server.GetAsync(path)).Code);
        var created = await ApplyAsync(path, "one", Map("""{"k":"1"}"""));
        Assert.Equal("2", (string?)(await ApplyAsync(path, "one", Map("""{"k":"2"}"""), "&dryRun=All")).Json["data"]!["k"]);
        Assert.Equal(created.Json.ToJsonString(), (await server.GetAsync(path)).Json.ToJsonString());
    }

    [Fact]
    public async Task Apply_ByKubectl_TakesOverItsClientSideFields()
    {
        var path = await PathAsync();
        var last = JsonValue.Create(Map("""{"k":"1"}"""))!.ToJsonString();
        await server.SendAsync(
            HttpMethod.Post, $"{path[..path.LastIndexOf('/')]}?fieldManager=kubectl-client-side-apply",
            Map("""{"k":"1"}""").Replace("\"name\"", $"\"annotations\":{{\"kubectl.kubernetes.io/last-applied-configuration\":{last}}},\"name\"", StringComparison.Ordinal));
        Assert.Equal(409, (await ApplyAsync(path, "somebody", Map("""{"k":"2"}"""))).Code);
        var taken = await ApplyAsync(path, "kubectl", Map("""{"k":"2"}"""));
        Assert.Equal(200, taken.Code);
        Assert.Equal(
            "{\"apiVersion\":\"v1\",\"data\":{\"k\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}\n",
            (string?)taken.Json["metadata"]!["annotations"]!["kubectl.kubernetes.io/last-applied-configuration"]);
    }

    [Fact]
    public async Task Apply_InAnotherVersion_ConflictsWithOwnersInTheFirst()
    {
        var ns = await server.NamespaceAsync();
        await ApplyAsync($"/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers/h", "one", """
            {"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"h"},
             "spec":{"minReplicas":2,"maxReplicas":5,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}}
            """);
        const string first = """
            {"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler","metadata":{"name":"h"},
             "spec":{"maxReplicas":6,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}}
            """;
        var path = $"/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers/h";
        var refused = await ApplyAsync(path, "two", first);
        Assert.Equal("Apply failed with 1 conflict: conflict with \"one\": .spec.maxReplicas", refused.Message);
        var forced = await ApplyAsync(path, "two", first, "&force=true");
        Assert.Equal(6, (int?)forced.Json["spec"]!["maxReplicas"]);
        Assert.Equal(["autoscaling/v2", "autoscaling/v1"], forced.Json["metadata"]!["managedFields"]!.AsArray().Select(static e => (string?)e!["apiVersion"]));
    }

    [Fact]
    public async Task Owners_OverProtobuf_GoBothWays()
    {
        var path = await PathAsync();
        await ApplyAsync(path, "one", Map("""{"k":"1"}"""));
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("Accept", "application/vnd.kubernetes.protobuf");
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        var bytes = await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
        Assert.Contains("""{"f:data":{"f:k":{}}}""", System.Text.Encoding.Latin1.GetString(bytes));

        using var put = new HttpRequestMessage(HttpMethod.Put, $"{path}?fieldManager=proto") { Content = new ByteArrayContent(bytes) };
        put.Content.Headers.TryAddWithoutValidation("Content-Type", "application/vnd.kubernetes.protobuf");
        using var answer = await server.Admin.SendAsync(put, TestContext.Current.CancellationToken);
        Assert.Equal(200, (int)answer.StatusCode);
        Assert.Equal("""one/Apply {"f:data":{"f:k":{}}}""", Owners(await server.GetAsync(path)));
    }

    [Fact]
    public async Task Apply_ByWhoMayOnlyPatch_CreatesNothing()
    {
        var path = await PathAsync();
        var ns = path.Split('/')[4];
        await server.CreateAsync($"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles", """{"metadata":{"name":"p"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["patch"]}]}""");
        await server.CreateAsync(
            $"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings",
            """{"metadata":{"name":"p"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"p"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"patcher"}]}""");
        var refused = await server.SendAsync(HttpMethod.Patch, $"{path}?fieldManager=m", Map("{}"), ApplyType, server.ClientAs("patcher"));
        Assert.Equal(403, refused.Code);
        Assert.Equal($"configmaps \"a\" is forbidden: User \"patcher\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"{ns}\"", refused.Message);
    }

    [Fact]
    public async Task Applies_InParallel_AllTakeEffect()
    {
        var path = await PathAsync();
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => ApplyAsync(path, $"m{i:00}", Map($$"""{"k{{i:00}}":"v"}"""))));
        Assert.All(answers, static a => Assert.True(a.Code is 200 or 201, a.Text));
        Assert.Single(answers, static a => a.Code == 201);
        var stored = await server.GetAsync(path);
        Assert.Equal(20, stored.Json["data"]!.AsObject().Count);
        Assert.Equal(20, stored.Json["metadata"]!["managedFields"]!.AsArray().Count);
    }
}
