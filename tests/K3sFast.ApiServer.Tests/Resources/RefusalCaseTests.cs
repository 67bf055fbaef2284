using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

/// <summary>
/// Objects with one thing wrong each, against what the API says of them: every cause with its path, in order. A file of cases holds, per kind,
/// "= path" and a valid object, then "&gt; create|update place = value" (or "-" to leave out) followed by the causes.
/// </summary>
public sealed class RefusalCaseTests(TestServer server)
{
    public static TheoryData<string> Files()
    {
        var files = new TheoryData<string>();
        foreach (var file in Directory.EnumerateFiles(Path.Combine(AppContext.BaseDirectory, "Resources", "Cases"), "*.cases"))
            files.Add(Path.GetFileNameWithoutExtension(file));
        return files;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public async Task Object_WithOneThingWrong_IsRefusedWithItsCauses(string group)
    {
        var ns = await server.NamespaceAsync();
        var file = Path.Combine(AppContext.BaseDirectory, "Resources", "Cases", group + ".cases");
        var lines = await File.ReadAllLinesAsync(file, TestContext.Current.CancellationToken);
        var wrong = new List<string>();
        JsonNode valid = new JsonObject();
        string path = "";
        bool isStored = false;
        for (int i = 0; i < lines.Length;)
        {
            if (lines[i].StartsWith("= ", StringComparison.Ordinal))
            {
                await ForgetAsync();
                path = lines[i][2..].Replace("{ns}", ns, StringComparison.Ordinal);
                valid = Parse(lines[i + 1].Replace("\"namespace\":\"default\"", $"\"namespace\":\"{ns}\"", StringComparison.Ordinal));
                isStored = false;
                i += 2;
                continue;
            }
            int row = i + 1;
            var words = lines[i].Split(' ', 5);
            var changed = Change(valid, words[2], words[3] == "-" ? null : Parse(lines[i][(lines[i].IndexOf(" = ", StringComparison.Ordinal) + 3)..]));
            var expected = new List<string>();
            for (i++; i < lines.Length && lines[i] is [not ('=' or '>'), ..]; i++)
                expected.Add(lines[i].Replace("\\n", "\n", StringComparison.Ordinal));
            if (words[1] == "update" && !isStored)
            {
                isStored = true;
                valid["metadata"]!.AsObject().Remove("finalizers");
                var stored = await server.SendAsync(HttpMethod.Post, path, valid.ToJsonString());
                Assert.True(stored.Code == 201, $"{file}:{row}: {stored.Text}");
            }
            var name = (string)valid["metadata"]!["name"]!;
            var answer = words[1] == "create" ? await server.SendAsync(HttpMethod.Post, path + "?dryRun=All", changed.ToJsonString()) : await UpdateAsync();
            // The server's own controllers may write a status at any time: then it is asked again.
            for (int tries = 0; answer.Code == 409 && tries < 20; tries++)
                answer = await UpdateAsync();
            var causes = answer.Code == 422 ? answer.Json["details"]!["causes"]!.AsArray().Select(static cause => $"{cause!["field"]}: {cause["message"]}").ToList() : [$"{answer.Code}"];
            if (!causes.SequenceEqual(expected.Select(text => text.Replace("\"default\"", $"\"{ns}\"", StringComparison.Ordinal)))
                && !causes.SequenceEqual(expected))
                wrong.Add($"{file}:{row}: {lines[row - 1]}\n  expected {string.Join("\n           ", expected)}\n  got      {string.Join("\n           ", causes)}");

            async Task<Answer> UpdateAsync()
            {
                changed["metadata"]?["resourceVersion"] = (string)(await server.GetAsync($"{path}/{name}")).Json["metadata"]!["resourceVersion"]!;
                return await server.SendAsync(HttpMethod.Put, $"{path}/{name}?dryRun=All", changed.ToJsonString());
            }
        }
        await ForgetAsync();
        Assert.True(wrong.Count == 0, $"{wrong.Count} differ\n{string.Join('\n', wrong)}");

        // Another version of the kind, or another test, may use the same name.
        async Task ForgetAsync()
        {
            if (isStored)
                await server.SendAsync(HttpMethod.Delete, $"{path}/{(string)valid["metadata"]!["name"]!}?gracePeriodSeconds=0");
        }
    }

    private static JsonNode Parse(string json) => JsonNode.Parse(json) ?? throw new InvalidDataException(json);

    // A place is member names and list positions, separated by dots; a dot in a name is written ~.
    private static JsonNode Change(JsonNode valid, string place, JsonNode? value)
    {
        var root = valid.DeepClone();
        var steps = place.Split('.');
        JsonNode? at = root;
        foreach (var step in steps[..^1])
            at = at is JsonArray list ? list[int.Parse(step)] : at![step.Replace('~', '.')];
        if (at is JsonArray array)
            array[int.Parse(steps[^1])] = value;
        else if (value is null)
            at!.AsObject().Remove(steps[^1].Replace('~', '.'));
        else
            at![steps[^1].Replace('~', '.')] = value;
        return root;
    }
}
