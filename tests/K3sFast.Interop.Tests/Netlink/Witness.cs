using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using K3sFast.Interop.Namespaces;

namespace K3sFast.Interop.Tests.Netlink;

/// <summary>What programs that are not ours find in the kernel: ip, tc, bridge and nft.</summary>
internal static class Witness
{
    /// <summary>A program's output inside a namespace; a test that needs a program that is not there is skipped.</summary>
    internal static string Run(NetworkNamespace inside, params string[] command)
    {
        Process process;
        try
        {
            process = Process.Start(new ProcessStartInfo("nsenter", [$"--net={inside.Path}", .. command]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip("needs nsenter");
            return "";
        }
        using (process)
        {
            var error = process.StandardError.ReadToEndAsync();
            var text = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            if (process.ExitCode == 127 || error.Result.Contains("failed to execute", StringComparison.Ordinal)) Assert.Skip("needs " + command[0]);
            Assert.True(process.ExitCode == 0, $"{string.Join(' ', command)}: {error.Result}");
            return text;
        }
    }

    /// <summary>A list that a program prints as JSON.</summary>
    internal static JsonArray List(NetworkNamespace inside, string command) => Run(inside, command.Split(' ')) is { Length: > 1 } text ? JsonNode.Parse(text)!.AsArray() : [];

    /// <summary>Asserts that one object of the list has all members of <paramref name="expected"/>, and theirs. Lists are compared whole.</summary>
    internal static void Has(JsonArray list, string expected)
    {
        var wanted = JsonNode.Parse(expected)!;
        Assert.True(list.Any(entry => Covers(entry, wanted)), $"none is {expected} in {list.ToJsonString(new JsonSerializerOptions { WriteIndented = true })}");
    }

    private static bool Covers(JsonNode? found, JsonNode? wanted) => wanted is JsonObject members
        ? found is JsonObject all && members.All(member => all.ContainsKey(member.Key) && Covers(all[member.Key], member.Value))
        : JsonNode.DeepEquals(found, wanted);
}
