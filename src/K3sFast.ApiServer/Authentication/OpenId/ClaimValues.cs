using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Claims of a token, and what else identity expressions read, as values: numbers are doubles, and names may be spelled with escapes (foo__dot__bar).</summary>
internal static class ClaimValues
{
    internal static CelValue Of(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.True => CelValue.True,
        JsonValueKind.False => CelValue.False,
        JsonValueKind.String => CelValue.Of(element.GetString()!),
        JsonValueKind.Number => CelValue.Of(element.GetDouble()),
        JsonValueKind.Array => CelValue.Of(new Elements(element)),
        JsonValueKind.Object => CelValue.Of(new Members(element.EnumerateObject().ToDictionary(static member => member.Name, static member => member.Value))),
        _ => CelValue.Null,
    };

    internal static CelValue Of(Dictionary<string, JsonElement> claims) => CelValue.Of(new Members(claims));

    private sealed class Elements(JsonElement array) : CelList
    {
        public override int Count => array.GetArrayLength();

        public override CelValue this[int index] => Of(array[index]);
    }

    private sealed class Members(Dictionary<string, JsonElement> members) : CelMap
    {
        public override int Count => members.Count;

        public override IEnumerable<CelValue> Keys => members.Keys.Select(static name => CelValue.Of(name));

        public override bool TryGet(CelValue key, out CelValue value)
        {
            value = default;
            return key.Kind == CelKind.String && TryGet(key.AsString, out value);
        }

        public override bool TryGet(string key, out CelValue value)
        {
            value = default;
            if (!members.TryGetValue(CelNames.TryUnescape(key, out var name) ? name : key, out var member))
                return false;
            value = Of(member);
            return true;
        }
    }
}
