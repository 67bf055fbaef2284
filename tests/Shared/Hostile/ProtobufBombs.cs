using System.Text;

namespace K3sFast.Hostile;

/// <summary>Protobuf envelopes around messages that contain themselves.</summary>
internal static class ProtobufBombs
{
    /// <summary>A CustomResourceDefinition whose schema denies a schema that denies a schema, some hundred thousand deep.</summary>
    internal static byte[] Nested()
    {
        // From the inside out: JSONSchemaProps.not is field 28, so each level is two bytes of tag, the length, the level below.
        var reversed = new List<byte>();
        for (var i = 0; i < 300_000; i++)
        {
            AppendReversed(reversed, reversed.Count);
            reversed.Add(0x01);
            reversed.Add(0xe2);
        }
        reversed.Reverse();
        var type = Encoding.ASCII.GetBytes("apiextensions.k8s.io/v1");
        var kind = Encoding.ASCII.GetBytes("CustomResourceDefinition");
        byte[] meta = [0x0a, (byte)type.Length, .. type, 0x12, (byte)kind.Length, .. kind];
        // spec = 2 { versions = 7 { schema = 4 { openAPIV3Schema = 1 } } }, in the envelope's raw = 2.
        return [(byte)'k', (byte)'8', (byte)'s', 0, 0x0a, (byte)meta.Length, .. meta, .. Field(0x12, Field(0x12, Field(0x3a, Field(0x22, Field(0x0a, [.. reversed])))))];
    }

    private static void AppendReversed(List<byte> reversed, int length)
    {
        var bytes = new List<byte>();
        AppendVarint(bytes, length);
        bytes.Reverse();
        reversed.AddRange(bytes);
    }

    private static byte[] Field(byte tag, byte[] content)
    {
        var bytes = new List<byte> { tag };
        AppendVarint(bytes, content.Length);
        return [.. bytes, .. content];
    }

    private static void AppendVarint(List<byte> bytes, int value)
    {
        for (; value >= 0x80; value >>= 7)
            bytes.Add((byte)(value | 0x80));
        bytes.Add((byte)value);
    }
}
