using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>What structured-merge-diff promises of every sequence of applies, on random configurations of a pod.</summary>
public sealed class ApplyLawsTests
{
    private const int Rounds = 150;

    private static readonly DateTimeOffset s_now = new(2026, 3, 1, 10, 20, 30, TimeSpan.Zero);
    private static readonly TypeSchema s_type = Text.Type("core.v1.Pod");
    private static readonly FieldManager s_manager = new(s_type, "", ResetFields.None, new SingleVersion(s_type));

    [Fact]
    public void Apply_Twice_IsApplyOnce() => EachRound((random, seed) =>
    {
        var live = Random(random, s_anything);
        var config = Random(random, s_anything);
        var once = Apply(Apply(null, "base", live), "one", config);
        var twice = Apply(once, "one", config);
        Assert.True(once == twice, $"seed {seed}\nlive   {live}\nconfig {config}\nonce   {once}\ntwice  {twice}");
    });

    [Fact]
    public void Applies_OfDisjointFields_CommuteWithoutConflict() => EachRound((random, seed) =>
    {
        var live = Random(random, s_shared);
        string first = Random(random, s_first), second = Random(random, s_second);
        var start = Apply(null, "base", live);
        var oneWay = Apply(Apply(start, "one", first, isForced: false), "two", second, isForced: false);
        var otherWay = Apply(Apply(start, "two", second, isForced: false), "one", first, isForced: false);
        Assert.True(Unordered(oneWay) == Unordered(otherWay), $"seed {seed}\nlive   {live}\nfirst  {first}\nsecond {second}\n{oneWay}\n{otherWay}");
    });

    [Fact]
    public void Applies_OfDisjointFields_AssociateWithTheirUnion() => EachRound((random, seed) =>
    {
        // One manager that applies both parts at once makes the same object as two that apply them one after the other.
        string first = Random(random, s_first), second = Random(random, s_second);
        var apart = Apply(Apply(null, "one", first, isForced: false), "two", second, isForced: false);
        var together = Apply(null, "one", Merged(first, second));
        Assert.True(Unordered(WithoutOwners(apart)) == Unordered(WithoutOwners(together)), $"seed {seed}\nfirst  {first}\nsecond {second}\n{apart}\n{together}");
    });

    [Fact]
    public void Apply_OfNothing_LeavesWhatOthersOwn() => EachRound((random, seed) =>
    {
        string first = Random(random, s_first), second = Random(random, s_second);
        var without = Apply(null, "one", first);
        var withOther = Apply(without, "two", second, isForced: false);
        var dropped = Apply(withOther, "two", Empty, isForced: false);
        Assert.True(Unordered(without) == Unordered(dropped), $"seed {seed}\nfirst  {first}\nsecond {second}\n{without}\n{dropped}");
    });

    private const string Empty = """{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}""";

    private static void EachRound(Action<Random, int> law)
    {
        var seed = System.Random.Shared.Next();
        for (var round = 0; round < Rounds; round++)
            law(new Random(seed + round), seed + round);
    }

    private static string Apply(string? live, string manager, string config, bool isForced = true)
    {
        using var stored = live is null ? null : Text.Decode(live);
        using var document = Text.Decode(config);
        using var applied = s_manager.Apply(stored?.Root ?? default, document.Root, manager, isForced, s_now);
        applied.Root["metadata"u8].Set("uid"u8, "u"u8);
        return Text.Encode(applied, s_type);
    }

    private static readonly string[] s_first = ["a", "b", "c"];
    private static readonly string[] s_second = ["x", "y", "z"];
    private static readonly string[] s_shared = ["q", "r"];
    private static readonly string[] s_anything = ["a", "b", "x"];

    // Names and keys come from the alphabet; scalars that are not keyed belong to the first or the second alphabet alone. Nobody applies an empty map:
    // its owner would own the map itself, and be in the way of who adds to it.
    private static string Random(Random random, string[] alphabet)
    {
        var text = new StringBuilder("""{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p",""");
        if (Some(random, alphabet, name => $"\"{name}\":\"{random.Next(3)}\"") is { Length: > 0 } labels)
            text.Append("\"labels\":{").Append(labels).Append("},");
        text.Append("\"finalizers\":[");
        text.Append(Some(random, alphabet, name => $"\"f/{name}\"")).Append("]},\"spec\":{\"containers\":[");
        // One at least: a list that its last owner empties is null afterwards, not the list without elements that it may have been before.
        text.Append(Container(random, alphabet[0], alphabet));
        if (Some(random, alphabet[1..], name => Container(random, name, alphabet)) is { Length: > 0 } more)
            text.Append(',').Append(more);
        text.Append(']');
        if (alphabet != s_second && alphabet != s_shared && random.Next(2) == 0)
            text.Append(CultureInfo.InvariantCulture, $",\"nodeSelector\":{{\"n\":\"{random.Next(3)}\"}}");
        if (alphabet != s_first && alphabet != s_shared && random.Next(2) == 0)
            text.Append(CultureInfo.InvariantCulture, $",\"priority\":{random.Next(3)}");
        if (alphabet != s_first && alphabet != s_shared && random.Next(3) == 0)
            text.Append(",\"tolerations\":[{\"key\":\"t\"}]");
        return text.Append("}}").ToString();
    }

    private static string Container(Random random, string name, string[] alphabet) =>
        $"{{\"name\":\"{name}\",\"image\":\"{random.Next(3)}\",\"env\":[{Some(random, alphabet, env => $"{{\"name\":\"{env}\",\"value\":\"{random.Next(3)}\"}}")}]"
        + (random.Next(2) == 0 ? $",\"ports\":[{{\"containerPort\":{80 + random.Next(3)}}}]" : "") + "}";

    private static string Some(Random random, string[] alphabet, Func<string, string> make)
    {
        var chosen = alphabet.Where(_ => random.Next(2) == 0).ToArray();
        random.Shuffle(chosen);
        return string.Join(',', chosen.Select(make));
    }

    private static string Merged(string first, string second)
    {
        using var whole = Text.Decode(first);
        using var more = Text.Decode(second);
        ConfigMerge.Merge(whole.Root, more.Root, s_type);
        return whole.Root.ToString();
    }

    private static string WithoutOwners(string json)
    {
        using var document = Text.Decode(json);
        document.Root["metadata"u8].Remove("managedFields"u8);
        return document.Root.ToString();
    }

    // The order of set and map lists tells who came first; nothing else does.
    private static string Unordered(string json)
    {
        using var document = Text.Decode(json);
        return Sorted(document.Root);
    }

    private static string Sorted(ApiNode node)
    {
        var parts = new List<string>();
        foreach (var member in node.Members)
            parts.Add($"{Encoding.UTF8.GetString(member.Name)}:{Sorted(member.Value)}");
        foreach (var element in node.Elements)
            parts.Add(Sorted(element));
        if (parts.Count == 0)
            return node.ToString();
        parts.Sort(StringComparer.Ordinal);
        return $"({string.Join(',', parts)})";
    }
}
