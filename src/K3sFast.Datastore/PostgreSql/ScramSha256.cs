using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace K3sFast.Datastore.PostgreSql;

/// <summary>The client's side of SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677), as PostgreSQL speaks it.</summary>
internal sealed class ScramSha256(string password)
{
    // More would be an attack on our processor; PostgreSQL's default is 4096.
    private const int MaxIterations = 10_000_000;

    private readonly string _nonce = Convert.ToBase64String(RandomNumberGenerator.GetBytes(18));
    private byte[] _serverSignature = [];

    private string FirstBare => $"n=,r={_nonce}";

    /// <summary>The first message: who we are is known from the start-up already.</summary>
    public string First => "n,," + FirstBare;

    /// <summary>The proof, from the server's first message.</summary>
    /// <exception cref="FormatException">The server's message is none.</exception>
    public string Final(string serverFirst)
    {
        string nonce = Attribute(serverFirst, 'r');
        if (!nonce.StartsWith(_nonce, StringComparison.Ordinal) || nonce.Length == _nonce.Length) throw new FormatException("the server's nonce does not continue ours");
        int iterations = int.Parse(Attribute(serverFirst, 'i'), NumberStyles.None, CultureInfo.InvariantCulture);
        if (iterations is < 1 or > MaxIterations) throw new FormatException($"the server asks for {iterations} iterations");
        byte[] salted = Rfc2898DeriveBytes.Pbkdf2(Encoding.UTF8.GetBytes(password), Convert.FromBase64String(Attribute(serverFirst, 's')), iterations, HashAlgorithmName.SHA256, 32);
        byte[] clientKey = HMACSHA256.HashData(salted, "Client Key"u8);
        // "biws" is "n,," in Base64: no channel binding.
        string withoutProof = $"c=biws,r={nonce}";
        byte[] message = Encoding.UTF8.GetBytes($"{FirstBare},{serverFirst},{withoutProof}");
        byte[] proof = HMACSHA256.HashData(SHA256.HashData(clientKey), message);
        for (int i = 0; i < proof.Length; i++) proof[i] ^= clientKey[i];
        _serverSignature = HMACSHA256.HashData(HMACSHA256.HashData(salted, "Server Key"u8), message);
        return $"{withoutProof},p={Convert.ToBase64String(proof)}";
    }

    /// <summary>True = the server knows the password, too.</summary>
    public bool IsServer(string serverFinal) => CryptographicOperations.FixedTimeEquals(Convert.FromBase64String(Attribute(serverFinal, 'v')), _serverSignature);

    private static string Attribute(string message, char name) =>
        message.Split(',').FirstOrDefault(part => part.Length > 1 && part[0] == name && part[1] == '=')?[2..] ?? throw new FormatException($"the server's message lacks {name}=");
}
