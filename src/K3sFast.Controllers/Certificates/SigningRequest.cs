using System.Formats.Asn1;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.Controllers;

/// <summary>What a PKCS#10 request asks for: subject, key and the names beside it. Its signature has been verified.</summary>
internal sealed class SigningRequest
{
    private const string AlternativeNames = "2.5.29.17";

    private SigningRequest(CertificateRequest request)
    {
        Subject = request.SubjectName;
        PublicKey = request.PublicKey;
        foreach (var part in Parts(request.SubjectName))
        {
            if (part.Type == "2.5.4.3") CommonName = part.Value;
            if (part.Type == "2.5.4.10") Organizations.Add(part.Value);
        }
        foreach (var extension in request.CertificateExtensions)
        {
            if (extension.Oid?.Value == AlternativeNames) ReadNames(extension.RawData);
        }
    }

    internal X500DistinguishedName Subject { get; }

    internal PublicKey PublicKey { get; }

    internal string CommonName { get; } = "";

    internal List<string> Organizations { get; } = [];

    internal List<string> DnsNames { get; } = [];

    internal List<IPAddress> Addresses { get; } = [];

    internal List<string> Emails { get; } = [];

    internal List<string> Uris { get; } = [];

    /// <exception cref="FormatException">No PEM of a certificate request, or a signature that is not its key's.</exception>
    internal static SigningRequest Parse(byte[] pem)
    {
        try
        {
            if (CertificateRequestText.Problem(pem) is { } problem)
                throw new FormatException(problem);
            // The signature is verified, for more kinds of keys than the platform knows. The extensions that are taken over are only names, which are read one by one.
            return new SigningRequest(CertificateRequest.LoadSigningRequestPem(
                Encoding.Latin1.GetString(pem), HashAlgorithmName.SHA256,
                CertificateRequestLoadOptions.UnsafeLoadCertificateExtensions | CertificateRequestLoadOptions.SkipSignatureValidation));
        }
        catch (Exception error) when (error is CryptographicException or ArgumentException or AsnContentException)
        {
            throw new FormatException(error.Message, error);
        }
    }

    /// <summary>The names as an extension; null when there are none.</summary>
    internal X509Extension? NamesExtension()
    {
        if (DnsNames.Count + Addresses.Count + Emails.Count + Uris.Count == 0) return null;
        var builder = new SubjectAlternativeNameBuilder();
        foreach (var name in DnsNames) builder.AddDnsName(name);
        foreach (var email in Emails) builder.AddEmailAddress(email);
        foreach (var address in Addresses) builder.AddIpAddress(address);
        foreach (var uri in Uris) builder.AddUri(new Uri(uri));
        return builder.Build();
    }

    // GeneralNames ::= SEQUENCE OF CHOICE { [1] rfc822Name, [2] dNSName, [6] uniformResourceIdentifier, [7] iPAddress, ... } (RFC 5280 §4.2.1.6).
    private void ReadNames(byte[] der)
    {
        var names = new AsnReader(der, AsnEncodingRules.DER).ReadSequence();
        while (names.HasData)
        {
            var tag = names.PeekTag();
            switch (tag.TagValue)
            {
                case 1: Emails.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, tag)); break;
                case 2: DnsNames.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, tag)); break;
                case 6: Uris.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, tag)); break;
                case 7: Addresses.Add(new IPAddress(names.ReadOctetString(tag))); break;
                default: names.ReadEncodedValue(); break;
            }
        }
    }

    // Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }: several attributes may share a set.
    private static List<(string Type, string Value)> Parts(X500DistinguishedName subject)
    {
        var parts = new List<(string, string)>();
        var sets = new AsnReader(subject.RawData, AsnEncodingRules.DER).ReadSequence();
        while (sets.HasData)
        {
            var set = sets.ReadSetOf(skipSortOrderValidation: true);
            while (set.HasData)
            {
                var pair = set.ReadSequence();
                var type = pair.ReadObjectIdentifier();
                var tag = pair.PeekTag();
                parts.Add((type, pair.ReadCharacterString((UniversalTagNumber)tag.TagValue)));
            }
        }
        return parts;
    }
}
