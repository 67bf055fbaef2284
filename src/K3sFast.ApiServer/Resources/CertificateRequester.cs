using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Who asks for a certificate is what the server knows of him, not what he says: signers judge by it.</summary>
internal static class CertificateRequester
{
    internal static void Fill(ApiNode obj, ResourceInfo resource, UserInfo user)
    {
        if (resource is not { Group: "certificates.k8s.io", Resource: "certificatesigningrequests" })
            return;
        var spec = obj.GetOrAddObject("spec"u8);
        foreach (var name in (ReadOnlySpan<string>)["username", "uid", "groups", "extra"])
            spec.Remove(Encoding.UTF8.GetBytes(name));
        spec.Set("username"u8, user.Name);
        if (user.Uid.Length > 0)
            spec.Set("uid"u8, user.Uid);
        if (user.Groups.Count > 0)
        {
            var groups = spec.GetOrAddArray("groups"u8);
            foreach (var group in user.Groups)
                groups.AppendString(Encoding.UTF8.GetBytes(group));
        }
        if (user.Extra.Count == 0)
            return;
        var extra = spec.GetOrAddObject("extra"u8);
        foreach (var (key, values) in user.Extra)
        {
            var list = extra.GetOrAddArray(Encoding.UTF8.GetBytes(key));
            foreach (var value in values)
                list.AppendString(Encoding.UTF8.GetBytes(value));
        }
    }
}
