using System.Text.RegularExpressions;
using K3sFast.ApiMachinery;
using Microsoft.AspNetCore.Http;

namespace K3sFast.ApiServer;

/// <summary>The user that a request's Impersonate-* headers ask for, as they stand there.</summary>
internal sealed partial class WantedUser
{
    private const string ExtraPrefix = "Impersonate-Extra-";
    private const string NodePrefix = "system:node:";

    private WantedUser(string name, string uid, List<string> groups, Dictionary<string, string[]> extra)
    {
        Name = name;
        Uid = uid;
        Groups = groups;
        Extra = extra;
        if (name.StartsWith(NodePrefix, StringComparison.Ordinal) && name.Length - NodePrefix.Length <= 253 && NodeForm().IsMatch(name.AsSpan(NodePrefix.Length)))
            NodeName = name[NodePrefix.Length..];
    }

    internal string Name { get; }

    internal string Uid { get; }

    internal List<string> Groups { get; }

    internal Dictionary<string, string[]> Extra { get; }

    /// <summary>The node's name if the user is one.</summary>
    internal string? NodeName { get; }

    internal bool IsNameOnly => Uid.Length == 0 && Groups.Count == 0 && Extra.Count == 0;

    /// <summary>Null when nothing is asked for.</summary>
    /// <exception cref="ApiStatusException">400 for a group, uid or extra without a user.</exception>
    internal static WantedUser? Read(IHeaderDictionary headers)
    {
        var extra = HasPrefixed(headers) ? ReadExtra(headers) : null;
        headers.TryGetValue("Impersonate-User", out var names);
        headers.TryGetValue("Impersonate-Uid", out var uids);
        headers.TryGetValue("Impersonate-Group", out var groups);
        if (names.Count == 0 && uids.Count == 0 && groups.Count == 0 && extra is null)
            return null;
        var wanted = new WantedUser(
            names.Count > 0 ? names[0] ?? "" : "", uids.Count > 0 ? uids[0] ?? "" : "", [.. groups.Select(static group => group ?? "")], extra ?? []);
        if (wanted.Name.Length > 0)
            return wanted;
        return wanted.IsNameOnly ? null : throw ApiStatus.BadRequest($"requested {wanted.Describe()} without impersonating a user name").ToException();
    }

    private static bool HasPrefixed(IHeaderDictionary headers)
    {
        foreach (var header in headers)
        {
            if (header.Key.StartsWith(ExtraPrefix, StringComparison.OrdinalIgnoreCase))
                return true;
        }
        return false;
    }

    private static Dictionary<string, string[]> ReadExtra(IHeaderDictionary headers)
    {
        var extra = new Dictionary<string, string[]>();
        foreach (var header in headers)
        {
            if (!header.Key.StartsWith(ExtraPrefix, StringComparison.OrdinalIgnoreCase))
                continue;
            var key = Uri.UnescapeDataString(header.Key[ExtraPrefix.Length..].ToLowerInvariant());
            extra[key] = [.. extra.GetValueOrDefault(key, []), .. header.Value.Select(static value => value ?? "")];
        }
        return extra;
    }

    // As Go prints the structure with %#v.
    private string Describe()
    {
        static string List(IEnumerable<string> values) => $"[]string{{{string.Join(", ", values.Select(static v => GoText.Quote(v)))}}}";
        var groups = Groups.Count == 0 ? "[]string(nil)" : List(Groups);
        var extra = Extra.Count == 0
            ? "map[string][]string(nil)"
            : $"map[string][]string{{{string.Join(", ", Extra.OrderBy(static e => e.Key, StringComparer.Ordinal).Select(static e => $"{GoText.Quote(e.Key)}:{List(e.Value)}"))}}}";
        return $"&user.DefaultInfo{{Name:{GoText.Quote(Name)}, UID:{GoText.Quote(Uid)}, Groups:{groups}, Extra:{extra}}}";
    }

    [GeneratedRegex(@"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z")]
    private static partial Regex NodeForm();
}
