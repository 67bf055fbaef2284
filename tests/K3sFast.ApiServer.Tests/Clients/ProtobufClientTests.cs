using System.Buffers.Binary;
using System.Net.Http.Headers;

namespace K3sFast.ApiServer.Tests;

/// <summary>
/// A client that sends and takes nothing but protobuf, as the components of Kubernetes do: "k8s\0", then runtime.Unknown {1: {1: apiVersion, 2: kind},
/// 2: the object}. Field numbers are those of Kubernetes' generated.proto files.
/// </summary>
public sealed class ProtobufClientTests(TestServer server)
{
    private const string Protobuf = "application/vnd.kubernetes.protobuf";

    // Path, apiVersion, kind, and the object without its metadata (field 1 of every kind).
    private static readonly Dictionary<string, (string Path, string Version, Func<ProtoMessage, ProtoMessage> Fill)> s_kinds = new()
    {
        ["ConfigMap"] = ("/api/v1/namespaces/{0}/configmaps", "v1", static map => map.AddEntry(2, "a", "b").Add(3, new ProtoMessage().Add(1, "bin").AddBytes(2, [0, 255]))),
        ["Secret"] = ("/api/v1/namespaces/{0}/secrets", "v1", static secret => secret.Add(2, new ProtoMessage().Add(1, "k").AddBytes(2, [1, 2])).Add(3, "my/type")),
        ["Service"] = ("/api/v1/namespaces/{0}/services", "v1", static service => service.Add(2, new ProtoMessage()
            .Add(1, new ProtoMessage().Add(1, "web").Add(2, "TCP").Add(3, 80).Add(4, new ProtoMessage().Add(1, 1).Add(2, 0).Add(3, "http"))).AddEntry(2, "app", "x"))),
        ["Pod"] = ("/api/v1/namespaces/{0}/pods", "v1", static pod => pod.Add(2, PodSpec())),
        ["Lease"] = ("/apis/coordination.k8s.io/v1/namespaces/{0}/leases", "coordination.k8s.io/v1", static lease => lease.Add(2, new ProtoMessage()
            .Add(1, "me").Add(2, 15).Add(4, new ProtoMessage().Add(1, 1_767_323_045).Add(2, 123_456_000)))),
        ["Deployment"] = ("/apis/apps/v1/namespaces/{0}/deployments", "apps/v1", static deployment => deployment.Add(2, new ProtoMessage()
            .Add(1, 3).Add(2, new ProtoMessage().AddEntry(1, "app", "x")).Add(3, new ProtoMessage().Add(1, new ProtoMessage().AddEntry(11, "app", "x")).Add(2, PodSpec())))),
        ["Role"] = ("/apis/rbac.authorization.k8s.io/v1/namespaces/{0}/roles", "rbac.authorization.k8s.io/v1", static role => role.Add(2, new ProtoMessage().Add(1, "get").Add(2, "").Add(3, "pods"))),
    };

    public static IEnumerable<TheoryDataRow<string>> Kinds => s_kinds.Keys.Select(static kind => new TheoryDataRow<string>(kind));

    public static IEnumerable<TheoryDataRow<string, string, string>> Samples => ClientSamples.All;

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Kind_InProtobufOnly_IsCreatedReadReplacedPatchedListedAndDeleted(string kind)
    {
        var (path, version, fill) = s_kinds[kind];
        path = string.Format(System.Globalization.CultureInfo.InvariantCulture, path, await server.NamespaceAsync());
        var sent = fill(new ProtoMessage().Add(1, new ProtoMessage().Add(1, "x").AddEntry(11, "made", "proto")));
        var (code, made) = await SendAsync(HttpMethod.Post, path, Envelope(version, kind, sent), version, kind);
        Assert.Equal(201, code);
        Assert.Equal(("x", "proto"), (made.Message(1).Text(1), made.Message(1).Map(11)["made"]));
        Assert.Equal(36, made.Message(1).Text(5).Length);
        Assert.True(made.Message(1).Message(8).Number(1) > 1_700_000_000);
        AssertHolds(sent, made);

        var (_, read) = await SendAsync(HttpMethod.Get, $"{path}/x", null, version, kind);
        Assert.Equal(made.ToArray(), read.ToArray());
        // What came is sent back with one more label: nothing may be lost on the way.
        var metadata = read.Message(1).AddEntry(11, "more", "yes");
        var changed = read.With(1, metadata);
        var (replacedCode, replaced) = await SendAsync(HttpMethod.Put, $"{path}/x", Envelope(version, kind, changed), version, kind);
        Assert.Equal(200, replacedCode);
        Assert.Equal("yes", replaced.Message(1).Map(11)["more"]);
        AssertHolds(sent, replaced);
        var (staleCode, stale) = await SendAsync(HttpMethod.Put, $"{path}/x", Envelope(version, kind, changed), "v1", "Status");
        Assert.Equal((409, "Conflict", 409), (staleCode, stale.Text(4), (int)stale.Number(6)));

        var (_, patched) = await SendAsync(HttpMethod.Patch, $"{path}/x", System.Text.Encoding.UTF8.GetBytes("""{"metadata":{"annotations":{"p":"q"}}}"""), version, kind, "application/merge-patch+json");
        Assert.Equal("q", patched.Message(1).Map(12)["p"]);
        var (_, list) = await SendAsync(HttpMethod.Get, $"{path}?labelSelector=made%3Dproto", null, version, kind + "List");
        Assert.Equal("x", Assert.Single(list.Messages(2)).Message(1).Text(1));
        Assert.NotEqual("", list.Message(1).Text(2));

        var wrong = Envelope("v1", "DeleteOptions", new ProtoMessage().Add(2, new ProtoMessage().Add(1, "00000000-0000-0000-0000-000000000000")));
        Assert.Equal(409, (await SendAsync(HttpMethod.Delete, $"{path}/x", wrong, "v1", "Status")).Code);
        var right = Envelope("v1", "DeleteOptions", new ProtoMessage().Add(1, 0).Add(2, new ProtoMessage().Add(1, made.Message(1).Text(5))));
        Assert.Equal(200, (await SendAsync(HttpMethod.Delete, $"{path}/x", right, null, null)).Code);
        var (goneCode, gone) = await SendAsync(HttpMethod.Get, $"{path}/x", null, "v1", "Status");
        Assert.Equal((404, "Failure", "NotFound"), (goneCode, gone.Text(2), gone.Text(4)));
        Assert.Contains("\"x\" not found", gone.Text(3));
    }

    // What a client that knows nothing else must be able to do with every kind: take it, send it back changed, make another one of it, list, watch and delete it.
    [Theory]
    [MemberData(nameof(Samples))]
    public async Task EveryKind_InProtobufOnly_LosesNothing(string operations, string kind, string members)
    {
        var resource = ResourceOf(operations, kind);
        var ns = resource.Namespaced ? await server.NamespaceAsync() : "";
        var root = resource.Group.Length == 0 ? "/api/v1" : $"/apis/{resource.Group}/{resource.Version}";
        var path = ns.Length > 0 ? $"{root}/namespaces/{ns}/{resource.Resource}" : $"{root}/{resource.Resource}";
        string name = ClientSamples.NameOf(kind, operations), copy = ClientSamples.NameOf(kind, operations);
        var version = resource.Group.Length == 0 ? "v1" : $"{resource.Group}/{resource.Version}";
        var made = await server.CreateAsync(path, ClientSamples.Json(kind, members, name, ns));

        var (code, read) = await SendAsync(HttpMethod.Get, $"{path}/{name}", null, version, kind);
        Assert.Equal((200, name), (code, read.Message(1).Text(1)));
        ProtoMessage replaced;
        while (true)
        {
            (code, replaced) = await SendAsync(HttpMethod.Put, $"{path}/{name}", Envelope(version, kind, read.With(1, read.Message(1).AddEntry(11, "more", "yes"))), null, null);
            if (code != 409)
                break;
            // The server itself may write a new object's status meanwhile.
            read = (await SendAsync(HttpMethod.Get, $"{path}/{name}", null, version, kind)).Body;
        }
        Assert.Equal((200, "yes"), (code, replaced.Message(1).Map(11)["more"]));
        Assert.Equal(Content(made), Content((await server.GetAsync($"{path}/{name}")).Json));

        if (ClientSamples.CanBeCopied(kind))
        {
            var another = read.With(1, new ProtoMessage().Add(1, copy));
            Assert.Equal(201, (await SendAsync(HttpMethod.Post, path, Envelope(version, kind, another), version, kind)).Code);
            Assert.Equal(Content(made), Content((await server.GetAsync($"{path}/{copy}")).Json));
        }
        var (_, list) = await SendAsync(HttpMethod.Get, $"{path}?labelSelector=more%3Dyes", null, version, kind + "List");
        Assert.Contains(list.Messages(2), item => item.Message(1).Text(1) == name);
        Assert.Equal((name, kind), await FirstOfWatchAsync($"{path}?watch=true&fieldSelector=metadata.name%3D{name}", version, kind));
        code = (await SendAsync(HttpMethod.Delete, $"{path}/{name}", Envelope("v1", "DeleteOptions", new ProtoMessage()), null, null)).Code;
        Assert.Equal(200, code);
    }

    [Fact]
    public async Task Watch_InProtobuf_ComesInFramesOfWholeObjects()
    {
        var path = $"/api/v1/namespaces/{await server.NamespaceAsync()}/configmaps";
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{path}?watch=true&resourceVersion=0");
        request.Headers.TryAddWithoutValidation("Accept", Protobuf + ";stream=watch");
        using var response = await server.Admin.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        Assert.Equal($"{Protobuf};stream=watch", response.Content.Headers.ContentType?.ToString().Replace(" ", "", StringComparison.Ordinal));
        await using var stream = await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
        var body = Envelope("v1", "ConfigMap", new ProtoMessage().Add(1, new ProtoMessage().Add(1, "w")).AddEntry(2, "k", "v"));
        await SendAsync(HttpMethod.Post, path, body, "v1", "ConfigMap");
        await SendAsync(HttpMethod.Delete, $"{path}/w", Envelope("v1", "DeleteOptions", new ProtoMessage()), null, null);
        Assert.Equal(("ADDED", "w", "v"), await EventAsync(stream));
        Assert.Equal(("DELETED", "w", "v"), await EventAsync(stream));
    }

    [Theory]
    [InlineData(new byte[] { 0x6b, 0x38, 0x73, 0x00, 0xff, 0xff, 0xff, 0xff })]
    [InlineData(new byte[] { 0x6b, 0x38, 0x73, 0x01 })]
    [InlineData(new byte[] { })]
    public async Task Body_ThatIsNoProtobuf_IsABadRequest(byte[] body)
    {
        var (code, status) = await SendAsync(HttpMethod.Post, "/api/v1/namespaces/default/configmaps", body, "v1", "Status");
        Assert.Equal((400, "BadRequest"), (code, status.Text(4)));
    }

    private static K3sFast.ApiMachinery.ResourceInfo ResourceOf(string operations, string kind) => K3sFast.ApiMachinery.Schema.BuiltIn.Resources.First(resource =>
        resource.Kind == kind && resource.EnabledByDefault && operations == $"{string.Concat((resource.Group.Length == 0 ? "core" : resource.Group.Replace(".k8s.io", "", StringComparison.Ordinal))
            .Split('.').Select(static part => char.ToUpperInvariant(part[0]) + part[1..]))}{resource.Version.ToUpperInvariant()}");

    // All but what the server says of the object itself.
    private static string Content(System.Text.Json.Nodes.JsonNode obj)
    {
        var content = obj.DeepClone().AsObject();
        content.Remove("metadata");
        content.Remove("status");
        return content.ToJsonString();
    }

    private async Task<(string Name, string Kind)> FirstOfWatchAsync(string path, string version, string kind)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("Accept", Protobuf + ";stream=watch");
        using var response = await server.Admin.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        await using var stream = await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
        var obj = Open((await FrameAsync(stream)).Message(2).Bytes(1), version, kind);
        return (obj.Message(1).Text(1), kind);
    }

    private static ProtoMessage PodSpec() => new ProtoMessage().Add(2, new ProtoMessage().Add(1, "c").Add(2, "busybox").Add(3, "sleep").Add(3, "9")
        .Add(7, new ProtoMessage().Add(1, "ENV").Add(2, "value"))
        .Add(8, new ProtoMessage().Add(2, new ProtoMessage().Add(1, "cpu").Add(2, new ProtoMessage().Add(1, "10m")))));

    // Every field that was sent is in the answer; defaults may have joined them.
    private static void AssertHolds(ProtoMessage sent, ProtoMessage got) => Assert.True(got.Holds(sent), "the answer holds all that was sent");

    private static byte[] Envelope(string version, string kind, ProtoMessage obj) =>
        [.. "k8s\0"u8, .. new ProtoMessage().Add(1, new ProtoMessage().Add(1, version).Add(2, kind)).Add(2, obj).ToArray()];

    private static ProtoMessage Open(ReadOnlySpan<byte> body, string? version, string? kind)
    {
        Assert.True(body.StartsWith("k8s\0"u8), "the answer begins with the protobuf prefix");
        var unknown = ProtoMessage.Parse(body[4..]);
        if (kind is not null)
            Assert.Equal((version, kind), (unknown.Message(1).Text(1), unknown.Message(1).Text(2)));
        return unknown.Message(2);
    }

    private static async Task<(string Type, string Name, string Value)> EventAsync(Stream stream)
    {
        // WatchEvent {1: type, 2: RawExtension {1: the object in its own envelope}}.
        var change = await FrameAsync(stream);
        var obj = Open(change.Message(2).Bytes(1), "v1", "ConfigMap");
        return (change.Text(1), obj.Message(1).Text(1), obj.Map(2)["k"]);
    }

    private static async Task<ProtoMessage> FrameAsync(Stream stream)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(90));
        var head = new byte[4];
        await stream.ReadExactlyAsync(head, patience.Token);
        var frame = new byte[BinaryPrimitives.ReadInt32BigEndian(head)];
        await stream.ReadExactlyAsync(frame, patience.Token);
        return ProtoMessage.Parse(frame);
    }

    private async Task<(int Code, ProtoMessage Body)> SendAsync(HttpMethod method, string path, byte[]? body, string? version, string? kind, string contentType = Protobuf)
    {
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue(Protobuf));
        if (body is not null)
        {
            request.Content = new ByteArrayContent(body);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(contentType);
        }
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        var bytes = await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
        Assert.Equal(Protobuf, response.Content.Headers.ContentType?.MediaType);
        return ((int)response.StatusCode, Open(bytes, version, kind));
    }
}
