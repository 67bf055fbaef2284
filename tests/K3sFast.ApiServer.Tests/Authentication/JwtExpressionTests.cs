using System.Text;
using System.Text.Json;

namespace K3sFast.ApiServer.Tests;

/// <summary>Expressions of an authentication configuration: who the user of a token is, and why there is none.</summary>
public sealed class JwtExpressionTests
{
    private const string Claims = """{"sub":"joe","email":"joe@x.org","email_verified":true,"roles":["dev","","ops"],"exp":1000,"iat":400,"org":{"unit.name":"u1"},"jti":"7","k8s.x/y":"z"}""";

    [Theory]
    [InlineData("username: {expression: 'claims.sub'}", "joe  []")]
    [InlineData("username: {expression: '\"p:\" + claims.sub'}, groups: {expression: 'claims.roles'}", "p:joe  [dev ops]")]
    [InlineData("username: {expression: 'claims.sub'}, groups: {expression: 'claims.roles.map(r, \"g:\" + r)'}", "joe  [g:dev g: g:ops]")]
    [InlineData("username: {expression: 'claims.sub'}, groups: {expression: '\"one\"'}, uid: {expression: 'claims.sub + \"-uid\"'}", "joe joe-uid [one]")]
    [InlineData("username: {expression: 'claims.sub'}, groups: {expression: 'claims.?none.orValue([])'}", "joe  []")]
    [InlineData("username: {expression: 'claims.?email_verified.orValue(true) ? claims.email : claims.sub'}", "joe@x.org  []")]
    [InlineData("username: {expression: 'claims.org.unit__dot__name'}", "u1  []")]
    [InlineData("username: {expression: 'claims.k8s__dot__x__slash__y'}", "z  []")]
    [InlineData("username: {claim: sub, prefix: 'a:'}, groups: {claim: roles, prefix: 'b:'}", "a:joe  [b:dev b: b:ops]")]
    [InlineData("username: {expression: 'claims.none'}", "oidc: error evaluating username claim expression: expression 'claims.none' resulted in error: no such key: none")]
    [InlineData("username: {expression: 'claims.exp'}", "oidc: error evaluating username claim expression: username claim expression must return a string")]
    [InlineData("username: {expression: '\"\"'}", "oidc: empty username via CEL expression is not allowed")]
    [InlineData("username: {expression: 'claims.sub'}, groups: {expression: '1'}", "oidc: error evaluating group claim expression: expression must return a string or a list of strings")]
    [InlineData("username: {expression: 'claims.sub'}, uid: {expression: 'claims.exp'}", "oidc: error evaluating uid claim expression: uid claim expression must return a string")]
    public void Claims_OfAToken_BecomeTheUser(string mappings, string expected) => Assert.Equal(expected, Map($"claimMappings: {{{mappings}}}"));

    [Theory]
    [InlineData("claimValidationRules: [{expression: 'claims.exp - claims.iat <= 600', message: 'lives too long'}]", "joe  []")]
    [InlineData("claimValidationRules: [{expression: 'claims.exp - claims.iat <= 60', message: 'lives too long'}]",
        "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.iat <= 60' failed: lives too long")]
    [InlineData("claimValidationRules: [{expression: 'claims.none == 1'}]", "oidc: error evaluating claim validation expression: expression 'claims.none == 1' resulted in error: no such key: none")]
    [InlineData("userValidationRules: [{expression: \"!user.username.startsWith('system:')\", message: reserved}]", "joe  []")]
    [InlineData("userValidationRules: [{expression: \"user.groups.all(g, g != 'dev')\", message: 'no developers'}, {expression: \"user.username != 'joe'\", message: 'not joe'}]",
        "oidc: error evaluating user info validation rule: validation expression 'user.username != 'joe'' failed: not joe")]
    public void Rules_OfAnIssuer_MustHold(string rules, string expected) => Assert.Equal(expected, Map($"claimMappings: {{username: {{expression: 'claims.sub'}}}}\n  {rules}"));

    [Fact]
    public void Extra_ByExpressions_ComesWithTheCredential()
    {
        var verdict = Verdict("claimMappings: {username: {expression: 'claims.sub'}, extra: [{key: x.org/roles, valueExpression: 'claims.roles'}, {key: x.org/none, valueExpression: '\"\"'}]}");
        Assert.Equal(["authentication.kubernetes.io/credential-id", "x.org/roles"], verdict.User!.Extra.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(["dev", "ops"], verdict.User.Extra["x.org/roles"]);
    }

    [Fact]
    public void Conditions_OfAWebhook_SeeTheWholeRequest()
    {
        var errors = new K3sFast.ApiMachinery.FieldErrorList();
        (bool, string?) Match(string expression, string group = "apps", string path = "") => AccessConditions.Compile([("p", expression)], "p", errors)!.Match(new AuthorizationRequest(
            new UserInfo("joe", ["dev"], "7", new Dictionary<string, string[]> { ["k"] = ["v"] }), "list"u8.ToArray(), path.Length == 0, Encoding.UTF8.GetBytes(group), "v1"u8.ToArray(),
            "deployments"u8.ToArray(), [], "ns"u8.ToArray(), [], Encoding.UTF8.GetBytes(path), "spec.nodeName%3Dn1"u8.ToArray(), []));
        Assert.Equal((true, null), Match("request.resourceAttributes.namespace == 'ns' && request.resourceAttributes.subresource == '' && request.user == 'joe' && 'dev' in request.groups && request.extra['k'] == ['v'] && request.uid == '7'"));
        Assert.Equal((true, null), Match("request.resourceAttributes.fieldSelector.requirements[0].values == ['n1'] && !has(request.resourceAttributes.labelSelector)"));
        Assert.Equal((false, null), Match("request.resourceAttributes.group == ''"));
        Assert.Equal((true, null), Match("has(request.nonResourceAttributes) && request.nonResourceAttributes.path == '/x' && !has(request.resourceAttributes)", path: "/x"));
        Assert.Equal((false, "cel evaluation error: expression 'request.resourceAttributes.verb == 'get'' resulted in error: no such key: resourceAttributes"), Match("request.resourceAttributes.verb == 'get'", path: "/x"));
        Assert.Empty(errors);
    }

    private static string Map(string yaml)
    {
        var verdict = Verdict(yaml);
        return verdict.User is { } user ? $"{user.Name} {user.Uid} [{string.Join(' ', user.Groups)}]" : verdict.Error!;
    }

    private static TokenVerdict Verdict(string yaml)
    {
        var text = $"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {{url: 'https://x', audiences: [a]}}\n  {yaml}\n";
        var issuer = AuthenticationConfiguration.Read("f.yaml", Encoding.UTF8.GetBytes(text), []).Issuers[0];
        using var claims = JsonDocument.Parse(Claims);
        return new JwtUserMapping(issuer).Map(claims.RootElement.EnumerateObject().ToDictionary(static claim => claim.Name, static claim => claim.Value.Clone()));
    }
}
