using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace K3sFast.ApiServer;

/// <summary>/version: which Kubernetes this is, and what it was built of. Written as upstream writes it, for people.</summary>
internal static class VersionDocument
{
    internal static byte[] Write(ApiServerOptions options)
    {
        var text = options.GitVersion.TrimStart('v').Split('.', '+', '-');
        string major = text[0], minor = text.Length > 1 ? text[1] : "0";
        var output = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(output, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.WriteStartObject();
        json.WriteString("major"u8, major);
        json.WriteString("minor"u8, minor);
        json.WriteString("emulationMajor"u8, major);
        json.WriteString("emulationMinor"u8, minor);
        json.WriteString("minCompatibilityMajor"u8, major);
        json.WriteString("minCompatibilityMinor"u8, int.TryParse(minor, out var number) && number > 0 ? (number - 1).ToString(System.Globalization.CultureInfo.InvariantCulture) : minor);
        json.WriteString("gitVersion"u8, options.GitVersion);
        json.WriteString("gitCommit"u8, options.GitCommit);
        json.WriteString("gitTreeState"u8, "clean"u8);
        json.WriteString("buildDate"u8, options.BuildDate);
        json.WriteString("goVersion"u8, RuntimeInformation.FrameworkDescription);
        json.WriteString("compiler"u8, "nativeaot"u8);
        json.WriteString("platform"u8, $"linux/{(RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "arm64" : "amd64")}");
        json.WriteEndObject();
        json.Flush();
        return output.WrittenSpan.ToArray();
    }
}
