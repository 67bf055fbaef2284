using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Claims of a verified token to a user: by the claims that the issuer's configuration names, or by its expressions.</summary>
internal sealed class JwtUserMapping(JwtIssuer issuer)
{
    private readonly JwtExpressions _expressions = issuer.Expressions;

    /// <summary>The user, or why there is none, in upstream's words and order.</summary>
    internal TokenVerdict Map(Dictionary<string, JsonElement> claims)
    {
        var value = ClaimValues.Of(claims);
        if (Name(claims, value, out var name) is { } badName)
            return TokenVerdict.Bad(badName);
        if (Groups(claims, value, out var groups) is { } badGroups)
            return TokenVerdict.Bad(badGroups);
        if (Uid(claims, value, out var uid) is { } badUid)
            return TokenVerdict.Bad(badUid);
        if (Extra(claims, value, out var extra) is { } badExtra)
            return TokenVerdict.Bad(badExtra);
        if (RequiredProblem(claims) is { } required)
            return TokenVerdict.Bad(required);
        if (JwtExpressions.Broken(_expressions.ClaimRules, "claims", value) is { } broken)
            return TokenVerdict.Bad($"oidc: error evaluating claim validation expression: {broken}");
        if (_expressions.UserRules.Count > 0 && JwtExpressions.Broken(_expressions.UserRules, "user", JwtExpressions.UserValue(name, uid, groups, extra)) is { } refused)
            return TokenVerdict.Bad($"oidc: error evaluating user info validation rule: {refused}");
        return new TokenVerdict(new UserInfo(name, groups, uid, extra));
    }

    private string? Name(Dictionary<string, JsonElement> claims, CelValue value, out string name)
    {
        name = "";
        if (_expressions.Username is { } expression)
        {
            const string Failed = "oidc: error evaluating username claim expression: ";
            var (result, error) = JwtExpressions.Evaluate(expression, "claims", value);
            if (error is not null)
                return Failed + error;
            if (result.Kind != CelKind.String)
                return Failed + "username claim expression must return a string";
            name = result.AsString;
            return name.Length == 0 ? "oidc: empty username via CEL expression is not allowed" : null;
        }
        if (TextOf(claims, issuer.UsernameClaim, out var claim) is { } problem)
            return $"oidc: parse username claims {GoText.Quote(issuer.UsernameClaim)}: {problem}";
        if (issuer.UsernameClaim == "email" && claims.TryGetValue("email_verified", out var verified))
        {
            if (verified.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
                return $"oidc: parse 'email_verified' claim: json: cannot unmarshal {KindOf(verified)} into Go value of type bool";
            if (verified.ValueKind == JsonValueKind.False)
                return "oidc: email not verified";
        }
        name = issuer.UsernamePrefix + claim;
        return null;
    }

    private string? Groups(Dictionary<string, JsonElement> claims, CelValue value, out List<string> groups)
    {
        groups = [];
        if (issuer.GroupsClaim.Length > 0 && claims.TryGetValue(issuer.GroupsClaim, out var claim))
        {
            if (GroupsOf(claim) is not { } named)
                return $"oidc: parse groups claim {GoText.Quote(issuer.GroupsClaim)}: json: cannot unmarshal {KindOf(claim)} into Go value of type string";
            groups.AddRange(named.Select(group => issuer.GroupsPrefix + group));
        }
        if (_expressions.Groups is not { } expression)
            return null;
        const string Failed = "oidc: error evaluating group claim expression: ";
        var (result, error) = JwtExpressions.Evaluate(expression, "claims", value);
        if (error is not null)
            return Failed + error;
        if (JwtExpressions.Texts(result) is not { } texts)
            return Failed + "expression must return a string or a list of strings";
        groups = texts;
        return null;
    }

    private string? Uid(Dictionary<string, JsonElement> claims, CelValue value, out string uid)
    {
        uid = "";
        if (issuer.UidClaim.Length > 0)
            return TextOf(claims, issuer.UidClaim, out uid) is { } problem ? $"oidc: parse uid claim {GoText.Quote(issuer.UidClaim)}: {problem}" : null;
        if (_expressions.Uid is not { } expression)
            return null;
        const string Failed = "oidc: error evaluating uid claim expression: ";
        var (result, error) = JwtExpressions.Evaluate(expression, "claims", value);
        if (error is not null)
            return Failed + error;
        if (result.Kind != CelKind.String)
            return Failed + "uid claim expression must return a string";
        uid = result.AsString;
        return null;
    }

    private string? Extra(Dictionary<string, JsonElement> claims, CelValue value, out Dictionary<string, string[]> extra)
    {
        extra = [];
        if (claims.TryGetValue("jti", out var id) && id.ValueKind == JsonValueKind.String && id.GetString()!.Length > 0)
            extra[UserInfo.CredentialIdKey] = [$"JTI={id.GetString()}"];
        var results = new List<CelValue>();
        foreach (var (_, expression) in _expressions.Extra)
        {
            var (result, error) = JwtExpressions.Evaluate(expression, "claims", value);
            if (error is not null)
                return error;
            results.Add(result);
        }
        for (var i = 0; i < results.Count; i++)
        {
            var (key, expression) = _expressions.Extra[i];
            if (JwtExpressions.Texts(results[i]) is not { } texts)
                return $"oidc: error evaluating extra claim expression: {expression.Source}: expression must return a string or a list of strings";
            if (texts.Count > 0)
                extra[key] = [.. texts];
        }
        return null;
    }

    private string? RequiredProblem(Dictionary<string, JsonElement> claims)
    {
        foreach (var (claim, value) in issuer.RequiredClaims)
        {
            if (!claims.TryGetValue(claim, out var given))
                return $"oidc: required claim {claim} not present in ID token";
            if (given.ValueKind != JsonValueKind.String)
                return $"oidc: parse claim {claim}: json: cannot unmarshal {KindOf(given)} into Go value of type string";
            if (given.GetString() != value)
                return $"oidc: required claim {claim} value does not match. Got = {given.GetString()}, want = {value}";
        }
        return null;
    }

    private static string? TextOf(Dictionary<string, JsonElement> claims, string name, out string text)
    {
        text = "";
        if (!claims.TryGetValue(name, out var claim))
            return "claim not present";
        if (claim.ValueKind != JsonValueKind.String)
            return $"json: cannot unmarshal {KindOf(claim)} into Go value of type string";
        text = claim.GetString()!;
        return null;
    }

    private static List<string>? GroupsOf(JsonElement claim)
    {
        switch (claim.ValueKind)
        {
            case JsonValueKind.String:
                return [claim.GetString()!];
            case JsonValueKind.Array when claim.EnumerateArray().All(static item => item.ValueKind == JsonValueKind.String):
                return [.. claim.EnumerateArray().Select(static item => item.GetString()!)];
            case JsonValueKind.Null:
                return [];
            default:
                return null;
        }
    }

    private static string KindOf(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => "object",
        JsonValueKind.Array => "array",
        JsonValueKind.Number => "number",
        JsonValueKind.True or JsonValueKind.False => "bool",
        JsonValueKind.String => "string",
        _ => "null",
    };
}
