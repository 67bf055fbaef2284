using System.Text;
using System.Text.Json;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>Bytes in JSON: what Go's encoding/base64 reads, and where it says that others are wrong.</summary>
public sealed class Base64TextTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("\n", "")]
    [InlineData("YQ==", "YQ==")]
    [InlineData("YWJj\n", "YWJj")]
    [InlineData("Y\nQ=\r\n=\n", "YQ==")]
    // Bits behind the last byte are nothing, and are not shown again.
    [InlineData("YR==", "YQ==")]
    [InlineData("Y/==", "Yw==")]
    [InlineData("YWJ=", "YWI=")]
    [InlineData("YW\nJjZB=\n=", "YWJjZA==")]
    public void Bytes_InAFormThatIsRead_AreShownAsEncodersWriteThem(string text, string shown)
    {
        using var document = Text.Decode(Secret(text), Text.Type("core.v1.Secret"));
        Assert.Equal(shown, document.Root["data"u8]["a"u8].AsString());
        Assert.Equal(Convert.FromBase64String(shown), Encoded(document.Root, Text.Type("core.v1.Secret")));
    }

    [Theory]
    [InlineData("YQ", 0)]
    [InlineData("Y", 0)]
    [InlineData("=", 0)]
    [InlineData("==", 0)]
    [InlineData("_-==", 0)]
    [InlineData("Y===", 1)]
    [InlineData("a!==", 1)]
    [InlineData("YQ=a", 2)]
    [InlineData("YW J=", 2)]
    [InlineData("YQ\t==", 2)]
    [InlineData("YW\u00e9=", 2)]
    [InlineData("YQ=", 3)]
    [InlineData("YQ=\na", 3)]
    [InlineData("YQ=\n", 4)]
    [InlineData("YQ==x", 4)]
    [InlineData("YQ==YQ==", 4)]
    [InlineData("YWJ=x", 4)]
    [InlineData("YWJj=", 4)]
    [InlineData("YWJ=\n=", 5)]
    [InlineData("YWJjYQ===", 8)]
    public void Bytes_InAnotherForm_AreRefusedAtUpstreamsPlace(string text, int at)
    {
        var refused = Text.Refusal(() => Text.Decode(Secret(text), Text.Type("core.v1.Secret")));
        Assert.Equal($"Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte {at}", refused.Message);
    }

    private static string Secret(string text) => $$$"""{"data":{"a":{{{JsonSerializer.Serialize(text)}}}}}""";

    // The bytes of the one entry, which stand last before the type.
    private static byte[] Encoded(ApiNode secret, TypeSchema type)
    {
        var writer = new ProtoWriter(256);
        ProtoTreeEncoder.WriteMessage(ref writer, secret, type);
        var message = writer.Written;
        var entry = message[(message.IndexOf("\x0a\x01\x61\x12"u8) + 4)..];
        byte[] bytes = entry.Slice(1, entry[0]).ToArray();
        writer.Dispose();
        return bytes;
    }
}
