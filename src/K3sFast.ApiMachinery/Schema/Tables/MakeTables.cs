// Makes types.table and resources.table from the facts about one Kubernetes version, so that a new version can be taken in:
//   dotnet run MakeTables.cs -- <facts folder> <output folder>
// Facts in: types.tsv, type-index.tsv, resources.tsv, selectors.tsv (tab separated, one header line).
//
// types.table, UTF-8, lines of tab separated cells, "io.k8s." left out of every type name:
//   =<type> <group/version/kind, space separated; * = every group version> <flags: o = in OpenAPI, w = list of strings wrapper> <map type> <unions as JSON>
//   <json name> <shape> <proto number> <flags> <key=value>...
// shape: [] = list, {} = map from string, then one of
//   s string, b boolean, i int32, l int64, d double, y bytes, T Time, M MicroTime, D Duration, Q Quantity, X IntOrString, R RawExtension, F FieldsV1,
//   J any JSON, W list of strings that is a message on the wire, A schema or list, B schema or bool, C schema or list of strings, or a type name.
// flags: R required, O omitempty, Z omitzero, P pointer, I inline (flattened in JSON; nested on the wire when it has a number).
// keys: ps patch strategy, pk patch merge key, lt list type, lk list map keys, mt map type, d default as JSON, e enum with |, u union, f format,
// g Go name where it is not the JSON name with a capital letter.
//
// resources.table: the columns named in its first line, with the field selectors as label=path.
using System.Text;

var facts = args[0];
var output = args[1];
var kinds = new Dictionary<string, string>
{
    ["apimachinery.pkg.apis.meta.v1.PartialObjectMetadata"] = "meta.k8s.io/v1/PartialObjectMetadata",
    ["apimachinery.pkg.apis.meta.v1.PartialObjectMetadataList"] = "meta.k8s.io/v1/PartialObjectMetadataList",
    ["apimachinery.pkg.apis.meta.v1.Table"] = "meta.k8s.io/v1/Table",
    ["api.core.v1.List"] = "/v1/List",
    ["apimachinery.pkg.apis.meta.v1.ListOptions"] = "*/ListOptions",
    ["apimachinery.pkg.apis.meta.v1.CreateOptions"] = "*/CreateOptions",
    ["apimachinery.pkg.apis.meta.v1.UpdateOptions"] = "*/UpdateOptions",
    ["apimachinery.pkg.apis.meta.v1.PatchOptions"] = "*/PatchOptions",
    ["apimachinery.pkg.apis.meta.v1.GetOptions"] = "*/GetOptions",
    ["metrics.pkg.apis.metrics.v1beta1.NodeMetrics"] = "metrics.k8s.io/v1beta1/NodeMetrics",
    ["metrics.pkg.apis.metrics.v1beta1.NodeMetricsList"] = "metrics.k8s.io/v1beta1/NodeMetricsList",
    ["metrics.pkg.apis.metrics.v1beta1.PodMetrics"] = "metrics.k8s.io/v1beta1/PodMetrics",
    ["metrics.pkg.apis.metrics.v1beta1.PodMetricsList"] = "metrics.k8s.io/v1beta1/PodMetricsList",
    ["apiextensions-apiserver.pkg.apis.apiextensions.v1.ConversionReview"] = "apiextensions.k8s.io/v1/ConversionReview",
    ["api.admission.v1.AdmissionReview"] = "admission.k8s.io/v1/AdmissionReview",
    ["api.apidiscovery.v2.APIGroupDiscovery"] = "apidiscovery.k8s.io/v2/APIGroupDiscovery",
    ["api.apidiscovery.v2.APIGroupDiscoveryList"] = "apidiscovery.k8s.io/v2/APIGroupDiscoveryList",
    ["api.apidiscovery.v2beta1.APIGroupDiscovery"] = "apidiscovery.k8s.io/v2beta1/APIGroupDiscovery",
    ["api.apidiscovery.v2beta1.APIGroupDiscoveryList"] = "apidiscovery.k8s.io/v2beta1/APIGroupDiscoveryList",
};
var letters = new Dictionary<string, string>
{
    ["string"] = "s", ["boolean"] = "b", ["number"] = "d", ["bytes"] = "y", ["Time"] = "T", ["MicroTime"] = "M", ["Duration"] = "D", ["Quantity"] = "Q",
    ["IntOrString"] = "X", ["RawExtension"] = "R", ["FieldsV1"] = "F", ["JSON"] = "J", ["any"] = "J",
    ["JSONSchemaPropsOrArray"] = "A", ["JSONSchemaPropsOrBool"] = "B", ["JSONSchemaPropsOrStringArray"] = "C",
};

var fields = Read("types.tsv").ToLookup(row => row["type"]);
var text = new StringBuilder();
foreach (var type in Read("type-index.tsv"))
{
    var name = Short(type["type"]);
    var gvks = type["gvks"] == "all-group-versions" ? "*/" + name[(name.LastIndexOf('.') + 1)..] : type["gvks"];
    if (gvks.Length == 0)
        kinds.TryGetValue(name, out gvks);
    var flags = (type["in_openapi_v3"] == "true" ? "o" : "") + (type["special"] == "list-wrapper" ? "w" : "");
    text.Append('=').Append(Line(name, gvks ?? "", flags, type["type_map_type"], type["unions"])).Append('\n');
    foreach (var field in fields[type["type"]].OrderBy(row => row["order"], StringComparer.Ordinal))
        text.Append(FieldLine(field)).Append('\n');
}
Write("types.table", text);

string[] columns =
[
    "group", "version", "resource", "kind", "singular", "namespaced", "short_names", "categories", "verbs", "subresources", "storage_version",
    "is_storage_version", "is_preferred_version", "default_enabled", "feature_gate", "group_priority", "version_priority", "etcd_prefix", "storage_version_hash", "server",
];
var selectors = Read("selectors.tsv").ToLookup(row => (row["group"], row["version"], row["resource"]));
text = new StringBuilder(string.Join('\t', columns)).Append("\tfield_selectors\n");
foreach (var resource in Read("resources.tsv"))
{
    text.AppendJoin('\t', columns.Select(column => resource[column])).Append('\t');
    text.AppendJoin(',', selectors[(resource["group"], resource["version"], resource["resource"])].Select(row => row["field_label"] + "=" + row["object_path"]));
    text.Append('\n');
}
Write("resources.table", text);
return;

string FieldLine(Dictionary<string, string> field)
{
    var flags = (field["required"] == "true" ? "R" : "") + (field["omitempty"] == "true" ? "O" : "") + (field["omitzero"] == "true" ? "Z" : "")
        + (field["pointer"] == "true" ? "P" : "") + (field["inline"] == "true" ? "I" : "");
    var cells = new List<string> { field["json_name"], Shape(field), field["proto_number"], flags };
    foreach (var (key, column) in new[]
    {
        ("ps", "patch_strategy"), ("pk", "patch_merge_key"), ("lt", "list_type"), ("lk", "list_map_keys"), ("mt", "map_type"), ("d", "default"),
        ("e", "enum"), ("u", "union"), ("f", "format"),
    })
    {
        if (field[column].Length > 0)
            cells.Add(key + "=" + field[column]);
    }
    var name = field["json_name"];
    if (name.Length > 0 && field["go_name"] != char.ToUpperInvariant(name[0]) + name[1..])
        cells.Add("g=" + field["go_name"]);
    return string.Join('\t', cells);
}

string Shape(Dictionary<string, string> field)
{
    var element = field["element"];
    if (field["cardinality"] == "list" && element == "string" && field["proto_type"] == "message")
        return "W";
    string shape;
    if (element.StartsWith("list<string>", StringComparison.Ordinal))
        shape = "W";
    else if (element == "integer")
        shape = field["proto_type"] == "int64" || (field["proto_type"].Length == 0 && field["format"] == "int64") ? "l" : "i";
    else if (!letters.TryGetValue(element, out shape!))
        shape = element.StartsWith("io.k8s.", StringComparison.Ordinal) ? Short(element) : throw new InvalidDataException($"unknown element {element}");
    return field["cardinality"] switch { "list" => "[]", "map" => "{}", _ => "" } + shape;
}

IEnumerable<Dictionary<string, string>> Read(string file)
{
    var lines = File.ReadAllLines(Path.Combine(facts, file));
    var header = lines[0].Split('\t');
    return lines.Skip(1).Select(line => header.Zip(line.Split('\t')).ToDictionary(pair => pair.First, pair => pair.Second)).ToList();
}

static string Short(string name) => name.StartsWith("io.k8s.", StringComparison.Ordinal) ? name["io.k8s.".Length..] : name;

static string Line(params string[] cells) => string.Join('\t', cells).TrimEnd('\t');

void Write(string file, StringBuilder content) => File.WriteAllText(Path.Combine(output, file), content.ToString());
