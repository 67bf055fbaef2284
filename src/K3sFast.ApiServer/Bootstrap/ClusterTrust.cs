using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// What the ConfigMap extension-apiserver-authentication tells other servers: whose client certificates and whose front proxies this one believes. What
/// stands there stays beside it as long as its certificates live, because another server of the cluster may have put it there, or this one an hour ago.
/// </summary>
internal sealed class ClusterTrust(ClientChain clients, RequestHeaderOptions? proxy, ClientChain? proxies, TimeProvider clock)
{
    internal const string Name = "extension-apiserver-authentication";

    /// <summary>Writes the ConfigMap's data, over what is there.</summary>
    internal void Write(ApiNode obj)
    {
        var data = obj.GetOrAddObject("data"u8);
        SetCertificates(data, "client-ca-file"u8, clients.Authorities);
        if (proxy is null || proxies is null)
            return;
        SetCertificates(data, "requestheader-client-ca-file"u8, proxies.Authorities);
        SetNames(data, "requestheader-allowed-names"u8, proxy.AllowedNames);
        SetNames(data, "requestheader-extra-headers-prefix"u8, proxy.ExtraHeaderPrefixes);
        SetNames(data, "requestheader-group-headers"u8, proxy.GroupHeaders);
        SetNames(data, "requestheader-uid-headers"u8, proxy.UidHeaders);
        SetNames(data, "requestheader-username-headers"u8, proxy.UsernameHeaders);
    }

    private void SetCertificates(ApiNode data, ReadOnlySpan<byte> name, X509Certificate2Collection own)
    {
        var text = new StringBuilder();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var there = Read(data[name].AsString());
        foreach (var certificate in own.Concat(there))
        {
            if (certificate.NotAfter.ToUniversalTime() > clock.GetUtcNow() && seen.Add(certificate.Thumbprint))
                text.Append(certificate.ExportCertificatePem()).Append('\n');
        }
        foreach (var certificate in there)
            certificate.Dispose();
        data.Set(name, text.ToString());
    }

    private static void SetNames(ApiNode data, ReadOnlySpan<byte> name, IEnumerable<string> own)
    {
        using var there = Parse(data[name]);
        var names = new List<string>(own);
        if (there is not null)
        {
            foreach (var element in there.Root.Elements)
                names.Add(element.AsString());
        }
        data.Set(name, $"[{string.Join(",", names.Distinct(StringComparer.Ordinal).Select(static value => GoText.Quote(value)))}]");
    }

    private static ApiObject? Parse(ApiNode list)
    {
        try
        {
            return list.Utf8.IsEmpty ? null : JsonCodec.Decode(list.Utf8, null, DecodeOptions.Free, null);
        }
        catch (ApiStatusException)
        {
            // Somebody wrote nonsense there; it gives way.
            return null;
        }
    }

    private static X509Certificate2Collection Read(string pem)
    {
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPem(pem);
        }
        catch (CryptographicException)
        {
            // Somebody wrote nonsense there; it gives way.
        }
        return certificates;
    }
}
