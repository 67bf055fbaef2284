using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>
/// Remembers verdicts of an authenticator that is dear to ask (a webhook, a foreign issuer's signature), for users and for plain refusals;
/// errors are never remembered. Tokens themselves are not kept, only a keyed hash of them.
/// </summary>
/// <remarks>Any thread. Questions that come together may be asked together; the last answer stays.</remarks>
internal sealed class TokenCache(ITokenAuthenticator inner, TimeSpan successTtl, TimeSpan failureTtl, TimeProvider clock) : ITokenAuthenticator
{
    // Upstream's bound on one cache.
    private const int MaxEntries = 4096;

    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly ConcurrentDictionary<UInt128, Entry> _entries = new();

    public async ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question)
    {
        var hash = HashOf(question);
        var now = clock.GetUtcNow();
        if (_entries.TryGetValue(hash, out var known) && now < known.Until)
            return known.Verdict;
        var verdict = await inner.AuthenticateAsync(question).ConfigureAwait(false);
        var ttl = verdict.User is null ? failureTtl : successTtl;
        if (verdict.Error is not null || ttl <= TimeSpan.Zero)
            return verdict;
        if (_entries.Count >= MaxEntries)
            Trim(now);
        _entries[hash] = new Entry(verdict, clock.GetUtcNow() + ttl);
        return verdict;
    }

    // Length-prefixed parts, so that no two questions write the same bytes.
    private UInt128 HashOf(TokenQuestion question)
    {
        var text = new StringBuilder().Append(question.Token.Length).Append(':').Append(question.Token);
        if (question.Audiences is { } audiences)
        {
            foreach (var audience in audiences)
                text.Append(audience.Length).Append(':').Append(audience);
        }
        return BinaryPrimitives.ReadUInt128LittleEndian(HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(text.ToString())));
    }

    private void Trim(DateTimeOffset now)
    {
        foreach (var (hash, entry) in _entries)
        {
            if (entry.Until <= now)
                _entries.TryRemove(hash, out _);
        }
        if (_entries.Count >= MaxEntries)
            _entries.Clear();
    }

    private sealed record Entry(TokenVerdict Verdict, DateTimeOffset Until);
}
