using System.Text;

namespace K3sFast.Hostile;

/// <summary>A request that is made to hurt, and what it is answered.</summary>
/// <param name="Name">What is bad about it.</param>
/// <param name="Method">POST creates; PATCH changes an object that is there.</param>
/// <param name="Path">The path below /api or /apis.</param>
/// <param name="ContentType">Of the body.</param>
/// <param name="Body">Makes the body.</param>
/// <param name="Code">The status code of the refusal.</param>
/// <param name="Reason">The reason of the refusal.</param>
internal sealed record HostileBody(string Name, string Method, string Path, string ContentType, Func<byte[]> Body, int Code, string Reason)
{
    /// <summary>Apply bodies are YAML too, whatever they look like.</summary>
    internal bool IsYaml => ContentType.EndsWith("yaml", StringComparison.Ordinal);
}

/// <summary>Bodies of up to three megabytes, deep, wide, giant or multiplying, in every form that the API reads.</summary>
internal static class HostileBodies
{
    /// <summary>Namespace, ConfigMap and Deployment that the patches are meant for.</summary>
    internal const string Namespace = "hostile";

    private const string Maps = $"/api/v1/namespaces/{Namespace}/configmaps";
    private const string Pods = $"/api/v1/namespaces/{Namespace}/pods";
    private const string Map = $"{Maps}/target";
    private const string Deployment = $"/apis/apps/v1/namespaces/{Namespace}/deployments/target";
    private const string Crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    private const string Strict = "?fieldValidation=Strict";
    private const string Json = "application/json";
    private const string Yaml = "application/yaml";
    private const string Protobuf = "application/vnd.kubernetes.protobuf";
    private const string JsonPatch = "application/json-patch+json";
    private const string MergePatch = "application/merge-patch+json";
    private const string StrategicPatch = "application/strategic-merge-patch+json";
    private const string ApplyPatch = "application/apply-patch+yaml";
    private const string Bad = "BadRequest";
    private const string Invalid = "Invalid";
    private const string TooLarge = "RequestEntityTooLarge";

    /// <summary>What must be there before the patches: path of the collection and object.</summary>
    internal static readonly (string Path, string Body)[] Targets =
    [
        ("/api/v1/namespaces", "{\"metadata\":{\"name\":\"" + Namespace + "\"}}"),
        ($"/api/v1/namespaces/{Namespace}/serviceaccounts", """{"metadata":{"name":"default"}}"""),
        (Maps, """{"metadata":{"name":"target"},"data":{"a":"b"}}"""),
        ($"/apis/apps/v1/namespaces/{Namespace}/deployments", """
            {"metadata":{"name":"target"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}
            """),
    ];

    internal static readonly HostileBody[] All =
    [
        // Deep.
        Post("arrays a million deep", Maps, Json, static () => Times("[", 1_000_000), 400, Bad),
        Post("objects deep in an unknown field", Maps, Json, static () => "{\"x\":" + Times("{\"a\":", 300_000), 400, Bad),
        Post("an unknown field nested 10,001 deep", Maps, Json, static () => Deep("{\"metadata\":{\"name\":\"a\"},\"x\":", "[", "]", 10_000, "}"), 400, Bad),
        Post("free data nested 10,001 deep", $"/apis/apps/v1/namespaces/{Namespace}/controllerrevisions", Json, static () => Deep("{\"metadata\":{\"name\":\"a\"},\"revision\":1,\"data\":", "{\"a\":", "}", 10_000, "}", "1"), 400, Bad),
        Post("a schema nested 10,000 deep", Crds, Json, static () => Crd(Deep("", "{\"type\":\"object\",\"properties\":{\"a\":", "}}", 1_200, "", "{}")), 422, Invalid),
        Post("schemas that deny each other", Crds, Json, static () => Crd(Deep("", "{\"not\":", "}", 1_200, "", "{}")), 422, Invalid),
        Post("a default nested deep", Crds, Json, static () => Crd(Deep("{\"type\":\"object\",\"default\":", "[", "]", 1_200, "}", "1")), 422, Invalid),
        Post("YAML flow nested deep", Maps, Yaml, static () => Times("[", 100_000), 400, Bad),
        Post("YAML blocks nested deep", Maps, Yaml, static () => string.Concat(Enumerable.Range(0, 2_400).Select(static i => new string(' ', i) + "a:\n")), 422, Invalid),
        Post("YAML lists in lists", Maps, Yaml, static () => Times("- ", 1_000_000), 400, Bad),
        new("protobuf nested deep", "POST", Crds, Protobuf, ProtobufBombs.Nested, 400, Bad),
        // Wide.
        Post("a map of many keys, the last bad", Maps, Json, static () => Wide("{\"metadata\":{\"name\":\"a\"},\"data\":{@,\"!\":\"\"}}", 100_000, static i => $"\"k{i}\":\"\""), 422, Invalid),
        Post("a map of many keys, the last of a wrong type", Maps, Json, static () => Wide("{\"metadata\":{\"name\":\"a\"},\"data\":{@,\"k\":1}}", 100_000, static i => $"\"k{i}\":\"\""), 400, Bad),
        Post("a YAML map of many keys, the last bad", Maps, Yaml, static () => Wide("metadata: {name: a}\ndata: {@,'!': ''}", 100_000, static i => $"k{i}: ''"), 422, Invalid),
        Post("a YAML block map of many keys, the last bad", Maps, Yaml, static () => Wide("metadata: {name: a}\ndata:@\n  '!': ''\n", 100_000, static i => $"\n  k{i}: ''", ""), 422, Invalid),
        Post("a map of equal keys", Maps + Strict, Json, static () => Wide("{\"metadata\":{\"name\":\"a\"},\"data\":{@}}", 200_000, static _ => "\"k\":\"\""), 400, Bad),
        Post("a YAML map of equal keys", Maps + Strict, Yaml, static () => Wide("metadata: {name: a}\ndata: {@}", 200_000, static _ => "k: ''"), 400, Bad),
        Post("unknown fields", Maps + Strict, Json, static () => Wide("{\"metadata\":{\"name\":\"a\"},@}", 200_000, static i => $"\"f{i}\":0"), 400, Bad),
        Post("bad labels", Maps, Json, static () => Wide("{\"metadata\":{\"name\":\"a\",\"labels\":{@}}}", 200_000, static i => $"\"k {i}\":\"\""), 422, Invalid),
        Post("bad label values", Maps, Json, static () => Wide("{\"metadata\":{\"name\":\"a\",\"labels\":{@}}}", 100_000, static i => $"\"k{i}\":\"a b c d e f\""), 422, Invalid),
        Post("bad annotations", Maps, Json, static () => Wide("{\"metadata\":{\"name\":\"a\",\"annotations\":{@}}}", 200_000, static i => $"\"k {i}\":\"\""), 422, Invalid),
        Post("bad finalizers", Maps, Json, static () => Wide("{\"metadata\":{\"name\":\"a\",\"finalizers\":[@]}}", 300_000, static i => $"\"f{i}\""), 422, Invalid),
        Post("bad owners", Maps, Json, static () => Wide("{\"metadata\":{\"name\":\"a\",\"ownerReferences\":[@]}}", 150_000, static i => $"{{\"uid\":\"{i}\"}}"), 422, Invalid),
        Post("bad managers", Maps, Json, static () => Wide("{\"metadata\":{\"name\":\"!\",\"managedFields\":[@]}}", 40_000, static i => $"{{\"manager\":\"m{i}\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsV1\":{{}}}}"), 422, Invalid),
        Post("containers without a name", Pods, Json, static () => Pod("containers", 100_000, static _ => "{}"), 422, Invalid),
        Post("more values than a tree may have", Maps, Json, static () => "{\"metadata\":{\"name\":\"a\"},\"x\":[" + Times("0,", 1_400_000) + "0]}", 413, TooLarge),
        Post("containers with one name", Pods, Json, static () => Pod("containers", 60_000, static _ => "{\"name\":\"a\",\"image\":\"i\"}"), 422, Invalid),
        Post("volumes with one name", Pods, Json, static () => Pod("volumes", 100_000, static _ => "{\"name\":\"a\",\"emptyDir\":{}}"), 422, Invalid),
        Post("bad tolerations", Pods, Json, static () => Pod("tolerations", 100_000, static i => $"{{\"operator\":\"x{i}\"}}"), 422, Invalid),
        Post("bad host aliases", Pods, Json, static () => Pod("hostAliases", 200_000, static _ => "{\"ip\":\"\"}"), 422, Invalid),
        Post("bad ports", $"/apis/networking.k8s.io/v1/namespaces/{Namespace}/networkpolicies", Json, static () => Wide("{\"metadata\":{\"name\":\"a\"},\"spec\":{\"podSelector\":{},\"ingress\":[{\"ports\":[@]}]}}", 150_000, static _ => "{\"protocol\":\"x\"}"), 422, Invalid),
        Post("bad rules", "/apis/rbac.authorization.k8s.io/v1/clusterroles", Json, static () => Wide("{\"metadata\":{\"name\":\"a\"},\"rules\":[@]}", 500_000, static _ => "{}"), 422, Invalid),
        // Giant.
        Post("a number of a million digits", Maps, Json, static () => "{\"metadata\":{\"generation\":" + Times("9", 1_000_000) + "}}", 400, Bad),
        Post("a fraction of a million digits", Maps, Json, static () => "{\"metadata\":{\"generation\":0." + Times("9", 1_000_000) + "}}", 400, Bad),
        Post("a quantity of a million digits", Pods, Json, static () => "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[],\"overhead\":{\"cpu\":\"" + Times("9", 1_000_000) + "x\"}}}", 400, Bad),
        Post("a quantity with a huge exponent", Pods, Json, static () => "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[],\"overhead\":{\"cpu\":\"1e999999999999\"}}}", 400, Bad),
        Post("a label key of three megabytes", Maps, Json, static () => "{\"metadata\":{\"name\":\"a\",\"labels\":{\"" + Times(" ", 3_000_000) + "\":\"\"}}}", 422, Invalid),
        Post("a label value of three megabytes", Maps, Json, static () => "{\"metadata\":{\"name\":\"a\",\"labels\":{\"a\":\"" + Times("\\n", 1_500_000) + "\"}}}", 422, Invalid),
        Post("a name of three megabytes", Maps, Json, static () => "{\"metadata\":{\"name\":\"" + Times("A", 3_000_000) + "\"}}", 422, Invalid),
        Post("an unknown field of three megabytes", Maps + Strict, Json, static () => "{\"metadata\":{\"name\":\"a\"},\"" + Times("x", 3_000_000) + "\":1}", 400, Bad),
        Post("a kind of three megabytes", Maps, Json, static () => "{\"kind\":\"" + Times("x", 3_000_000) + "\"}", 400, Bad),
        Post("a string without end", Maps, Json, static () => "{\"data\":{\"k\":\"" + Times("x", 3_000_000), 400, Bad),
        Post("a body beyond the limit", Maps, Json, static () => "{\"data\":{\"k\":\"" + Times("x", 3_145_728) + "\"}}", 413, TooLarge),
        Post("bytes that are no UTF-8", Maps, Json, static () => "{\"metadata\":{\"name\":\"" + Times("\\ud800", 500_000) + "\"}}", 422, Invalid),
        Post("a pattern that backtracks", Crds, Json, static () => Crd("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":\"" + Times("a", 5_000) + "!\",\"pattern\":\"^(a+)+$\"}}}"), 422, Invalid),
        // Multiplying.
        Post("YAML aliases that multiply", Maps, Yaml, Laughs, 400, Bad),
        Post("YAML aliases of one big list", Maps, Yaml, static () => "a: &a [" + Times("x,", 1_000) + "x]\nb: [" + Times("*a,", 500_000) + "*a]\n", 400, Bad),
        Post("YAML merge keys that multiply", Maps, Yaml, static () => "a: &a {" + Wide("@", 20_000, static i => $"k{i}: 1") + "}\nb: [" + Times("{<<: *a},", 100_000) + "{}]\n", 400, Bad),
        Post("an alias of itself", Maps, Yaml, static () => "a: &a [*a]", 400, Bad),
        // Patches.
        Patch("a patch of 10,001 operations", Map, JsonPatch, static () => Wide("[@]", 10_001, static _ => "{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"ConfigMap\"}"), 413, TooLarge),
        Patch("a patch that copies itself", Map, JsonPatch, static () => "[{\"op\":\"add\",\"path\":\"/data\",\"value\":{\"a\":\"" + Times("x", 10_000) + "\"}}," + Wide("@", 40, static i => $"{{\"op\":\"copy\",\"from\":\"/data\",\"path\":\"/data/b{i}\"}}") + "]", 422, Invalid),
        Patch("a patch that moves much and often", Map, JsonPatch, static () => "[{\"op\":\"add\",\"path\":\"/data\",\"value\":{" + Wide("@", 100_000, static i => $"\"k{i}\":\"\"") + "}},"
            + Wide("@", 9_998, static i => i % 2 == 0 ? "{\"op\":\"move\",\"from\":\"/data\",\"path\":\"/x\"}" : "{\"op\":\"move\",\"from\":\"/x\",\"path\":\"/data\"}") + ",{\"op\":\"test\",\"path\":\"/kind\",\"value\":1}]", 422, Invalid),
        Patch("a patch that inserts far inside", Map, JsonPatch, static () => "[{\"op\":\"add\",\"path\":\"/data\",\"value\":[" + Times("0,", 1_000_000) + "0]},"
            + Wide("@", 9_998, static i => $"{{\"op\":\"add\",\"path\":\"/data/{(i % 2 == 0 ? 1 : 900_000)}\",\"value\":1}}") + ",{\"op\":\"test\",\"path\":\"/kind\",\"value\":1}]", 413, TooLarge),
        Patch("a pointer of a million parts", Map, JsonPatch, static () => "[{\"op\":\"add\",\"path\":\"" + Times("/a", 1_400_000) + "\",\"value\":1}]", 422, Invalid),
        Patch("a value nested deep", Map, JsonPatch, static () => Deep("[{\"op\":\"add\",\"path\":\"/data\",\"value\":", "[", "]", 9_990, "}]", "1"), 422, Invalid),
        Patch("a merge patch nested beyond the limit", Map, MergePatch, static () => Times("{\"data\":", 300_000), 400, Bad),
        Patch("a merge patch nested deep", Map, MergePatch, static () => Deep("{\"data\":", "{\"a\":", "}", 9_990, "}", "1"), 422, Invalid),
        Patch("a strategic patch nested deep", Deployment, StrategicPatch, static () => Deep("{\"metadata\":{\"labels\":", "{\"a\":", "}", 9_980, "}}", "1"), 422, Invalid),
        Patch("a strategic patch of many containers", Deployment, StrategicPatch, static () => Wide("{\"spec\":{\"template\":{\"spec\":{\"containers\":[@]}}}}", 20_000, static i => $"{{\"name\":\"!{i}\"}}"), 422, Invalid),
        Patch("a strategic patch that orders much", Deployment, StrategicPatch, static () => Wide("{\"spec\":{\"template\":{\"spec\":{\"$setElementOrder/containers\":[@],\"containers\":[{\"name\":\"none\"}]}}}}", 100_000, static i => $"{{\"name\":\"c{i}\"}}"), 500, ""),
        Patch("an apply of many bad keys", Map + "?fieldManager=m", ApplyPatch, static () => Wide("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: target}\ndata: {@}", 100_000, static i => $"'k {i}': ''"), 422, Invalid),
        Patch("an apply of many equal containers", Deployment + "?fieldManager=m&force=true", ApplyPatch, static () => Wide("{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"target\"},\"spec\":{\"template\":{\"spec\":{\"containers\":[@]}}}}", 100_000, static _ => "{\"name\":\"c\"}"), 500, ""),
    ];

    private static HostileBody Post(string name, string path, string type, Func<string> body, int code, string reason) =>
        new(name, "POST", path, type, () => Encoding.UTF8.GetBytes(body()), code, reason);

    private static HostileBody Patch(string name, string path, string type, Func<string> body, int code, string reason) =>
        new(name, "PATCH", path, type, () => Encoding.UTF8.GetBytes(body()), code, reason);

    private static string Times(string text, int count) => new StringBuilder(text.Length * count).Insert(0, text, count).ToString();

    private static string Deep(string head, string open, string close, int depth, string tail, string core = "") =>
        string.Concat(head, Times(open, depth), core, Times(close, depth), tail);

    private static string Wide(string text, int count, Func<int, string> part, string separator = ",") =>
        text.Replace("@", string.Join(separator, Enumerable.Range(0, count).Select(part)), StringComparison.Ordinal);

    private static string Pod(string list, int count, Func<int, string> part) => list == "containers"
        ? Wide("{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[@]}}", count, part)
        : Wide($"{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"containers\":[{{\"name\":\"c\",\"image\":\"i\"}}],\"{list}\":[@]}}}}", count, part);

    private static string Crd(string schema) => """
        {"metadata":{"name":"as.b.example.com"},"spec":{"group":"b.example.com","scope":"Namespaced","names":{"plural":"as","singular":"a","kind":"A","listKind":"AList"},
        "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":
        """ + schema + "}}]}}";

    private static string Laughs()
    {
        var text = new StringBuilder("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for (var i = 1; i < 12; i++)
            text.Append($"a{i}: &a{i} [{string.Join(',', Enumerable.Repeat($"*a{i - 1}", 10))}]\n");
        return text.ToString();
    }
}
