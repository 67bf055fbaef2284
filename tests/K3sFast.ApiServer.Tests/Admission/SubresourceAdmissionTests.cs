using System.Collections.Concurrent;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer.Tests.Admission;

/// <summary>Which operation, subresource and kind admission is shown for each request that is not a plain write.</summary>
public sealed class SubresourceAdmissionTests(SubresourceAdmissionTests.Watched watched) : IClassFixture<SubresourceAdmissionTests.Watched>
{
    private readonly Recorder _seen = watched.Seen;
    private readonly TestServer _server = watched.Server;

    [Theory]
    [InlineData("POST", "/api/v1/namespaces/default/pods/{p}/binding", """{"metadata":{"name":"{p}"},"target":{"name":"n"}}""", "Create pods/binding Binding {p}")]
    [InlineData("POST", "/api/v1/namespaces/default/bindings", """{"metadata":{"name":"{p}"},"target":{"name":"n"}}""", "Create bindings Binding {p}")]
    [InlineData("POST", "/api/v1/namespaces/default/pods/{p}/eviction", """{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"{p}"}}""", "Create pods/eviction Eviction {p}")]
    [InlineData("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", """{"spec":{}}""", "Create serviceaccounts/token TokenRequest default")]
    [InlineData("PATCH", "/api/v1/namespaces/default/replicationcontrollers/{p}/scale", """{"spec":{"replicas":2}}""", "Update replicationcontrollers/scale Scale {p}")]
    [InlineData("PATCH", "/api/v1/namespaces/default/pods/{p}/status", """{"status":{"message":"m"}}""", "Update pods/status Pod {p}")]
    [InlineData("PATCH", "/api/v1/namespaces/default/pods/{p}/resize", """{"metadata":{"labels":null}}""", "Update pods/resize Pod {p}")]
    [InlineData("PATCH", "/api/v1/namespaces/default/pods/{p}/ephemeralcontainers", """{"metadata":{"labels":null}}""", "Update pods/ephemeralcontainers Pod {p}")]
    [InlineData("GET", "/api/v1/namespaces/default/pods/{p}/exec?command=a&command=b&stdin=true", null, "Connect pods/exec PodExecOptions {p}")]
    [InlineData("POST", "/api/v1/namespaces/default/pods/{p}/attach?container=c", null, "Connect pods/attach PodAttachOptions {p}")]
    [InlineData("POST", "/api/v1/namespaces/default/pods/{p}/portforward?ports=80", null, "Connect pods/portforward PodPortForwardOptions {p}")]
    [InlineData("GET", "/api/v1/namespaces/default/pods/{p}/proxy/a/b", null, "Connect pods/proxy PodProxyOptions {p}")]
    [InlineData("GET", "/api/v1/namespaces/default/services/none/proxy/", null, "Connect services/proxy ServiceProxyOptions none")]
    [InlineData("GET", "/api/v1/nodes/none/proxy/x", null, "Connect nodes/proxy NodeProxyOptions none")]
    [InlineData("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", """{"spec":{"nonResourceAttributes":{"path":"/x","verb":"get"}}}""", "Create selfsubjectaccessreviews SelfSubjectAccessReview ")]
    [InlineData("POST", "/apis/authentication.k8s.io/v1/tokenreviews", """{"spec":{"token":"x"}}""", "Create tokenreviews TokenReview ")]
    [InlineData("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", "Create selfsubjectreviews SelfSubjectReview ")]
    public async Task Admission_OfASubresource_SeesItsOperationAndKindOnceInEachHalf(string method, string path, string? body, string expected)
    {
        var name = $"p{Guid.NewGuid():n}";
        await _server.CreateAsync("/api/v1/namespaces/default/pods", $$$"""{"metadata":{"name":"{{{name}}}","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        await _server.CreateAsync("/api/v1/namespaces/default/replicationcontrollers",
            $$$$$"""{"metadata":{"name":"{{{{{name}}}}}"},"spec":{"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}""");
        _seen.Clear();
        await _server.SendAsync(new HttpMethod(method), path.Replace("{p}", name, StringComparison.Ordinal), body?.Replace("{p}", name, StringComparison.Ordinal), method == "PATCH" ? "application/merge-patch+json" : "application/json");
        expected = expected.Replace("{p}", name, StringComparison.Ordinal);
        Assert.Equal([$"mutate {expected}", $"validate {expected}"], _seen.By("system:admin"));
    }

    [Fact]
    public async Task Admission_OfAStream_SeesWhatWasAskedFor()
    {
        _seen.Clear();
        await _server.GetAsync("/api/v1/namespaces/default/pods/p/exec?command=a&command=b&stdin=true&container=c");
        await _server.GetAsync("/api/v1/namespaces/default/pods/p/portforward?ports=80&ports=81");
        await _server.GetAsync("/api/v1/namespaces/default/pods/p/proxy/a/b");
        Assert.Equal(
            [
                """{"kind":"PodExecOptions","apiVersion":"v1","stdin":true,"container":"c","command":["a","b"]}""",
                """{"kind":"PodPortForwardOptions","apiVersion":"v1","ports":[80,81]}""",
                """{"kind":"PodProxyOptions","apiVersion":"v1","path":"/a/b"}""",
            ],
            _seen.ConnectObjects);
    }

    [Fact]
    public async Task Connect_RefusedByAdmission_ReachesNobody()
    {
        _seen.RefusesConnect = true;
        var answer = await _server.GetAsync("/api/v1/namespaces/default/pods/none/exec?command=a");
        _seen.RefusesConnect = false;
        Assert.Equal((403, "pods \"none\" is forbidden: no streams today"), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Binding_ToANodeInAZone_GivesThePodItsLabels()
    {
        await _server.CreateAsync("/api/v1/nodes", """{"metadata":{"name":"zoned","labels":{"topology.kubernetes.io/zone":"z","topology.kubernetes.io/region":"r"}}}""");
        await _server.CreateAsync("/api/v1/namespaces/default/pods", """{"metadata":{"name":"q"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        await _server.CreateAsync("/api/v1/namespaces/default/pods/q/binding", """{"metadata":{"name":"q","annotations":{"x":"y"}},"target":{"kind":"Node","name":"zoned"}}""");
        var pod = (await _server.GetAsync("/api/v1/namespaces/default/pods/q")).Json;
        Assert.Equal("""{"topology.kubernetes.io/region":"r","topology.kubernetes.io/zone":"z"}""", pod["metadata"]!["labels"]!.ToJsonString());
        Assert.Equal("y", (string?)pod["metadata"]!["annotations"]!["x"]);
    }

    /// <summary>A server whose admission is written down.</summary>
    public sealed class Watched : IAsyncLifetime
    {
        public Watched() => Server = new TestServer { Adjust = options => options with { MoreAdmission = [Seen] } };

        internal Recorder Seen { get; } = new();

        internal TestServer Server { get; }

        public ValueTask InitializeAsync() => Server.InitializeAsync();

        public ValueTask DisposeAsync() => Server.DisposeAsync();
    }

    internal sealed class Recorder : AdmissionPlugin
    {
        private readonly ConcurrentQueue<(string User, string Text)> _seen = new();
        private readonly ConcurrentQueue<string> _connectObjects = new();

        internal bool RefusesConnect { get; set; }

        internal IEnumerable<string> ConnectObjects => _connectObjects;

        internal IEnumerable<string> By(string user) => _seen.Where(entry => entry.User == user).Select(static entry => entry.Text);

        internal void Clear()
        {
            _seen.Clear();
            _connectObjects.Clear();
        }

        internal override void Mutate(AdmissionContext context) => Note("mutate", context);

        internal override void Validate(AdmissionContext context) => Note("validate", context);

        private void Note(string half, AdmissionContext context)
        {
            if (RefusesConnect && context.Operation == AdmissionOperation.Connect)
                throw context.Forbid("no streams today");
            var slash = context.Subresource.Length == 0 ? "" : "/";
            var kind = context.Kind.Name;
            _seen.Enqueue((context.User.Name, $"{half} {context.Operation} {context.Resource.Resource}{slash}{context.Subresource} {kind} {context.Name}"));
            if (context.Operation == AdmissionOperation.Connect && half == "mutate")
            {
                var json = new System.Buffers.ArrayBufferWriter<byte>();
                JsonCodec.Encode(context.Object, context.Kind, json);
                _connectObjects.Enqueue(System.Text.Encoding.UTF8.GetString(json.WrittenSpan));
            }
        }
    }
}
