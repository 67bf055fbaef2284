using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests.Admission;

/// <summary>Admission policies in force: what they refuse, in upstream's words, and what they change.</summary>
public sealed class AdmissionPolicyTests(TestServer server) : IClassFixture<TestServer>
{
    private const string Group = "/apis/admissionregistration.k8s.io/v1";

    [Theory]
    [InlineData("""{"validations":[{"expression":"object.data.a == 'x'"}]}""", 422, "Invalid", "failed expression: object.data.a == 'x'")]
    [InlineData("""{"validations":[{"expression":"object.data.a == 'x'","message":"a must be x","reason":"Forbidden"}]}""", 403, "Forbidden", "a must be x")]
    [InlineData("""{"validations":[{"expression":"false","reason":"RequestEntityTooLarge"}]}""", 413, "RequestEntityTooLarge", "failed expression: false")]
    [InlineData("""{"variables":[{"name":"a","expression":"object.data.a"}],"validations":[{"expression":"variables.a == 'x'","messageExpression":"'a is ' + variables.a + ' for ' + request.userInfo.username"}]}""", 422, "Invalid", "a is y for system:admin")]
    [InlineData("""{"validations":[{"expression":"object.data.b == 'x'"}]}""", 422, "Invalid", "expression 'object.data.b == 'x'' resulted in error: no such key: b")]
    [InlineData("""{"variables":[{"name":"b","expression":"object.data.b"}],"validations":[{"expression":"variables.b == 'x'"}]}""", 422, "Invalid", "expression 'variables.b == 'x'' resulted in error: composited variable \"b\" fails to evaluate: no such key: b")]
    [InlineData("""{"matchConditions":[{"name":"c","expression":"object.data.zzz == 'q'"}],"validations":[{"expression":"true"}]}""", 422, "Invalid", "expression 'object.data.zzz == 'q'' resulted in error: no such key: zzz")]
    [InlineData("""{"validations":[{"expression":"lists.range(1000).all(a, lists.range(1000).all(b, a + b >= 0))"}]}""", 422, "Invalid",
        "expression 'lists.range(1000).all(a, lists.range(1000).all(b, a + b >= 0))' resulted in error: operation cancelled: actual cost limit exceeded")]
    [InlineData("""{"validations":[{"expression":"false","messageExpression":"'two\\nlines'","message":"one line"}]}""", 422, "Invalid", "one line")]
    public async Task Request_AgainstAPolicy_IsRefusedAsUpstreamRefusesIt(string spec, int code, string reason, string why)
    {
        var policy = await BindAsync("validating", spec, """{"validationActions":["Deny"]}""");
        var answer = await PostAsync(policy);
        var message = $"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}";
        Assert.Equal((code, reason, $"configmaps \"c\" is forbidden: {message}"), (answer.Code, answer.Reason, answer.Message));
        Assert.Equal(message, (string?)answer.Json["details"]!["causes"]![0]!["message"]);
    }

    [Theory]
    [InlineData("""{"failurePolicy":"Ignore","validations":[{"expression":"object.data.b == 'x'"}]}""")]
    [InlineData("""{"matchConditions":[{"name":"c","expression":"request.operation == 'UPDATE'"}],"validations":[{"expression":"false"}]}""")]
    [InlineData("""{"failurePolicy":"Ignore","matchConditions":[{"name":"c","expression":"object.data.zzz == 'q'"}],"validations":[{"expression":"false"}]}""")]
    [InlineData("""{"validations":[{"expression":"namespaceObject.metadata.name == request.namespace && request.kind.kind == 'ConfigMap' && request.requestKind.version == 'v1' && request.operation == 'CREATE' && !has(request.subResource) && request.options.kind == 'CreateOptions' && oldObject == null && request.resource.resource == 'configmaps' && request.name == 'c' && request.dryRun && 'system:masters' in request.userInfo.groups"}]}""")]
    [InlineData("""{"validations":[{"expression":"authorizer.group('').resource('configmaps').namespace('default').check('delete').allowed() && authorizer.requestResource.check('create').allowed() "}]}""")]
    [InlineData("""{"validations":[{"expression":"!authorizer.serviceAccount('default', 'nobody').group('').resource('configmaps').namespace('default').check('delete').allowed()"}]}""")]
    public async Task Request_ThatSatisfiesOrIsNotMeant_Passes(string spec)
    {
        var policy = await BindAsync("validating", spec, """{"validationActions":["Deny"]}""");
        var answer = await PostAsync(policy);
        Assert.True(answer.Code == 201, answer.Text);
    }

    [Fact]
    public async Task Policy_BoundToWarn_LetsPassWithAWarning()
    {
        var policy = await BindAsync("validating", """{"validations":[{"expression":"false","message":"no"}]}""", """{"validationActions":["Warn","Audit"]}""");
        var answer = await PostAsync(policy);
        Assert.Equal(201, answer.Code);
        Assert.Contains($"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{policy}': no", Assert.Single(answer.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Policy_WithParameters_SeesThemAndMissesThem()
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"params","labels":{"p":"q"}},"data":{"a":"pp"}}""");
        const string Spec = """{"paramKind":{"apiVersion":"v1","kind":"ConfigMap"},"validations":[{"expression":"object.data.a == params.data.a","messageExpression":"'want ' + params.data.a"}]}""";
        var byName = await BindAsync("validating", Spec, $$$"""{"validationActions":["Deny"],"paramRef":{"name":"params","namespace":"{{{ns}}}","parameterNotFoundAction":"Deny"}}""");
        Assert.EndsWith("denied request: want pp", (await PostAsync(byName)).Message, StringComparison.Ordinal);
        var bySelector = await BindAsync("validating", Spec, $$$"""{"validationActions":["Deny"],"paramRef":{"selector":{"matchLabels":{"p":"q"}},"namespace":"{{{ns}}}","parameterNotFoundAction":"Deny"}}""");
        Assert.EndsWith("denied request: want pp", (await PostAsync(bySelector)).Message, StringComparison.Ordinal);
        var missing = await BindAsync("validating", Spec, $$$"""{"validationActions":["Deny"],"paramRef":{"name":"none","namespace":"{{{ns}}}","parameterNotFoundAction":"Deny"}}""");
        Assert.EndsWith("failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction", (await PostAsync(missing)).Message, StringComparison.Ordinal);
        var allowed = await BindAsync("validating", Spec, $$$"""{"validationActions":["Deny"],"paramRef":{"name":"none","namespace":"{{{ns}}}","parameterNotFoundAction":"Allow"}}""");
        Assert.Equal(201, (await PostAsync(allowed)).Code);
        var unknown = await BindAsync("validating", """{"paramKind":{"apiVersion":"example.com/v1","kind":"Foo"},"validations":[{"expression":"true"}]}""", """{"validationActions":["Deny"],"paramRef":{"name":"x","parameterNotFoundAction":"Deny"}}""");
        Assert.Equal(
            $"configmaps \"c\" is forbidden: ValidatingAdmissionPolicy '{unknown}' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Foo'",
            (await PostAsync(unknown)).Message);
    }

    [Fact]
    public async Task Policy_ChangedOrUnbound_CountsForTheNextRequest()
    {
        var policy = await BindAsync("validating", """{"validations":[{"expression":"false"}]}""", """{"validationActions":["Deny"]}""");
        Assert.Equal(422, (await PostAsync(policy)).Code);
        await server.SendAsync(HttpMethod.Patch, $"{Group}/validatingadmissionpolicies/{policy}", """[{"op":"replace","path":"/spec/validations/0/expression","value":"true"}]""", "application/json-patch+json");
        Assert.Equal(201, (await PostAsync(policy)).Code);
        await server.SendAsync(HttpMethod.Patch, $"{Group}/validatingadmissionpolicies/{policy}", """[{"op":"replace","path":"/spec/validations/0/expression","value":"false"}]""", "application/json-patch+json");
        Assert.Equal(422, (await PostAsync(policy)).Code);
        await server.SendAsync(HttpMethod.Delete, $"{Group}/validatingadmissionpolicybindings/{policy}");
        Assert.Equal(201, (await PostAsync(policy)).Code);
    }

    [Fact]
    public async Task Policy_ForAnotherVersionOfTheResource_JudgesTheObjectInThatVersion()
    {
        var name = $"p{Guid.NewGuid():n}";
        await BindAsync("validating", $$$"""
            {"matchConstraints":{"objectSelector":{"matchLabels":{"t":"{{{name}}}"}},"resourceRules":[{"apiGroups":["autoscaling"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["horizontalpodautoscalers"]}]},
             "validations":[{"expression":"object.spec.targetCPUUtilizationPercentage > 90","messageExpression":"object.apiVersion + ' from ' + request.requestResource.version + ' has ' + string(object.spec.targetCPUUtilizationPercentage)"}]}
            """, """{"validationActions":["Deny"]}""", name);
        var answer = await server.SendAsync(HttpMethod.Post, "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers?dryRun=All",
            $$$$"""{"metadata":{"name":"h","labels":{"t":"{{{{name}}}}"}},"spec":{"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}]}}""");
        Assert.EndsWith("denied request: autoscaling/v1 from v2 has 50", answer.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{metadata: Object.metadata{annotations: {'added': 'yes'}}, data: {'n': string(size(object.data))}}"}}""", """{"a":"y","n":"1"}""")]
    [InlineData("""{"patchType":"JSONPatch","jsonPatch":{"expression":"[JSONPatch{op: 'test', path: '/data/a', value: 'y'}, JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('k.l'), value: 'v'}]"}}""", """{"a":"y","k.l":"v"}""")]
    [InlineData("""{"patchType":"JSONPatch","jsonPatch":{"expression":"[JSONPatch{op: 'test', path: '/data/a', value: 'no'}, JSONPatch{op: 'remove', path: '/data/a'}]"}}""", """{"a":"y"}""")]
    [InlineData("""{"patchType":"JSONPatch","jsonPatch":{"expression":"[JSONPatch{op: 'add', path: '/data', value: Object.data{b: '1'}}]"}}""", """{"b":"1"}""")]
    public async Task Mutation_OfARequest_IsMade(string mutation, string data)
    {
        var policy = await BindAsync("mutating", $$$"""{"failurePolicy":"Fail","reinvocationPolicy":"Never","mutations":[{{{mutation}}}]}""", "{}");
        var answer = await PostAsync(policy);
        Assert.True(answer.Code == 201, answer.Text);
        Assert.Equal(data, answer.Json["data"]!.ToJsonString());
    }

    [Theory]
    [InlineData("""{"patchType":"JSONPatch","jsonPatch":{"expression":"[JSONPatch{op: 'remove', path: '/data/none'}]"}}""", "JSON Patch: error in remove for path: '/data/none': Unable to remove nonexistent key: none: missing value")]
    [InlineData("""{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{spec: Object.foo{a: 1}}"}}""", "type mismatch: unexpected type name \"Object.foo\", expected \"Object.spec\", which matches field name path from root Object type")]
    [InlineData("""{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{nope: 1}"}}""", "error applying patch: failed to convert patch object to typed object: .nope: field not declared in schema")]
    [InlineData("""{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{data: {'a': object.data.zzz}}"}}""", "expression 'Object{data: {'a': object.data.zzz}}' resulted in error: no such key: zzz")]
    public async Task Mutation_ThatCannotBeMade_RefusesTheRequest(string mutation, string why)
    {
        var policy = await BindAsync("mutating", $$$"""{"failurePolicy":"Fail","reinvocationPolicy":"Never","mutations":[{{{mutation}}}]}""", "{}");
        var answer = await PostAsync(policy);
        Assert.Equal((403, "Invalid", $"policy '{policy}' with binding '{policy}' denied request: {why}"), (answer.Code, answer.Reason, answer.Message));
        var ignoring = await BindAsync("mutating", $$$"""{"failurePolicy":"Ignore","reinvocationPolicy":"Never","mutations":[{{{mutation}}}]}""", "{}");
        Assert.Equal(201, (await PostAsync(ignoring)).Code);
    }

    [Theory]
    [InlineData("IfNeeded", "saw eight")]
    [InlineData("Never", "no eight")]
    public async Task Mutation_BeforeAnotherOne_SeesTheObjectAgainIfItAsksTo(string reinvocation, string expected)
    {
        var label = $"t{Guid.NewGuid():n}";
        var first = $"a{Guid.NewGuid():n}";
        await BindAsync("mutating", $$$"""
            {"failurePolicy":"Fail","reinvocationPolicy":"{{{reinvocation}}}","matchConstraints":{"objectSelector":{"matchLabels":{"t":"{{{label}}}"}},"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps"]}]},
             "mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{data: {'seven': has(object.data.eight) ? 'saw eight' : 'no eight'}}"}}]}
            """, "{}", first);
        await BindAsync("mutating", $$$"""
            {"failurePolicy":"Fail","reinvocationPolicy":"Never","matchConstraints":{"objectSelector":{"matchLabels":{"t":"{{{label}}}"}},"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps"]}]},
             "mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{data: {'eight': '8'}}"}}]}
            """, "{}", $"b{Guid.NewGuid():n}");
        var answer = await PostAsync(label);
        Assert.True(answer.Code == 201, answer.Text);
        Assert.Equal(expected, (string?)answer.Json["data"]!["seven"]);
    }

    [Fact]
    public async Task Mutation_OfAKeyedList_IsMergedAndDefaulted()
    {
        var label = $"t{Guid.NewGuid():n}";
        await BindAsync("mutating", $$$"""
            {"failurePolicy":"Fail","reinvocationPolicy":"Never","matchConstraints":{"objectSelector":{"matchLabels":{"t":"{{{label}}}"}},"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"]}]},
             "mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'mesh', image: 'mesh/proxy', restartPolicy: 'Always'}]}}"}}]}
            """, "{}", label);
        var answer = await server.SendAsync(HttpMethod.Post, "/api/v1/namespaces/default/pods?dryRun=All",
            $$$"""{"metadata":{"name":"p","labels":{"t":"{{{label}}}"}},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        Assert.True(answer.Code == 201, answer.Text);
        var mesh = answer.Json["spec"]!["initContainers"]![0]!;
        Assert.Equal(("mesh", "Always", "File"), ((string?)mesh["name"], (string?)mesh["restartPolicy"], (string?)mesh["terminationMessagePolicy"]));
    }

    // Every policy is about the config maps with its name as their label, unless it says otherwise.
    private async Task<string> BindAsync(string kind, string spec, string binding, string? name = null)
    {
        name ??= $"p{Guid.NewGuid():n}";
        var policy = JsonNode.Parse(spec)!.AsObject();
        policy["matchConstraints"] ??= JsonNode.Parse(
            $$$"""{"objectSelector":{"matchLabels":{"t":"{{{name}}}"}},"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["configmaps"]}]}""");
        await server.CreateAsync($"{Group}/{kind}admissionpolicies", new JsonObject { ["metadata"] = new JsonObject { ["name"] = name }, ["spec"] = policy }.ToJsonString());
        var bound = JsonNode.Parse(binding)!.AsObject();
        bound["policyName"] = name;
        await server.CreateAsync($"{Group}/{kind}admissionpolicybindings", new JsonObject { ["metadata"] = new JsonObject { ["name"] = name }, ["spec"] = bound }.ToJsonString());
        return name;
    }

    private Task<Answer> PostAsync(string label) => server.SendAsync(
        HttpMethod.Post, "/api/v1/namespaces/default/configmaps?dryRun=All", $$$"""{"metadata":{"name":"c","labels":{"t":"{{{label}}}"}},"data":{"a":"y"}}""");
}
