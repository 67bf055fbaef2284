using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// The issuers in force. A new set takes their place only when each of its issuers answers, so that a wrong file never locks out those who could log
/// in before.
/// </summary>
/// <remarks>Any thread reads; one loop replaces.</remarks>
internal sealed class JwtIssuers(TimeProvider clock, ILogger logger) : ITokenAuthenticator, IAsyncDisposable
{
    private static readonly TimeSpan s_replaceLimit = TimeSpan.FromMinutes(1);

    // Requests that began with the old set end with it.
    private static readonly TimeSpan s_farewell = TimeSpan.FromMinutes(1);

    private readonly CancellationTokenSource _stopping = new();
    private Generation _current = new([], new TokenUnion([]));

    public ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question) => Volatile.Read(ref _current).Tokens.AuthenticateAsync(question);

    /// <summary>The first set: it is in force at once, and its issuers are asked until they answer.</summary>
    internal void Start(IReadOnlyList<JwtIssuer> issuers)
    {
        var first = Make(issuers);
        Volatile.Write(ref _current, first);
        foreach (var authenticator in first.Authenticators)
            _ = authenticator.Provider.StartAsync(_stopping.Token).ContinueWith(static _ => { }, TaskScheduler.Default);
    }

    /// <summary>Puts another set in force when all of its issuers have answered. False when one has not within a minute; then all stays as it was.</summary>
    internal async Task<bool> TryReplaceAsync(IReadOnlyList<JwtIssuer> issuers, CancellationToken cancel)
    {
        var next = Make(issuers);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel, _stopping.Token);
        limit.CancelAfter(s_replaceLimit);
        try
        {
            await Task.WhenAll(next.Authenticators.Select(authenticator => authenticator.Provider.StartAsync(limit.Token))).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            foreach (var authenticator in next.Authenticators)
                authenticator.Dispose();
            return false;
        }
        var old = Interlocked.Exchange(ref _current, next);
        _ = RetireAsync(old);
        return true;
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        foreach (var authenticator in _current.Authenticators)
            authenticator.Dispose();
    }

    private Generation Make(IReadOnlyList<JwtIssuer> issuers)
    {
        List<JwtAuthenticator> authenticators = [.. issuers.Select(issuer => new JwtAuthenticator(issuer, clock, logger))];
        // A signature costs tens of microseconds: a token that was good a moment ago is not checked again, as upstream's overall cache has it.
        return new Generation(authenticators, new TokenCache(new TokenUnion(authenticators, stopsAtError: true), TimeSpan.FromSeconds(10), TimeSpan.Zero, clock));
    }

    private async Task RetireAsync(Generation old)
    {
        await Task.Delay(s_farewell, clock, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (var authenticator in old.Authenticators)
            authenticator.Dispose();
    }

    private sealed record Generation(IReadOnlyList<JwtAuthenticator> Authenticators, ITokenAuthenticator Tokens);
}
