using System.Text.Json;

namespace K3sFast.ApiServer;

/// <summary>What audit events and reviews write of a user in the same way.</summary>
internal static class UserInfoJson
{
    /// <summary>The groups under a name of the caller's; nothing when there are none.</summary>
    internal static void WriteGroups(Utf8JsonWriter json, ReadOnlySpan<byte> name, UserInfo user)
    {
        if (user.Groups.Count == 0)
            return;
        json.WriteStartArray(name);
        foreach (var group in user.Groups)
            json.WriteStringValue(group);
        json.WriteEndArray();
    }

    /// <summary>Everything else that is known, by name, as <c>extra</c>; nothing when there is none.</summary>
    internal static void WriteExtra(Utf8JsonWriter json, UserInfo user)
    {
        if (user.Extra.Count == 0)
            return;
        json.WriteStartObject("extra"u8);
        foreach (var (key, values) in user.Extra.OrderBy(static entry => entry.Key, StringComparer.Ordinal))
        {
            json.WriteStartArray(key);
            foreach (var value in values)
                json.WriteStringValue(value);
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }
}
