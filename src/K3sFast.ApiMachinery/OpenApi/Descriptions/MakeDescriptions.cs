// A build task: makes descriptions.gz, what the API's types and parameters mean in upstream's words, out of the XML documentation that the
// KubernetesClient.Aot package brings along. Compiled and run by the build (see the project file); nothing of it ships.
//
// descriptions.gz, gzip of UTF-8 texts that each end in a zero byte:
//   for each type: full name without "io.k8s.", description, { member's name in any case, description }, an empty text
//   for each operation that brings parameters: "@" and its name, "", { parameter's name, description }, an empty text
using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using System.Text;
using System.Xml;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

public class MakeDescriptions : Task
{
    // The generator of the package wraps at this column. A line that would have had room for the next word ends where the source's line ended.
    private const int WrapColumn = 80;

    private const string Models = "k8s.Models.";
    private const string Operations = "k8s.CoreV1OperationsExtensions.";

    // One operation stands for all that share its parameters.
    private static readonly string[] OperationNames =
    {
        "ListNamespacedPod", "DeleteCollectionNamespacedPod", "CreateNamespacedPod", "DeleteNamespacedPod", "PatchNamespacedPod", "ReadNamespacedPodLog",
        "ConnectGetNamespacedPodAttach", "ConnectGetNamespacedPodExec", "ConnectGetNamespacedPodPortforward", "ConnectGetNamespacedPodProxyWithPath",
        "ConnectGetNamespacedServiceProxyWithPath", "ConnectGetNodeProxyWithPath",
    };

    private readonly Dictionary<string, string> _types = new Dictionary<string, string>();
    private readonly Dictionary<string, List<KeyValuePair<string, string>>> _members = new Dictionary<string, List<KeyValuePair<string, string>>>();

    [Required]
    public string Documentation { get; set; }

    [Required]
    public string Types { get; set; }

    [Required]
    public string Output { get; set; }

    public override bool Execute()
    {
        Read();
        var text = new StringBuilder();
        foreach (var line in File.ReadAllLines(Types))
        {
            if (!line.StartsWith("=", StringComparison.Ordinal))
                continue;
            var name = line.Substring(1).Split('\t')[0];
            if (ModelOf(name) is string model)
                Write(text, name, _types.TryGetValue(model, out var description) ? description : "", _members.TryGetValue(model, out var members) ? members : null);
        }
        foreach (var operation in OperationNames)
        {
            if (!_members.TryGetValue("@" + operation, out var parameters))
            {
                Log.LogError("the package's documentation has no operation " + operation + ": MakeDescriptions.cs must learn its new name");
                return false;
            }
            Write(text, "@" + operation, "", parameters);
        }
        Directory.CreateDirectory(Path.GetDirectoryName(Output));
        var bytes = Encoding.UTF8.GetBytes(text.ToString());
        using (var gzip = new GZipStream(File.Create(Output), CompressionLevel.Optimal))
            gzip.Write(bytes, 0, bytes.Length);
        return true;
    }

    private static void Write(StringBuilder text, string name, string description, List<KeyValuePair<string, string>> members)
    {
        text.Append(name).Append('\0').Append(description).Append('\0');
        foreach (var member in members ?? new List<KeyValuePair<string, string>>())
            text.Append(member.Key).Append('\0').Append(member.Value).Append('\0');
        text.Append('\0');
    }

    // api.core.v1.Pod is V1Pod; a name that two groups have carries the group before it; a version that left the package is told by its newer one.
    private string ModelOf(string type)
    {
        var parts = type.Split('.');
        if (parts.Length < 3)
            return null;
        string name = parts[parts.Length - 1], version = parts[parts.Length - 2], group = parts[parts.Length - 3];
        foreach (var candidate in new[] { Upper(version) + name, Upper(group) + version + name, "V1" + name, "V2" + name, "V1beta1" + name, Upper(group) + "v1" + name, Bare(type, name) })
        {
            if (candidate.Length > 0 && _types.ContainsKey(candidate))
                return candidate;
        }
        return null;
    }

    private static string Bare(string type, string name) => type.EndsWith(".resource.Quantity", StringComparison.Ordinal) ? "ResourceQuantity" : name == "Info" ? "VersionInfo" : "";

    private void Read()
    {
        using (var reader = XmlReader.Create(Documentation, new XmlReaderSettings { IgnoreWhitespace = false }))
        {
            while (reader.ReadToFollowing("member"))
            {
                var member = reader.GetAttribute("name");
                if (member.Substring(2).StartsWith(Models, StringComparison.Ordinal) && (member[0] == 'T' || member[0] == 'P'))
                    AddModel(member.Substring(2 + Models.Length), Unwrap(Summary(reader)));
                else if (member.StartsWith("M:" + Operations, StringComparison.Ordinal) && OperationOf(member) is string operation)
                    AddParameters("@" + operation, reader);
            }
        }
    }

    private static string OperationOf(string member)
    {
        var name = member.Substring(2 + Operations.Length);
        name = name.Substring(0, name.IndexOf('('));
        return Array.IndexOf(OperationNames, name) < 0 ? null : name;
    }

    private void AddModel(string name, string text)
    {
        var dot = name.IndexOf('.');
        if (dot < 0)
        {
            _types[name] = text;
            return;
        }
        var property = name.Substring(dot + 1);
        // Names that C# would not take carry this behind them.
        if (property.EndsWith("Property", StringComparison.Ordinal))
            property = property.Substring(0, property.Length - "Property".Length);
        MembersOf(name.Substring(0, dot)).Add(new KeyValuePair<string, string>(property, text));
    }

    private void AddParameters(string operation, XmlReader reader)
    {
        var members = MembersOf(operation);
        using (var inner = reader.ReadSubtree())
        {
            while (inner.ReadToFollowing("param"))
            {
                var name = inner.GetAttribute("name");
                if (name.EndsWith("Parameter", StringComparison.Ordinal))
                    name = name.Substring(0, name.Length - "Parameter".Length);
                var text = inner.ReadElementContentAsObject() as string;
                if (name != "operations" && name != "cancellationToken" && text != null)
                    members.Add(new KeyValuePair<string, string>(name, Unwrap(text)));
            }
        }
    }

    private List<KeyValuePair<string, string>> MembersOf(string name) =>
        _members.TryGetValue(name, out var members) ? members : _members[name] = new List<KeyValuePair<string, string>>();

    private static string Summary(XmlReader reader)
    {
        using (var inner = reader.ReadSubtree())
        {
            if (!inner.ReadToFollowing("summary"))
                return "";
            using (var summary = inner.ReadSubtree())
            {
                var text = new StringBuilder();
                while (summary.Read())
                {
                    if (summary.NodeType == XmlNodeType.Text || summary.NodeType == XmlNodeType.Whitespace || summary.NodeType == XmlNodeType.SignificantWhitespace)
                        text.Append(summary.Value);
                }
                return text.ToString();
            }
        }
    }

    private static string Unwrap(string summary)
    {
        var lines = summary.Replace("\r", "").Trim('\n', ' ').Split('\n');
        var text = new StringBuilder(lines[0].Trim());
        for (var i = 1; i < lines.Length; i++)
        {
            string before = lines[i - 1].Trim(), line = lines[i].Trim();
            var space = line.IndexOf(' ');
            var word = space < 0 ? line.Length : space;
            var isSourceBreak = line.Length == 0 || before.Length == 0 || before.Length + 1 + word <= WrapColumn;
            text.Append(isSourceBreak ? '\n' : ' ').Append(line);
        }
        return text.ToString().TrimEnd('\n');
    }

    private static string Upper(string word) => char.ToUpperInvariant(word[0]) + word.Substring(1);
}
