using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Users in reviews' JSON: username, uid, groups, extra.</summary>
internal static class UserText
{
    internal static void Write(ApiNode target, UserInfo user)
    {
        if (user.Name.Length > 0)
            target.Set("username"u8, user.Name);
        if (user.Uid.Length > 0)
            target.Set("uid"u8, user.Uid);
        foreach (var group in user.Groups)
            target.GetOrAddArray("groups"u8).AppendString(Encoding.UTF8.GetBytes(group));
        foreach (var (key, values) in user.Extra.OrderBy(static entry => entry.Key, StringComparer.Ordinal))
        {
            var extra = target.GetOrAddObject("extra"u8).GetOrAddArray(Encoding.UTF8.GetBytes(key));
            foreach (var value in values)
                extra.AppendString(Encoding.UTF8.GetBytes(value));
        }
    }

    /// <summary>The user of an access review's spec.</summary>
    internal static UserInfo Read(ApiNode spec)
    {
        var groups = new List<string>();
        foreach (var group in spec["groups"u8].Elements)
            groups.Add(group.AsString());
        var extra = new Dictionary<string, string[]>();
        foreach (var member in spec["extra"u8].Members)
        {
            var values = new List<string>();
            foreach (var value in member.Value.Elements)
                values.Add(value.AsString());
            extra[Encoding.UTF8.GetString(member.Name)] = [.. values];
        }
        return new UserInfo(spec["user"u8].AsString(), groups, spec["uid"u8].AsString(), extra);
    }
}
