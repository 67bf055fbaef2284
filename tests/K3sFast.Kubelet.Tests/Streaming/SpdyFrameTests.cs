using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using K3sFast.Kubelet.Streaming;

namespace K3sFast.Kubelet.Tests.Streaming;

public sealed class SpdyFrameTests
{
    [Fact]
    public void SynStream_HeaderBlocks_InflateAsOneStream()
    {
        var first = SpdyFrame.SynStream(1, [("streamType", "error")], isFirst: true);
        var second = SpdyFrame.SynStream(3, [("streamtype", "data"), ("port", "80")], isFirst: false);

        Assert.Equal(new byte[] { 0x80, 3, 0, 1 }, first[..4]);
        Assert.Equal(first.Length - 8, BinaryPrimitives.ReadInt32BigEndian(first.AsSpan(4)));
        Assert.Equal(3u, BinaryPrimitives.ReadUInt32BigEndian(second.AsSpan(8)));
        using var inflate = new ZLibStream(new MemoryStream([.. first[18..], .. second[18..]]), CompressionMode.Decompress);
        var plain = new byte[75];
        inflate.ReadAtLeast(plain, plain.Length, throwOnEndOfStream: false);
        var text = Encoding.ASCII.GetString(plain);
        Assert.StartsWith("\0\0\0\u0001\0\0\0\u000astreamtype\0\0\0\u0005error", text, StringComparison.Ordinal);
        Assert.Contains("\0\0\0\u0002\0\0\0\u000astreamtype\0\0\0\u0004data\0\0\0\u0004port\0\0\0\u000280", text, StringComparison.Ordinal);
    }

    [Fact]
    public void DataHead_RoundTrips()
    {
        var head = new byte[8];
        SpdyFrame.WriteDataHead(head, 5, 70_000, isLast: true);
        var read = SpdyFrame.ReadHead(head);
        Assert.Equal(new SpdyFrameHead(SpdyFrameType.Data, 5, 1, 70_000), read);
        Assert.True(read.IsLast);
    }
}
