using System.Threading.Channels;
using Google.Protobuf;
using K3sFast.Datastore.Etcd.Wire;
using K3sFast.Datastore.Shared;

namespace K3sFast.Datastore.Etcd;

/// <summary>
/// Reads a whole state of etcd: one chain of pages, since only a page tells where the next one begins, whose next question is always on its way; and several threads
/// that show what the pages hold.
/// </summary>
/// <remarks>
/// etcd 3.5 walks all keys from a page's first to the end of the range, to count them: few large pages cost it less than many small ones. They are as large as
/// memory allows, of which some are held at a time: one that arrives, one that waits, one by each thread.
/// </remarks>
internal sealed class EtcdStateScan(Func<Wire.RangeRequest, CancellationToken, Task<RangeResponse>> askAsync)
{
    private const int PageBytes = 4 << 20;
    private const int FirstPageKeys = 1_000;
    private const int MaxPageKeys = 20_000;

    // More threads than this only wait for etcd.
    private const int MaxParts = 4;

    // Below this another thread costs more than it saves.
    private const int MinKeysPerPart = 2_000;

    /// <summary>As <see cref="IStateReader.ReadStateAsync"/>.</summary>
    public async Task ReadAsync(string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken)
    {
        byte[] start = System.Text.Encoding.UTF8.GetBytes(prefix);
        var first = new Wire.RangeRequest
        {
            // One zero byte: from the first key on, and to the last one.
            Key = prefix.Length == 0 ? ByteString.CopyFrom(0) : UnsafeByteOperations.UnsafeWrap(start),
            RangeEnd = prefix.Length == 0 ? ByteString.CopyFrom(0) : UnsafeByteOperations.UnsafeWrap(StoreKeys.PrefixEnd(start)),
            Revision = revision,
            Limit = FirstPageKeys,
        };
        var page = await askAsync(first, cancellationToken).ConfigureAwait(false);
        int ranks = (int)page.Count;
        var pages = Channel.CreateBounded<(RangeResponse Page, int Rank)>(new BoundedChannelOptions(1) { SingleWriter = true });
        var parts = new Task[Math.Clamp(ranks / MinKeysPerPart, 1, Math.Min(MaxParts, Environment.ProcessorCount))];
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var visitors = new IDatastoreVisitor[parts.Length];
        for (int i = 0; i < parts.Length; i++) visitors[i] = openPart(ranks);
        for (int i = 0; i < parts.Length; i++)
        {
            var visitor = visitors[i];
            parts[i] = Task.Run(() => ShowAsync(pages.Reader, visitor, either), CancellationToken.None);
        }
        try
        {
            await FollowAsync(page, first, pages.Writer, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // A visitor failed; its error follows.
        }
        catch (Exception)
        {
            await either.CancelAsync().ConfigureAwait(false);
            pages.Writer.TryComplete();
            await Task.WhenAll(parts).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }
        pages.Writer.TryComplete();
        await Task.WhenAll(parts).ConfigureAwait(false);
    }

    private async Task FollowAsync(RangeResponse page, Wire.RangeRequest question, ChannelWriter<(RangeResponse Page, int Rank)> pages, CancellationToken cancellationToken)
    {
        for (int rank = 0; ;)
        {
            Task<RangeResponse>? next = null;
            if (page.More)
            {
                question = After(page, question);
                next = askAsync(question, cancellationToken);
            }
            try
            {
                await pages.WriteAsync((page, rank), cancellationToken).ConfigureAwait(false);
            }
            catch (Exception)
            {
                if (next is not null) await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                throw;
            }
            if (next is null) return;
            rank += page.Kvs.Count;
            page = await next.ConfigureAwait(false);
        }
    }

    private static async Task ShowAsync(ChannelReader<(RangeResponse Page, int Rank)> pages, IDatastoreVisitor visitor, CancellationTokenSource either)
    {
        try
        {
            await foreach (var (page, rank) in pages.ReadAllAsync(either.Token).ConfigureAwait(false)) Show(page, rank, visitor);
        }
        catch (OperationCanceledException)
        {
            // Another part or the reading has failed, or the caller gave up.
        }
        catch
        {
            await either.CancelAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static void Show(RangeResponse page, int rank, IDatastoreVisitor visitor)
    {
        foreach (var kv in page.Kvs)
        {
            int place = rank++;
            if (StoreKeys.IsInternal(kv.Key.Span)) continue;
            visitor.OnEntry(new DatastoreEntry
            {
                KeyUtf8 = kv.Key.Span,
                Value = kv.Value.Span,
                Revision = kv.ModRevision,
                CreateRevision = kv.CreateRevision,
                Rank = place,
                Kind = kv.CreateRevision == kv.ModRevision ? AppendKind.Create : AppendKind.Update,
            });
        }
    }

    // A question of its own: the one before may still be asked. As many keys as make up a page of the size wanted, if they are like these.
    private static Wire.RangeRequest After(RangeResponse page, Wire.RangeRequest question)
    {
        long bytes = 1;
        foreach (var kv in page.Kvs) bytes += kv.Value.Length + kv.Key.Length;
        byte[] key = [.. page.Kvs[^1].Key.Span, 0];
        var next = question.Clone();
        next.Key = UnsafeByteOperations.UnsafeWrap(key);
        next.Limit = Math.Clamp(PageBytes * page.Kvs.Count / bytes, FirstPageKeys / 2, MaxPageKeys);
        return next;
    }
}
