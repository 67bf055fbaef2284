using System.Formats.Asn1;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.ApiServer;

/// <summary>
/// Client certificates to users: the chain must end at a client CA, be in time and be good for client authentication; then the common name is
/// the user, each organization a group, and the attribute 1.3.6.1.4.1.57683.2 the uid. The verdict is kept with the connection's certificate, so
/// that a connection pays once.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ClientCertificates(ClientChain chain)
{
    private const string CommonName = "2.5.4.3";
    private const string Organization = "2.5.4.10";
    private const string UserId = "1.3.6.1.4.1.57683.2";

    private readonly ConditionalWeakTable<X509Certificate2, Verdict> _verdicts = [];

    /// <summary>The certificate's user; null when it does not chain to a client CA, is out of time, or names nobody.</summary>
    internal UserInfo? Authenticate(X509Certificate2 certificate)
    {
        if (!chain.IsTrusted(certificate))
            return null;
        if (!_verdicts.TryGetValue(certificate, out var verdict))
            verdict = _verdicts.GetValue(certificate, static shown => new Verdict(UserOf(shown)));
        return verdict.User;
    }

    /// <summary>The subject's common name; "" when it has none.</summary>
    internal static string CommonNameOf(X509Certificate2 certificate)
    {
        var name = "";
        foreach (var (type, value) in Attributes(certificate))
        {
            if (type == CommonName)
                name = value ?? "";
        }
        return name;
    }

    private static UserInfo? UserOf(X509Certificate2 certificate)
    {
        var name = "";
        var groups = new List<string>();
        var uids = new List<string?>();
        foreach (var (type, value) in Attributes(certificate))
        {
            switch (type)
            {
                case CommonName: name = value ?? ""; break;
                case Organization when value is { Length: > 0 }: groups.Add(value); break;
                case UserId: uids.Add(value); break;
            }
        }
        // More than one uid, or an empty one, makes the whole certificate doubtful.
        if (name.Length == 0 || uids.Count > 1 || uids is [null or ""])
            return null;
        var id = $"X509SHA256={Convert.ToHexStringLower(SHA256.HashData(certificate.RawDataMemory.Span))}";
        return new UserInfo(name, groups, uids is [{ } uid] ? uid : "", new Dictionary<string, string[]> { [UserInfo.CredentialIdKey] = [id] }).AsAuthenticated();
    }

    // Attributes in the certificate's order; the framework reads the subject from its end.
    private static List<(string? Type, string? Value)> Attributes(X509Certificate2 certificate)
    {
        var attributes = new List<(string?, string?)>();
        try
        {
            foreach (var part in certificate.SubjectName.EnumerateRelativeDistinguishedNames(reversed: false))
            {
                if (!part.HasMultipleElements)
                    attributes.Add((part.GetSingleElementType().Value, part.GetSingleElementValue()));
                else
                    AddSet(part.RawData, attributes);
            }
        }
        catch (Exception error) when (error is CryptographicException or AsnContentException)
        {
            return [];
        }
        return attributes;
    }

    // RelativeDistinguishedName ::= SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY } (RFC 5280 §4.1.2.4): go's own tools write all organizations so.
    private static void AddSet(ReadOnlyMemory<byte> der, List<(string?, string?)> attributes)
    {
        var set = new AsnReader(der, AsnEncodingRules.DER, new AsnReaderOptions { SkipSetSortOrderVerification = true }).ReadSetOf();
        while (set.HasData)
        {
            var pair = set.ReadSequence();
            var type = pair.ReadObjectIdentifier();
            var tag = pair.PeekTag();
            var isText = tag.TagClass == TagClass.Universal
                && (UniversalTagNumber)tag.TagValue is UniversalTagNumber.UTF8String or UniversalTagNumber.PrintableString or UniversalTagNumber.IA5String
                    or UniversalTagNumber.T61String or UniversalTagNumber.BMPString;
            attributes.Add((type, isText ? pair.ReadCharacterString((UniversalTagNumber)tag.TagValue) : null));
        }
    }

    private sealed record Verdict(UserInfo? User);
}
