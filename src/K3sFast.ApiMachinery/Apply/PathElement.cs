using System.Buffers.Text;
using System.Text;
using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>
/// One step of a field path in the text form of fieldsV1: <c>f:name</c> for a field or map key, <c>k:{"name":"x","port":80}</c> for an element of a
/// list that is keyed by members (sorted by name), <c>v:"x"</c> for an element of a set, <c>i:0</c> for a place in an atomic list.
/// </summary>
/// <remarks>Order, as structured-merge-diff has it: fields, keys, values, places; numbers by value, text by bytes.</remarks>
internal static class PathElement
{
    public const byte Field = (byte)'f';
    public const byte Key = (byte)'k';
    public const byte Value = (byte)'v';
    public const byte Place = (byte)'i';

    /// <summary>True for a kind that this version knows, with its colon.</summary>
    public static bool IsKnown(ReadOnlySpan<byte> element) => element.Length >= 2 && element[1] == ':' && element[0] is Field or Key or Value or Place;

    /// <summary>Which of two elements comes first; 0 for the same one.</summary>
    public static int Compare(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        if (left[0] != right[0])
            return Rank(left[0]) - Rank(right[0]);
        if (left[0] == Field)
            return left[2..].SequenceCompareTo(right[2..]);
        var common = left.CommonPrefixLength(right);
        if (common == left.Length && common == right.Length)
            return 0;
        // Elements of one list mostly differ inside a text, whose bytes then settle it; the one that ends there comes first.
        if (IsInText(left[..common]) && left.IndexOf((byte)'\\') < 0 && right.IndexOf((byte)'\\') < 0)
            return left[common] == '"' ? -1 : right[common] == '"' ? 1 : left[common] - right[common];
        return CompareValues(left[2..], right[2..]);
    }

    private static bool IsInText(ReadOnlySpan<byte> prefix) => (prefix.Count((byte)'"') & 1) == 1;

    /// <summary>The element as messages show it: <c>.name</c>, <c>[name="x",port=80]</c>, <c>[="x"]</c>, <c>[0]</c>.</summary>
    public static string Describe(ReadOnlySpan<byte> element)
    {
        var body = element[2..];
        switch (element[0])
        {
            case Field:
                return $".{Encoding.UTF8.GetString(body)}";
            case Value:
                return $"[={DescribeValue(body)}]";
            case Place:
                return $"[{Encoding.UTF8.GetString(body)}]";
            default:
                using (var key = JsonCodec.Decode(body, null, DecodeOptions.Free, null))
                {
                    var members = new List<string>();
                    foreach (var member in key.Root.Members)
                        members.Add($"{Encoding.UTF8.GetString(member.Name)}={DescribeValue(member.Value)}");
                    return $"[{string.Join(',', members)}]";
                }
        }
    }

    private static string DescribeValue(ReadOnlySpan<byte> json)
    {
        using var value = JsonCodec.Decode(json, null, DecodeOptions.Free, null);
        return DescribeValue(value.Root);
    }

    private static string DescribeValue(ApiNode value) => value.Kind switch
    {
        NodeKind.String => GoText.Quote(value.Utf8),
        NodeKind.Null => "null",
        _ => GoText.Value(value),
    };

    private static int Rank(byte kind) => kind switch { Field => 0, Key => 1, Value => 2, _ => 3 };

    // Token by token: braces and names agree as long as everything before did.
    private static int CompareValues(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        var first = new Utf8JsonReader(left);
        var second = new Utf8JsonReader(right);
        try
        {
            while (true)
            {
                var hasFirst = first.Read();
                var hasSecond = second.Read();
                if (!hasFirst || !hasSecond)
                    return hasFirst.CompareTo(hasSecond);
                var order = CompareTokens(ref first, ref second);
                if (order != 0)
                    return order;
            }
        }
        catch (JsonException)
        {
            return left.SequenceCompareTo(right);
        }
    }

    private static int CompareTokens(ref Utf8JsonReader left, ref Utf8JsonReader right)
    {
        if (left.TokenType != right.TokenType)
            return Rank(left.TokenType) - Rank(right.TokenType);
        switch (left.TokenType)
        {
            case JsonTokenType.Number:
                return Utf8Parser.TryParse(left.ValueSpan, out long leftWhole, out var leftUsed) && leftUsed == left.ValueSpan.Length
                    && Utf8Parser.TryParse(right.ValueSpan, out long rightWhole, out var rightUsed) && rightUsed == right.ValueSpan.Length
                    ? leftWhole.CompareTo(rightWhole)
                    : left.GetDouble().CompareTo(right.GetDouble());
            case JsonTokenType.String or JsonTokenType.PropertyName:
                return left.ValueIsEscaped || right.ValueIsEscaped
                    ? Encoding.UTF8.GetBytes(left.GetString()!).AsSpan().SequenceCompareTo(Encoding.UTF8.GetBytes(right.GetString()!))
                    : left.ValueSpan.SequenceCompareTo(right.ValueSpan);
            default:
                return 0;
        }
    }

    // A list of members that ends earlier comes first.
    private static int Rank(JsonTokenType token) => token switch
    {
        JsonTokenType.EndObject or JsonTokenType.EndArray => 0,
        JsonTokenType.Number => 1,
        JsonTokenType.String => 2,
        JsonTokenType.False => 3,
        JsonTokenType.True => 4,
        JsonTokenType.StartArray => 5,
        JsonTokenType.StartObject => 6,
        _ => 7,
    };
}
