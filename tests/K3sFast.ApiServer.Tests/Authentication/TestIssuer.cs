using System.Buffers.Text;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

/// <summary>An issuer of OpenID Connect tokens with an RSA and an EC key.</summary>
internal sealed class TestIssuer : IAsyncDisposable
{
    private TestWebhook _web = null!;
    private RSA _rsa = RSA.Create(2048);
    private readonly ECDsa _ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private string _rsaId = "rsa-1";

    internal string Url => _web.Url;

    internal X509Certificate2 Authority => X509Certificate2.CreateFromPem(_web.AuthorityPem);

    internal static async Task<TestIssuer> StartAsync()
    {
        var issuer = new TestIssuer();
        issuer._web = await TestWebhook.StartAsync((path, _) => issuer.Answer(path));
        return issuer;
    }

    internal void Rotate() => (_rsa, _rsaId) = (RSA.Create(2048), "rsa-2");

    /// <summary>Signs claims, the last of equal names counting.</summary>
    internal string Sign(string claims, string kid = "", string algorithm = "RS256")
    {
        var id = kid.Length > 0 ? kid : algorithm.StartsWith("ES", StringComparison.Ordinal) ? "ec-1" : _rsaId;
        var unique = new JsonObject();
        using (var document = JsonDocument.Parse(claims))
        {
            foreach (var claim in document.RootElement.EnumerateObject())
                unique[claim.Name] = JsonNode.Parse(claim.Value.GetRawText());
        }
        var signed = $"{Encode($$"""{"alg":"{{algorithm}}","kid":"{{id}}"}""")}.{Encode(unique.ToJsonString())}";
        var bytes = Encoding.ASCII.GetBytes(signed);
        var hash = algorithm[2..] switch { "384" => HashAlgorithmName.SHA384, "512" => HashAlgorithmName.SHA512, _ => HashAlgorithmName.SHA256 };
        var signature = algorithm[..2] switch
        {
            "RS" => _rsa.SignData(bytes, hash, RSASignaturePadding.Pkcs1),
            "PS" => _rsa.SignData(bytes, hash, RSASignaturePadding.Pss),
            "ES" => _ec.SignData(bytes, hash),
            _ => HMACSHA256.HashData(_rsa.ExportSubjectPublicKeyInfo(), bytes),
        };
        return $"{signed}.{Base64Url.EncodeToString(signature)}";
    }

    public ValueTask DisposeAsync() => _web.DisposeAsync();

    private (int, JsonNode?) Answer(string path)
    {
        if (path == "/.well-known/openid-configuration")
            return (200, new JsonObject { ["issuer"] = Url, ["jwks_uri"] = Url + "/keys" });
        if (path != "/keys")
            return (404, null);
        var rsa = _rsa.ExportParameters(false);
        var point = _ec.ExportParameters(false).Q;
        return (200, new JsonObject
        {
            ["keys"] = new JsonArray(
                new JsonObject { ["kty"] = "RSA", ["kid"] = _rsaId, ["use"] = "sig", ["n"] = Base64Url.EncodeToString(rsa.Modulus), ["e"] = Base64Url.EncodeToString(rsa.Exponent) },
                new JsonObject { ["kty"] = "EC", ["kid"] = "ec-1", ["crv"] = "P-256", ["x"] = Base64Url.EncodeToString(point.X), ["y"] = Base64Url.EncodeToString(point.Y) }),
        });
    }

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
