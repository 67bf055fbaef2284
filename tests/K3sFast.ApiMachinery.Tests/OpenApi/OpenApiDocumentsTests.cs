using System.Text.Json;

namespace K3sFast.ApiMachinery.Tests;

public sealed class OpenApiDocumentsTests
{
    private static readonly OpenApiDocuments s_documents = new(Schema.BuiltIn.Resources.Where(static resource => resource.EnabledByDefault && resource.Server == "kube-apiserver"));

    public static TheoryData<string> Names() => [.. s_documents.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Version3_EveryReference_IsDefinedInTheDocument(string name)
    {
        using var document = Parse(s_documents.FindVersion3(name)!);
        var components = document.RootElement.GetProperty("components");
        var defined = components.TryGetProperty("schemas", out var schemas) ? schemas.EnumerateObject().Select(static schema => "#/components/schemas/" + schema.Name).ToHashSet() : [];

        Assert.Empty(References(document.RootElement).Where(reference => !defined.Contains(reference)).Distinct());
        Assert.NotEmpty(document.RootElement.GetProperty("paths").EnumerateObject());
    }

    [Fact]
    public void Version2_EveryReference_IsDefinedInTheDocument()
    {
        using var document = Parse(s_documents.Version2);
        var defined = document.RootElement.GetProperty("definitions").EnumerateObject().Select(static schema => "#/definitions/" + schema.Name)
            .Concat(document.RootElement.GetProperty("parameters").EnumerateObject().Select(static parameter => "#/parameters/" + parameter.Name)).ToHashSet();

        Assert.Empty(References(document.RootElement).Where(reference => !defined.Contains(reference)).Distinct());
    }

    [Fact]
    public void OperationIds_OfTheWholeApi_AreUnique()
    {
        using var document = Parse(s_documents.Version2);
        var ids = document.RootElement.GetProperty("paths").EnumerateObject().SelectMany(static path => path.Value.EnumerateObject())
            .Where(static member => member.Name != "parameters").Select(static operation => operation.Value.GetProperty("operationId").GetString()).ToList();

        Assert.True(ids.Count > 700, $"only {ids.Count} operations");
        Assert.Equal(ids.Count, ids.Distinct().Count());
    }

    [Theory]
    [InlineData("api/v1", "/api/v1/namespaces/{namespace}/pods/{name}", "get", "readCoreV1NamespacedPod", "get")]
    [InlineData("api/v1", "/api/v1/pods", "get", "listCoreV1PodForAllNamespaces", "list")]
    [InlineData("api/v1", "/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces", "watchlist")]
    [InlineData("api/v1", "/api/v1/nodes/{name}/proxy/{path}", "options", "connectCoreV1OptionsNodeProxyWithPath", "connect")]
    [InlineData("apis/apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments", "delete", "deleteAppsV1CollectionNamespacedDeployment", "deletecollection")]
    [InlineData("apis/rbac.authorization.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "post", "createRbacAuthorizationV1ClusterRole", "post")]
    [InlineData("apis/certificates.k8s.io/v1", "/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}/approval", "put", "replaceCertificatesV1CertificateSigningRequestApproval", "put")]
    public void Operation_OfAPath_IsNamedAsUpstreamDoes(string name, string path, string method, string id, string action)
    {
        using var document = Parse(s_documents.FindVersion3(name)!);
        var operation = document.RootElement.GetProperty("paths").GetProperty(path).GetProperty(method);

        Assert.Equal(id, operation.GetProperty("operationId").GetString());
        Assert.Equal(action, operation.GetProperty("x-kubernetes-action").GetString());
    }

    [Fact]
    public void Patch_InBothVersions_TakesFieldValidationWhereTheOperationIs()
    {
        using var three = Parse(s_documents.FindVersion3("apis/apps/v1")!);
        using var two = Parse(s_documents.Version2);
        foreach (var document in new[] { three, two })
        {
            var patch = document.RootElement.GetProperty("paths").GetProperty("/apis/apps/v1/namespaces/{namespace}/deployments/{name}").GetProperty("patch");
            var names = patch.GetProperty("parameters").EnumerateArray().Select(static parameter => parameter.TryGetProperty("name", out var name) ? name.GetString() : "").ToList();
            Assert.Contains("fieldValidation", names);
            Assert.Contains("dryRun", names);
        }
    }

    [Fact]
    public void Containers_OfPodSpec_CarryMergeAndMapKeysAndTheirDescription()
    {
        using var document = Parse(s_documents.FindVersion3("api/v1")!);
        var spec = document.RootElement.GetProperty("components").GetProperty("schemas").GetProperty("io.k8s.api.core.v1.PodSpec");

        Assert.Equal(
            """{"description":"List of containers belonging to the pod. Containers cannot currently be added or removed. There must be at least one container in a Pod. Cannot be updated.","type":"array","items":{"$ref":"#/components/schemas/io.k8s.api.core.v1.Container"},"x-kubernetes-list-map-keys":["name"],"x-kubernetes-list-type":"map","x-kubernetes-patch-merge-key":"name","x-kubernetes-patch-strategy":"merge"}""",
            spec.GetProperty("properties").GetProperty("containers").GetRawText());
        Assert.Contains("containers", spec.GetProperty("required").EnumerateArray().Select(static field => field.GetString()));
    }

    [Fact]
    public void Field_WithDefaultAndEnum_HasBothInVersion3AndTheEnumInVersion2()
    {
        using var three = Parse(s_documents.FindVersion3("api/v1")!);
        using var two = Parse(s_documents.Version2);
        var protocol3 = three.RootElement.GetProperty("components").GetProperty("schemas").GetProperty("io.k8s.api.core.v1.ContainerPort").GetProperty("properties").GetProperty("protocol");
        var protocol2 = two.RootElement.GetProperty("definitions").GetProperty("io.k8s.api.core.v1.ContainerPort").GetProperty("properties").GetProperty("protocol");

        Assert.Equal("TCP", protocol3.GetProperty("default").GetString());
        Assert.Equal("""["SCTP","TCP","UDP"]""", protocol3.GetProperty("enum").GetRawText());
        Assert.False(protocol2.TryGetProperty("default", out _));
        Assert.Equal("""["SCTP","TCP","UDP"]""", protocol2.GetProperty("enum").GetRawText());
    }

    [Fact]
    public void SharedParameter_OfVersion2_HasUpstreamsName()
    {
        using var document = Parse(s_documents.Version2);
        var names = document.RootElement.GetProperty("parameters").EnumerateObject().Select(static parameter => parameter.Name).ToHashSet();

        Assert.Superset(new HashSet<string> { "namespace-vgWSWtn3", "pretty-tJGM1-ng", "body-2Y1dVQaQ", "watch-XNNPZGbK", "limit-1NfNmdNH" }, names);
    }

    [Fact]
    public void Index_OfVersion3_NamesEveryDocumentByTheHashOfItsContent()
    {
        using var index = Parse(s_documents.Index);
        var paths = index.RootElement.GetProperty("paths");
        using var stream = s_documents.FindVersion3("apis/apps/v1")!.Open();
        var hash = Convert.ToHexString(System.Security.Cryptography.SHA512.HashData(stream));

        Assert.Equal(s_documents.Names.Count, paths.EnumerateObject().Count());
        Assert.Equal($"/openapi/v3/apis/apps/v1?hash={hash}", paths.GetProperty("apis/apps/v1").GetProperty("serverRelativeURL").GetString());
    }

    [Theory]
    [InlineData("version")]
    [InlineData("apis/apps/v1")]
    public void Protobuf_OfVersion3_IsGnosticsDocument(string name)
    {
        var bytes = Bytes(s_documents.FindVersion3Protobuf(name)!);
        var top = Fields(bytes);

        // openapi = 1, info = 2 { title = 1, version = 6 }, paths = 4, components = 5
        Assert.Equal([1, 2, 4, 5], top.Select(static field => field.Number));
        Assert.Equal("3.0.0"u8, top[0].Bytes);
        Assert.Equal("Kubernetes"u8, Fields(top[1].Bytes)[0].Bytes);
        Assert.True(bytes.AsSpan().IndexOf("#/components/schemas/"u8) > 0);
    }

    [Fact]
    public void Protobuf_OfVersion2_HasEveryPathAndDefinition()
    {
        using var json = Parse(s_documents.Version2);
        var top = Fields(Bytes(s_documents.Version2Protobuf));

        Assert.Equal([1, 2, 8, 9, 10, 12, 13], top.Select(static field => field.Number));
        Assert.Equal(json.RootElement.GetProperty("paths").EnumerateObject().Count(), Fields(top[2].Bytes).Count);
        Assert.Equal(json.RootElement.GetProperty("definitions").EnumerateObject().Count(), Fields(top[3].Bytes).Count);
        Assert.True(top[2].Bytes.AsSpan().IndexOf("group: apps\nkind: Deployment\nversion: v1\n"u8) > 0);
    }

    [Fact]
    public void Packed_AllDocuments_StayUnderThreeMegabytes()
    {
        var packed = s_documents.Names.Sum(static name => s_documents.FindVersion3(name)!.Packed.Length + s_documents.FindVersion3Protobuf(name)!.Packed.Length)
            + s_documents.Version2.Packed.Length + s_documents.Version2Protobuf.Packed.Length;

        Assert.InRange(packed, 1, 3 * 1024 * 1024);
    }

    private static JsonDocument Parse(PackedDocument document)
    {
        using var stream = document.Open();
        return JsonDocument.Parse(stream);
    }

    private static byte[] Bytes(PackedDocument document)
    {
        var bytes = new byte[document.Length];
        using var stream = document.Open();
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static List<(int Number, byte[] Bytes)> Fields(byte[] message)
    {
        var fields = new List<(int, byte[])>();
        for (var at = 0; at < message.Length;)
        {
            var tag = Number(message, ref at);
            Assert.Equal(2, tag & 7);
            var length = Number(message, ref at);
            fields.Add((tag >> 3, message[at..(at + length)]));
            at += length;
        }
        return fields;
    }

    private static int Number(byte[] message, ref int at)
    {
        int value = 0, shift = 0;
        while (true)
        {
            var next = message[at++];
            value |= (next & 0x7f) << shift;
            if (next < 0x80)
                return value;
            shift += 7;
        }
    }

    private static IEnumerable<string> References(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(static member =>
            member.Name == "$ref" && member.Value.ValueKind == JsonValueKind.String ? [member.Value.GetString()!] : References(member.Value)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(References),
        _ => [],
    };
}
