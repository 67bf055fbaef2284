using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>TokenReview: whose token is this?</summary>
internal sealed class TokenReviews(ITokenAuthenticator tokens, IReadOnlyList<string> apiAudiences)
{
    internal async ValueTask ReviewAsync(ApiCall call, ApiNode review, Func<ValueTask> admit)
    {
        var spec = review["spec"u8];
        if (spec["token"u8].Utf8.IsEmpty)
            throw ApiStatus.BadRequest("token is required for TokenReview in authentication").ToException();
        await admit().ConfigureAwait(false);
        var wanted = new List<string>();
        foreach (var audience in spec["audiences"u8].Elements)
            wanted.Add(audience.AsString());
        // The token is read as out of a header: behind a space there is nothing of it.
        var token = spec["token"u8].AsString().Trim().Split(' ')[0];
        var verdict = await tokens.AuthenticateAsync(new TokenQuestion(token, wanted.Count > 0 ? wanted : apiAudiences, call)).ConfigureAwait(false);
        var status = review.GetOrAddObject("status"u8);
        status.Clear();
        if (verdict.User is not { } user)
        {
            status.GetOrAddObject("user"u8);
            status.Set("error"u8, verdict.Error ?? "invalid bearer token");
            return;
        }
        status.Set("authenticated"u8, true);
        UserText.Write(status.GetOrAddObject("user"u8), user.AsAuthenticated());
        foreach (var audience in verdict.Audiences ?? [])
            status.GetOrAddArray("audiences"u8).AppendString(Encoding.UTF8.GetBytes(audience));
    }
}
