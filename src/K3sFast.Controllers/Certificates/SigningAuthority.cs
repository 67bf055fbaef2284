using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.Controllers;

/// <summary>A CA that certificate requests are signed with. The caller keeps both alive.</summary>
/// <param name="Issuer">The CA's certificate.</param>
/// <param name="Key">Its private key, RSA or EC.</param>
public sealed record SigningAuthority(X509Certificate2 Issuer, AsymmetricAlgorithm Key);
