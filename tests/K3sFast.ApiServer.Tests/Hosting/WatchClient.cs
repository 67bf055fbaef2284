using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

/// <summary>A client that reads one watch, frame by frame, with a limit on every wait.</summary>
internal sealed class WatchClient(HttpResponseMessage response, Stream stream) : IAsyncDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(90);

    private readonly StreamReader _lines = new(stream);

    internal string ContentType => response.Content.Headers.ContentType!.ToString();

    internal static async Task<WatchClient> OpenAsync(TestServer server, string path, string? accept = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (accept is not null)
            request.Headers.TryAddWithoutValidation("Accept", accept);
        var response = await server.Admin.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        Assert.Equal(200, (int)response.StatusCode);
        return new WatchClient(response, await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));
    }

    /// <summary>The next JSON frame, as type and object.</summary>
    internal async Task<(string Type, JsonNode Object)> NextAsync()
    {
        var frame = JsonNode.Parse(await TryLineAsync() ?? throw new InvalidOperationException("the watch ended"))!;
        return ((string)frame["type"]!, frame["object"]!);
    }

    /// <summary>The next line; null at the watch's end.</summary>
    internal async Task<string?> TryLineAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(s_limit);
        return await _lines.ReadLineAsync(limit.Token);
    }

    /// <summary>The next protobuf frame behind its length.</summary>
    internal async Task<byte[]> NextBytesAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(s_limit);
        var length = new byte[4];
        await stream.ReadExactlyAsync(length, limit.Token);
        var frame = new byte[System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(length)];
        await stream.ReadExactlyAsync(frame, limit.Token);
        return frame;
    }

    public ValueTask DisposeAsync()
    {
        _lines.Dispose();
        response.Dispose();
        return ValueTask.CompletedTask;
    }
}
