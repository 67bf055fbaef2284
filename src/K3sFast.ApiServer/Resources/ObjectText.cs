using System.Globalization;
using System.Security.Cryptography;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The small texts that the server itself puts into objects: times, uids and generated names.</summary>
internal static class ObjectText
{
    // Upstream's alphabet: no vowels and no look-alikes, so that no words appear.
    private const string NameAlphabet = "bcdfghjklmnpqrstvwxz2456789";

    // 63 characters of a DNS label minus the suffix.
    private const int MaxGenerateNameBase = 58;
    private const int SuffixLength = 5;

    /// <summary>metav1.Time: RFC 3339, UTC, whole seconds.</summary>
    internal static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    internal static string NewUid() => UniqueIds.Next();

    internal static string GenerateName(string baseName)
    {
        var kept = baseName.Length > MaxGenerateNameBase ? baseName[..MaxGenerateNameBase] : baseName;
        return kept + RandomNumberGenerator.GetString(NameAlphabet, SuffixLength);
    }

    internal static bool TryParseTime(ApiNode node, out DateTimeOffset time)
    {
        time = default;
        return node.Kind == NodeKind.String
            && DateTimeOffset.TryParse(node.AsString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out time);
    }

    internal static string NameOf(ApiNode obj) => obj["metadata"u8]["name"u8].AsString();

    internal static string NamespaceOf(ApiNode obj) => obj["metadata"u8]["namespace"u8].AsString();

    internal static bool IsDeleting(ApiNode obj) => !obj["metadata"u8]["deletionTimestamp"u8].IsNullOrUndefined;

    internal static bool HasFinalizers(ApiNode obj) => obj["metadata"u8]["finalizers"u8].Count > 0;
}
