using System.Collections;
using System.Security.Cryptography;
using K3sFast.Configuration;
using K3sFast.Datastore;

namespace K3sFast.Pki;

/// <summary>
/// The keys of a file that sign and verify service-account tokens. A new one takes a tenth of a second of arithmetic to find, by luck several times that,
/// so it is looked for beside everything else that a start does; whoever needs a key first waits for it.
/// </summary>
/// <remarks>Any thread. No key is handed out before its file is on disk.</remarks>
internal sealed class ServiceAccountKeys : IReadOnlyList<AsymmetricAlgorithm>
{
    private readonly Task<IReadOnlyList<AsymmetricAlgorithm>> _made;

    /// <summary>Begins to make the file unless it is there.</summary>
    public ServiceAccountKeys(string path)
    {
        _made = Task.Run(() => Ensure(path));
    }

    /// <summary>Completes when the keys are there; fails with <see cref="ConfigurationException"/>.</summary>
    public Task Made => _made;

    public int Count => Keys.Count;

    public AsymmetricAlgorithm this[int index] => Keys[index];

    // Blocks during the first moments of a cluster's life only.
    private IReadOnlyList<AsymmetricAlgorithm> Keys => _made.GetAwaiter().GetResult();

    public IEnumerator<AsymmetricAlgorithm> GetEnumerator() => Keys.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    // RSA because every verifier of service-account tokens out there reads RS256; 2048 bits as k3s.
    private static IReadOnlyList<AsymmetricAlgorithm> Ensure(string path)
    {
        try
        {
            if (PemFiles.IsMissing(path))
            {
                using var key = RSA.Create(2048);
                PemFiles.WriteKey(path, key.ExportRSAPrivateKeyPem() + "\n");
                FileFlush.FlushAbove(path);
            }
            return PemFiles.ReadKeys(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"cannot write {path}: {e.Message}", e);
        }
    }
}
