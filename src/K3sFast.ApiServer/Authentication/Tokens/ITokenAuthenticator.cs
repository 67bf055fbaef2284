namespace K3sFast.ApiServer;

/// <summary>A bearer token and what it is to be good for.</summary>
/// <param name="Token">As it was sent.</param>
/// <param name="Audiences">Whom the token must be for; null = the API server.</param>
/// <param name="Call">The request that shows or asks about it: warnings and audit annotations go there.</param>
internal sealed record TokenQuestion(string Token, IReadOnlyList<string>? Audiences, ApiCall Call);

/// <summary>What an authenticator found: a user, or an error that says why the token is bad, or neither when the token is none of its kind.</summary>
internal readonly record struct TokenVerdict(UserInfo? User, string? Error = null, IReadOnlyList<string>? Audiences = null)
{
    internal static TokenVerdict Bad(string error) => new(null, error);
}

/// <summary>One kind of bearer token.</summary>
/// <remarks>Any thread.</remarks>
internal interface ITokenAuthenticator
{
    ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question);
}

/// <summary>Kinds of tokens that know no audience: they are good for the API server's own audiences only.</summary>
internal sealed class AudienceAgnostic(ITokenAuthenticator inner, IReadOnlyList<string> apiAudiences) : ITokenAuthenticator
{
    public async ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question)
    {
        var audiences = question.Audiences is { } wanted ? [.. apiAudiences.Where(wanted.Contains)] : apiAudiences;
        if (audiences.Count == 0)
            return default;
        var verdict = await inner.AuthenticateAsync(question).ConfigureAwait(false);
        return verdict.User is null ? verdict : verdict with { Audiences = audiences };
    }
}

/// <summary>Several kinds in their order: the first user wins; when there is none, every error is told.</summary>
/// <param name="kinds">In upstream's order: local ones before those that ask somebody.</param>
/// <param name="stopsAtError">The first error ends it, as among the issuers of one configuration.</param>
internal sealed class TokenUnion(IReadOnlyList<ITokenAuthenticator> kinds, bool stopsAtError = false) : ITokenAuthenticator
{
    public async ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question)
    {
        List<string>? errors = null;
        foreach (var kind in kinds)
        {
            var verdict = await kind.AuthenticateAsync(question).ConfigureAwait(false);
            if (verdict.User is not null)
                return verdict;
            if (verdict.Error is not { } error)
                continue;
            if (stopsAtError)
                return verdict;
            (errors ??= []).Add(error);
        }
        return errors switch
        {
            null => default,
            [var only] => TokenVerdict.Bad(only),
            _ => TokenVerdict.Bad($"[{string.Join(", ", errors.Distinct())}]"),
        };
    }
}
