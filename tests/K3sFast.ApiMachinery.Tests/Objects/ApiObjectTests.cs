namespace K3sFast.ApiMachinery.Tests;

public sealed class ApiObjectTests
{
    [Fact]
    public void Undefined_Reads_AnswerNothing()
    {
        ApiNode undefined = default;

        Assert.Equal(NodeKind.Undefined, undefined.Kind);
        Assert.False(undefined["a"u8]["b"u8][3].IsDefined);
        Assert.Equal(0, undefined.Count);
        Assert.Equal("", undefined.AsString());
        Assert.False(undefined.TryGetInt64(out _));
        foreach (var member in undefined.Members)
            Assert.Fail(member.Value.ToString());
        Assert.Throws<InvalidOperationException>(() => undefined.Document);
    }

    [Fact]
    public void Mutations_OfEveryKind_AreInTheText()
    {
        using var document = new ApiObject();
        var root = document.Root;
        root.Set("s"u8, "tüx");
        root.Set("n"u8, -5);
        root.Set("b"u8, true);
        root.SetNull("z"u8);
        root.SetNumber("f"u8, "1.50"u8);
        var list = root.GetOrAddArray("l"u8);
        list.AppendString("c"u8);
        list.Insert(0, document.NewString("a"u8));
        list.Insert(1, document.NewString("b"u8));
        list.AppendObject().Set("x"u8, 1);
        list.RemoveAt(2);
        root.GetOrAddObject("o"u8).GetOrAddObject("p"u8).Set("q"u8, list);
        root.Set("s"u8, "new"u8);

        Assert.True(root.Remove("b"u8));
        Assert.False(root.Remove("b"u8));
        Assert.Equal("""{"s":"new","n":-5,"z":null,"f":1.50,"l":["a","b",{"x":1}],"o":{"p":{"q":["a","b",{"x":1}]}}}""", root.ToString());
    }

    [Fact]
    public void Set_NodeOfAnotherDocument_IsACopy()
    {
        using var source = Text.Decode("""{"a":{"b":[1,"x"]}}""");
        using var target = new ApiObject();
        target.Root.Set("c"u8, source.Root["a"u8]);
        source.Root["a"u8].Set("b"u8, "gone"u8);

        Assert.Equal("""{"c":{"b":[1,"x"]}}""", target.Root.ToString());
    }

    [Fact]
    public void Set_DetachedNodeOfSameDocument_IsAttachedItself()
    {
        using var document = new ApiObject();
        var detached = document.NewObject();
        var attached = document.Root.Set("a"u8, detached);
        detached.Set("late"u8, 1);

        Assert.Equal(detached, attached);
        Assert.Equal("""{"a":{"late":1}}""", document.Root.ToString());
    }

    [Fact]
    public void Members_CurrentRemoved_EnumerationGoesOn()
    {
        using var document = Text.Decode("""{"a":1,"b":2,"c":3,"d":4}""");
        foreach (var member in document.Root.Members)
        {
            if (member.Value.AsInt64() % 2 == 1)
                document.Root.Remove(member.Name);
        }

        Assert.Equal("""{"b":2,"d":4}""", document.Root.ToString());
        document.Root.Set("e"u8, 5);
        Assert.Equal("""{"b":2,"d":4,"e":5}""", document.Root.ToString());
    }

    [Theory]
    [InlineData("""{"a":1,"b":[1,{"x":null}]}""", """{"b":[1,{"x":null}],"a":1}""", true)]
    [InlineData("""[1.0]""", """[1]""", true)]
    [InlineData("""[1,2]""", """[2,1]""", false)]
    [InlineData("""{"a":null}""", """{}""", false)]
    [InlineData("""{"a":1,"b":2}""", """{"a":1,"c":2}""", false)]
    [InlineData("\"1\"", "1", false)]
    public void DeepEquals_Values_IgnoresMemberOrderOnly(string left, string right, bool expected)
    {
        using var first = Text.Decode(left);
        using var second = Text.Decode(right);

        Assert.Equal(expected, first.Root.DeepEquals(second.Root));
    }

    [Fact]
    public void Utf8_HeldAcrossGrowth_StaysValid()
    {
        using var document = new ApiObject();
        var name = document.Root.Set("name"u8, "kept").Utf8;
        for (var i = 0; i < 10_000; i++)
            document.Root.GetOrAddArray("list"u8).AppendString(name);

        Assert.True(name.SequenceEqual("kept"u8));
        Assert.True(document.Root["list"u8][9_999].Equals("kept"u8));
    }
}
