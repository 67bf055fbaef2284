extern alias TypedClient;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using TypedClient::k8s;
using TypedClient::k8s.Autorest;
using TypedClient::k8s.Models;

namespace K3sFast.ApiServer.Tests;

/// <summary>The KubernetesClient package over HTTPS: its generated operations for every group, its watches, its errors.</summary>
public sealed class TypedClientTests(TestServer server)
{
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Kind_ByGeneratedOperations_IsCreatedReadReplacedPatchedListedAndDeleted(string group, string kind, string members)
    {
        using var client = Connect();
        var (operations, scope, ns, name, body) = await PrepareAsync(client, group, kind, members);
        object?[] At(params object?[] arguments) => scope.Length > 0 ? [.. arguments, ns] : arguments;
        async Task<IKubernetesObject<V1ObjectMeta>> Do(string verb, params object?[] arguments) =>
            (IKubernetesObject<V1ObjectMeta>)await TypedOperations.CallAsync(operations, TypedOperations.Find($"{verb}{scope}{kind}", group)!, At(arguments));

        var made = await Do("Create", body);
        Assert.Equal((kind, name), (made.Kind, made.Metadata.Name));
        Assert.NotNull(made.Metadata.Uid);
        Assert.NotNull(made.Metadata.CreationTimestamp);
        var read = await Do("Read", name);
        Assert.Equal(made.Metadata.Uid, read.Metadata.Uid);
        // The server itself may write a new object's status meanwhile: whoever is late reads again, as every client does.
        async Task<IKubernetesObject<V1ObjectMeta>> Replace(IKubernetesObject<V1ObjectMeta> current)
        {
            while (true)
            {
                current.Metadata.Labels = new Dictionary<string, string> { ["made"] = "typed" };
                try
                {
                    return await Do("Replace", current, name);
                }
                catch (HttpOperationException late) when (late.Response.StatusCode == HttpStatusCode.Conflict)
                {
                    current = await Do("Read", name);
                }
            }
        }
        var replaced = await Replace(read);
        Assert.NotEqual(made.Metadata.ResourceVersion, replaced.Metadata.ResourceVersion);
        var patched = await Do("Patch", new V1Patch("""{"metadata":{"annotations":{"a":"b"}}}""", V1Patch.PatchType.MergePatch), name);
        Assert.Equal(("typed", "b"), (patched.Metadata.Labels["made"], patched.Metadata.Annotations["a"]));

        var list = TypedOperations.Find(scope.Length > 0 ? $"List{kind}ForAllNamespaces" : $"List{kind}", group)!;
        var all = await TypedOperations.CallAsync(operations, list);
        var items = (System.Collections.IEnumerable)all.GetType().GetProperty("Items")!.GetValue(all)!;
        Assert.Contains(items.Cast<IKubernetesObject<V1ObjectMeta>>(), item => item.Metadata.Uid == made.Metadata.Uid);

        object?[] target = scope.Length > 0 ? [name, ns] : [name];
        await TypedOperations.CallAsync(operations, TypedOperations.Find($"Delete{scope}{kind}", group)!, target);
        // Namespaces, claims and volumes go once their controllers let them.
        var gone = await Assert.ThrowsAnyAsync<Exception>(async () => Assert.NotNull((await Do("Read", name)).Metadata.DeletionTimestamp is null ? null : throw new InvalidOperationException("deleting")));
        Assert.True(gone is InvalidOperationException { Message: "deleting" } || gone is HttpOperationException { Response.StatusCode: HttpStatusCode.NotFound }, gone.ToString());
    }

    // What an informer of any kind lives by: from the version of a list on, every change of the object comes once and in order.
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Kind_ByGeneratedWatch_TellsAnObjectsLife(string group, string kind, string members)
    {
        using var client = Connect();
        var (operations, scope, ns, name, body) = await PrepareAsync(client, group, kind, members);
        object?[] At(params object?[] arguments) => scope.Length > 0 ? [.. arguments, ns] : arguments;
        Task<object> Do(string verb, params object?[] arguments) => TypedOperations.CallAsync(operations, TypedOperations.Find($"{verb}{scope}{kind}", group)!, arguments);

        var list = (IKubernetesObject<V1ListMeta>)await Do("List", At());
        await Do("Create", At(body));
        await Do("Patch", At(new V1Patch("""{"metadata":{"annotations":{"a":"b"}}}""", V1Patch.PatchType.MergePatch), name));
        await Do("Delete", At(name));
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(90));
        var seen = new List<(WatchEventType Type, IKubernetesObject<V1ObjectMeta> Object)>();
        var wanted = new Dictionary<string, object?> { ["namespaceParameter"] = ns, ["fieldSelector"] = $"metadata.name={name}", ["resourceVersion"] = list.Metadata.ResourceVersion };
        await foreach (var change in TypedOperations.WatchAsync(operations, group, scope + kind, wanted, patience.Token))
        {
            seen.Add(change);
            // Namespaces, claims and volumes go once their controllers let them.
            if (change.Type == WatchEventType.Deleted || change.Object.Metadata.DeletionTimestamp is not null)
                break;
        }

        Assert.Equal((WatchEventType.Added, name, kind), (seen[0].Type, seen[0].Object.Metadata.Name, seen[0].Object.Kind));
        Assert.Contains(seen, static change => change is { Type: WatchEventType.Modified, Object.Metadata.Annotations: { } notes } && notes.TryGetValue("a", out var note) && note == "b");
        Assert.Single(seen.Select(static change => change.Object.Metadata.Uid).Distinct());
        var versions = seen.Select(static change => long.Parse(change.Object.Metadata.ResourceVersion, System.Globalization.CultureInfo.InvariantCulture)).ToList();
        Assert.Equal(versions.Distinct().Order(), versions);
    }

    [Fact]
    public async Task EveryGeneratedList_AnswersExactlyWhereDiscoverySaysSo()
    {
        using var client = Connect();
        var served = await ServedAsync();
        var lists = 0;
        foreach (var group in TypedOperations.Groups)
        {
            foreach (var method in group.PropertyType.GetMethods().Where(static method => method.Name.StartsWith("List", StringComparison.Ordinal)
                && !method.IsGenericMethod && method.Name.EndsWith("WithHttpMessagesAsync", StringComparison.Ordinal) && !method.GetParameters()[0].Name!.Contains("namespace", StringComparison.OrdinalIgnoreCase)))
            {
                var type = method.ReturnType.GetGenericArguments()[0].GetGenericArguments()[0].GetProperty("Items")!.PropertyType.GetGenericArguments()[0];
                string Constant(string name) => (string)type.GetField(name)!.GetRawConstantValue()!;
                var resource = $"{Constant("KubeGroup")}/{Constant("KubeApiVersion")}/{Constant("KubeKind")}";
                try
                {
                    var list = (IKubernetesObject<V1ListMeta>)await TypedOperations.CallAsync(group.GetValue(client)!, method);
                    Assert.True(served.Contains(resource), $"{resource} is answered and not in discovery");
                    Assert.Equal(Constant("KubeKind") + "List", list.Kind);
                    lists++;
                }
                catch (HttpOperationException error) when (error.Response.StatusCode == HttpStatusCode.NotFound)
                {
                    Assert.False(served.Contains(resource), $"{resource} is in discovery and not found");
                }
            }
        }
        Assert.InRange(lists, 50, 100);
    }

    [Fact]
    public async Task Watch_Typed_TellsEveryChangeInOrder()
    {
        using var client = Connect();
        var ns = await server.NamespaceAsync();
        var start = (await client.CoreV1.ListNamespacedConfigMapAsync(ns, cancellationToken: TestContext.Current.CancellationToken)).Metadata.ResourceVersion;
        var map = await client.CoreV1.CreateNamespacedConfigMapAsync(new V1ConfigMap { Metadata = new V1ObjectMeta { Name = "m" } }, ns, cancellationToken: TestContext.Current.CancellationToken);
        map.Data = new Dictionary<string, string> { ["a"] = "b" };
        await client.CoreV1.ReplaceNamespacedConfigMapAsync(map, "m", ns, cancellationToken: TestContext.Current.CancellationToken);
        await client.CoreV1.DeleteNamespacedConfigMapAsync("m", ns, cancellationToken: TestContext.Current.CancellationToken);
        var seen = new List<string>();
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(90));
        await foreach (var (type, changed) in client.CoreV1.WatchListNamespacedConfigMapAsync(ns, resourceVersion: start, cancellationToken: patience.Token))
        {
            seen.Add($"{type} {changed.Data?["a"]}");
            if (type == WatchEventType.Deleted)
                break;
        }
        Assert.Equal(["Added ", "Modified b", "Deleted b"], seen);
    }

    // What an informer does: list, watch from there, list again when it is told that it is too late; its cache ends as the server's.
    [Fact]
    public async Task Informer_OverManyWriters_EndsWithTheServersState()
    {
        using var client = Connect();
        var ns = await server.NamespaceAsync();
        var cache = new Dictionary<string, string>();
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(90));
        var list = await client.CoreV1.ListNamespacedSecretAsync(ns, cancellationToken: patience.Token);
        var writers = Enumerable.Range(0, 4).Select(writer => Task.Run(async () =>
        {
            for (var i = 0; i < 25; i++)
            {
                var name = $"s{writer}-{i % 5}";
                try
                {
                    await client.CoreV1.CreateNamespacedSecretAsync(new V1Secret { Metadata = new V1ObjectMeta { Name = name }, StringData = new Dictionary<string, string> { ["i"] = $"{i}" } }, ns, cancellationToken: patience.Token);
                }
                catch (HttpOperationException error) when (error.Response.StatusCode == HttpStatusCode.Conflict)
                {
                    await client.CoreV1.DeleteNamespacedSecretAsync(name, ns, cancellationToken: patience.Token);
                }
            }
        }, patience.Token)).ToArray();
        var isOver = Task.WhenAll(writers).ContinueWith(async _ =>
            await client.CoreV1.CreateNamespacedSecretAsync(new V1Secret { Metadata = new V1ObjectMeta { Name = "last" } }, ns, cancellationToken: patience.Token), TaskScheduler.Default).Unwrap();
        var watch = client.CoreV1.WatchListNamespacedSecretAsync(ns, resourceVersion: list.Metadata.ResourceVersion, allowWatchBookmarks: true, cancellationToken: patience.Token);
        await foreach (var (type, secret) in watch)
        {
            if (type == WatchEventType.Deleted)
                cache.Remove(secret.Metadata.Name);
            else if (type != WatchEventType.Bookmark)
                cache[secret.Metadata.Name] = secret.Metadata.ResourceVersion;
            if (secret.Metadata.Name == "last")
                break;
        }
        await isOver;
        var after = await client.CoreV1.ListNamespacedSecretAsync(ns, cancellationToken: patience.Token);
        Assert.Equal(after.Items.ToDictionary(static item => item.Metadata.Name, static item => item.Metadata.ResourceVersion), cache);
    }

    [Fact]
    public async Task Errors_AreTheTypedClientsExceptions()
    {
        using var client = Connect();
        var missing = await Assert.ThrowsAsync<HttpOperationException>(() => client.CoreV1.ReadNamespacedPodAsync("none", "default", cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal("pods \"none\" not found", KubernetesJson.Deserialize<V1Status>(missing.Response.Content).Message);
        var invalid = await Assert.ThrowsAsync<HttpOperationException>(() => client.AppsV1.CreateNamespacedDeploymentAsync(
            new V1Deployment { Metadata = new V1ObjectMeta { Name = "d" } }, "default", cancellationToken: TestContext.Current.CancellationToken));
        var status = KubernetesJson.Deserialize<V1Status>(invalid.Response.Content);
        Assert.Equal((422, "Invalid"), (status.Code, status.Reason));
        Assert.Contains(status.Details.Causes, static cause => cause.Field == "spec.selector");
    }

    [Fact]
    public async Task Subresources_Typed_ScaleEvictAndReview()
    {
        using var client = Connect();
        var cancel = TestContext.Current.CancellationToken;
        var ns = await server.NamespaceAsync();
        await client.AppsV1.CreateNamespacedDeploymentAsync(KubernetesJson.Deserialize<V1Deployment>(
            """{"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"""), ns, cancellationToken: cancel);
        var scale = await client.AppsV1.ReadNamespacedDeploymentScaleAsync("d", ns, cancellationToken: cancel);
        scale.Spec.Replicas = 4;
        await client.AppsV1.ReplaceNamespacedDeploymentScaleAsync(scale, "d", ns, cancellationToken: cancel);
        Assert.Equal(4, (await client.AppsV1.ReadNamespacedDeploymentAsync("d", ns, cancellationToken: cancel)).Spec.Replicas);
        await client.CoreV1.CreateNamespacedPodAsync(KubernetesJson.Deserialize<V1Pod>("""{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}"""), ns, cancellationToken: cancel);
        await client.CoreV1.CreateNamespacedPodEvictionAsync(new V1Eviction { Metadata = new V1ObjectMeta { Name = "p" } }, "p", ns, cancellationToken: cancel);
        var review = await client.AuthorizationV1.CreateSelfSubjectAccessReviewAsync(
            new V1SelfSubjectAccessReview { Spec = new V1SelfSubjectAccessReviewSpec { ResourceAttributes = new V1ResourceAttributes { Verb = "get", Resource = "pods" } } }, cancellationToken: cancel);
        Assert.True(review.Status.Allowed);
        var self = await client.AuthenticationV1.CreateSelfSubjectReviewAsync(new V1SelfSubjectReview(), cancellationToken: cancel);
        Assert.Contains("system:masters", self.Status.UserInfo.Groups);
        Assert.StartsWith("v1.36.", (await client.Version.GetCodeAsync(cancel)).GitVersion);
    }

    public static IEnumerable<TheoryDataRow<string, string, string>> Kinds => ClientSamples.All;

    private async Task<(object Operations, string Scope, string Namespace, string Name, object Body)> PrepareAsync(Kubernetes client, string group, string kind, string members)
    {
        var operations = TypedOperations.Of(client, group);
        var create = TypedOperations.Find($"Create{kind}", group);
        var scope = create is null ? "Namespaced" : "";
        create ??= TypedOperations.Find($"CreateNamespaced{kind}", group) ?? throw new InvalidOperationException($"{group} makes no {kind}");
        var ns = scope.Length > 0 ? await server.NamespaceAsync() : "";
        var name = ClientSamples.NameOf(kind, group);
        var type = create.GetParameters()[0].ParameterType;
        var json = ClientSamples.Json(kind, members, name, ns);
        var body = typeof(KubernetesJson).GetMethods().First(static method => method.Name == "Deserialize" && method.GetParameters()[0].ParameterType == typeof(string))
            .MakeGenericMethod(type).Invoke(null, [json, null])!;
        return (operations, scope, ns, name, body);
    }

    private Kubernetes Connect()
    {
        var certificate = server.Certificates.Client("typed", "system:masters");
        return new Kubernetes(new KubernetesClientConfiguration
        {
            Host = $"https://127.0.0.1:{server.Server.Port}",
            SkipTlsVerify = true,
            ClientCertificateData = Base64(certificate.ExportCertificatePem()),
            ClientCertificateKeyData = Base64(certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem()),
        });
    }

    private async Task<HashSet<string>> ServedAsync()
    {
        var served = new HashSet<string>();
        var groups = await server.GetAsync("/apis");
        var versions = groups.Json["groups"]!.AsArray().SelectMany(static group => group!["versions"]!.AsArray()).Select(static version => (string)version!["groupVersion"]!).Prepend("/v1");
        foreach (var version in versions)
        {
            var resources = await server.GetAsync(version == "/v1" ? "/api/v1" : $"/apis/{version}");
            foreach (var resource in resources.Json["resources"]!.AsArray().Where(static resource => resource!["verbs"]!.AsArray().Any(static verb => (string)verb! == "list")))
                served.Add($"{version}/{(string)resource!["kind"]!}");
        }
        return served;
    }

    private static string Base64(string pem) => Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(pem));
}
