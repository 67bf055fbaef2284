using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>Decoding and encoding in strings, for readable cases.</summary>
internal static class Text
{
    public static TypeSchema Type(string name) => Schema.BuiltIn.FindType("io.k8s.api." + name) ?? Schema.BuiltIn.FindType("io.k8s." + name)!;

    public static ApiObject Decode(string json, TypeSchema? type = null, ICollection<string>? strictErrors = null) =>
        JsonCodec.Decode(Encoding.UTF8.GetBytes(json), type, DecodeOptions.Default, strictErrors);

    public static string Encode(ApiObject document, TypeSchema? type = null)
    {
        var output = new ArrayBufferWriter<byte>();
        JsonCodec.Encode(document.Root, type, output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }

    public static string Recode(string json, TypeSchema type)
    {
        using var document = Decode(json, type);
        return Encode(document, type);
    }

    public static ApiStatus Refusal(Action action) => Assert.Throws<ApiStatusException>(action).Status;
}
