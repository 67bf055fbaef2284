namespace K3sFast.ApiMachinery.Tests;

public sealed class FieldSetTests
{
    private static FieldSet Read(string json)
    {
        using var document = Text.Decode(json);
        return FieldSet.Read(document.Root);
    }

    [Theory]
    // Sorted by kind (fields, keys, values), text by bytes, numbers by value.
    [InlineData("""{"f:b":{},"f:a":{}}""", """{"f:a":{},"f:b":{}}""")]
    [InlineData("""{"f:l":{"v:\"b\"":{},"k:{\"port\":8080}":{},"k:{\"port\":80}":{},".":{},"f:z":{},"v:1":{}}}""", """{"f:l":{".":{},"f:z":{},"k:{\"port\":80}":{},"k:{\"port\":8080}":{},"v:1":{},"v:\"b\"":{}}}""")]
    [InlineData("""{"f:a":{"f:b":{}},"x:future":{}}""", """{"f:a":{"f:b":{}}}""")]
    [InlineData("""{}""", """{}""")]
    public void FieldsV1_Read_IsWrittenInOrder(string fields, string expected)
    {
        using var set = Read(fields);
        Assert.Equal(expected, set.ToString());
    }

    [Theory]
    [InlineData("""{"x":{}}""", "key must be 2 characters long:")]
    [InlineData("""{"spec":{}}""", "missing colon: spec")]
    public void FieldsV1_Unreadable_SaysWhy(string fields, string why) => Assert.Equal(why, Assert.Throws<FormatException>(() => Read(fields)).Message);

    [Theory]
    [InlineData("""{"f:a":{}}""", """{"f:b":{}}""", """{"f:a":{},"f:b":{}}""", """{}""", """{"f:a":{}}""")]
    [InlineData("""{"f:a":{"f:x":{}}}""", """{"f:a":{}}""", """{"f:a":{".":{},"f:x":{}}}""", """{}""", """{"f:a":{"f:x":{}}}""")]
    [InlineData("""{"f:a":{".":{},"f:x":{},"f:y":{}}}""", """{"f:a":{"f:y":{},"f:z":{}}}""", """{"f:a":{".":{},"f:x":{},"f:y":{},"f:z":{}}}""", """{"f:a":{"f:y":{}}}""", """{"f:a":{".":{},"f:x":{}}}""")]
    [InlineData("""{"f:b":{},"f:d":{}}""", """{"f:a":{},"f:c":{},"f:e":{}}""", """{"f:a":{},"f:b":{},"f:c":{},"f:d":{},"f:e":{}}""", """{}""", """{"f:b":{},"f:d":{}}""")]
    public void Sets_Combined_FollowTheLaws(string left, string right, string union, string intersection, string difference)
    {
        using var first = Read(left);
        using var second = Read(right);
        using var united = first.Clone();
        united.UnionWith(second);
        using var common = first.Intersect(second);
        using var rest = first.Clone();
        rest.Subtract(second);

        Assert.Equal((union, intersection, difference), (united.ToString(), common.ToString(), rest.ToString()));
        Assert.True(first.IsSubsetOf(united) && common.IsSubsetOf(second));
    }

    [Fact]
    public void BigSet_RoundTrip_KeepsEveryMember()
    {
        var fields = "{" + string.Join(',', Enumerable.Range(100, 900).Select(static i => "\"f:m" + i + "\":{\".\":{},\"f:x\":{}}")) + "}";
        using var set = Read(fields);
        Assert.Equal(fields, set.ToString());
        using var copy = set.Clone();
        Assert.True(copy.SetEquals(set));
    }

    [Fact]
    public void SubtractRecursive_OfAParent_TakesWhatIsBelow()
    {
        using var set = Read("""{"f:spec":{"f:a":{}},"f:status":{"f:b":{"f:c":{}}}}""");
        using var status = FieldSet.Of("status");
        set.SubtractRecursive(status);
        Assert.Equal("""{"f:spec":{"f:a":{}}}""", set.ToString());
    }

    [Fact]
    public void Paths_Of_ASet_AreThoseOfMessages()
    {
        using var set = Read("""{"f:spec":{"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}},"f:set":{"v:\"a\"":{},"v:2":{}}}}""");
        Assert.Equal([".spec.ports", ".spec.ports[port=80,protocol=\"TCP\"]", ".spec.ports[port=80,protocol=\"TCP\"].port", ".spec.set[=\"a\"]", ".spec.set[=2]"], set.Paths().Order(StringComparer.Ordinal));
    }

    [Fact]
    public void RandomSets_Combined_AgreeWithPlainSetsOfPaths()
    {
        var seed = Random.Shared.Next();
        var random = new Random(seed);
        for (var round = 0; round < 200; round++)
        {
            var (left, leftPaths) = RandomSet(random);
            var (right, rightPaths) = RandomSet(random);
            using (left)
            using (right)
            {
                using var union = left.Clone();
                union.UnionWith(right);
                using var rest = left.Clone();
                rest.Subtract(right);
                using var common = left.Intersect(right);
                Assert.True(leftPaths.Union(rightPaths).ToHashSet().SetEquals(union.Paths()), $"union, seed {seed}, round {round}");
                Assert.True(leftPaths.Except(rightPaths).ToHashSet().SetEquals(rest.Paths()), $"difference, seed {seed}, round {round}");
                Assert.True(leftPaths.Intersect(rightPaths).ToHashSet().SetEquals(common.Paths()), $"intersection, seed {seed}, round {round}");
                Assert.Equal(leftPaths.IsSubsetOf(rightPaths), left.IsSubsetOf(right));
                using var again = Read(union.ToString());
                Assert.True(again.SetEquals(union), $"round trip, seed {seed}, round {round}");
            }
        }
    }

    private static (FieldSet Set, HashSet<string> Paths) RandomSet(Random random)
    {
        var paths = new HashSet<string>();
        for (var i = random.Next(12); i > 0; i--)
            paths.Add(string.Join('.', Enumerable.Range(0, 1 + random.Next(4)).Select(_ => (char)('a' + random.Next(4)))));
        return (FieldSet.Of([.. paths]), [.. paths.Select(static path => $".{path}")]);
    }
}
