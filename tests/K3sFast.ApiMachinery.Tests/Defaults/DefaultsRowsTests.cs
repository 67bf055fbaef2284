using System.Text;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>Every defaulting rule that sets a literal, by kind and path, on an object that has everything around the field but not the field.</summary>
public sealed class DefaultsRowsTests
{
    private static readonly string[] s_rows = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Defaults", "Rows.cases"));

    [Fact]
    public void Apply_FieldLeftOut_IsWhatTheRowSays()
    {
        var wrong = new List<string>();
        var tried = 0;
        foreach (var row in s_rows)
        {
            var cells = row.Split('|', 5);
            if (Schema.BuiltIn.Resources.FirstOrDefault(resource => resource.Group == cells[0] && resource.Version == cells[1] && resource.Kind == cells[2]) is not { } resource)
                continue;
            tried++;
            using var document = JsonCodec.Decode(Encoding.UTF8.GetBytes(ObjectAround(cells[3])), resource.Type, DecodeOptions.Default, null);
            Defaulting.Apply(document.Root, resource);
            var found = At(document.Root, cells[3]);
            if (found != cells[4] && !(cells[4] == "{}" && found.StartsWith('{')))
                wrong.Add($"{row}: {(found.Length == 0 ? "absent" : found)}");
        }

        Assert.True(tried > 1000, $"only {tried} rows name a kind of the schema");
        Assert.True(wrong.Count == 0, $"{wrong.Count} of {tried}:\n{string.Join('\n', wrong)}");
    }

    // spec.containers[].ports[].protocol: {"spec":{"containers":[{"ports":[{}]}]}}
    private static string ObjectAround(string path)
    {
        var text = new StringBuilder("{");
        var closing = new Stack<string>(["}"]);
        var segments = path.Split('.');
        foreach (var segment in segments[..^1])
        {
            var isList = segment.EndsWith("[]", StringComparison.Ordinal);
            text.Append('"').Append(segment.TrimEnd('[', ']')).Append(isList ? "\":[{" : "\":{");
            closing.Push(isList ? "}]" : "}");
        }
        return text.Append(string.Concat(closing)).ToString();
    }

    private static string At(ApiNode node, string path)
    {
        foreach (var segment in path.Split('.'))
        {
            node = node[Encoding.UTF8.GetBytes(segment.TrimEnd('[', ']'))];
            if (segment.EndsWith("[]", StringComparison.Ordinal))
                node = node[0];
        }
        return node.ToString();
    }
}
