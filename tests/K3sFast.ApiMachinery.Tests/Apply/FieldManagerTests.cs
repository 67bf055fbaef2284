namespace K3sFast.ApiMachinery.Tests;

public sealed class FieldManagerTests
{
    private static readonly DateTimeOffset s_now = new(2026, 3, 1, 10, 20, 30, TimeSpan.Zero);
    private static readonly TypeSchema s_pod = Text.Type("core.v1.Pod");
    private static readonly TypeSchema s_service = Text.Type("core.v1.Service");

    private static FieldManager Manager(TypeSchema type, string subresource = "") => new(type, subresource, ResetFields.None, new SingleVersion(type));

    private static string Pod(string spec, string metadata = "") =>
        $$"""{"apiVersion":"v1","kind":"Pod","metadata":{{{metadata}}"name":"p"},"spec":{{spec}}}""";

    private static string Service(string spec) => $$"""{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{{spec}}}""";

    /// <summary>Applies one configuration after the other, each by its manager, and answers the object.</summary>
    private static ApiObject Apply(TypeSchema type, params (string Manager, string Config)[] steps)
    {
        ApiObject? live = null;
        foreach (var (manager, config) in steps)
        {
            using var document = Text.Decode(config);
            var applied = Manager(type).Apply(live?.Root ?? default, document.Root, manager, isForced: true, s_now);
            applied.Root["metadata"u8].Set("uid"u8, "u"u8);
            live?.Dispose();
            live = Canonical(applied, type);
        }
        return live!;
    }

    private static ApiObject Canonical(ApiObject document, TypeSchema type)
    {
        using (document)
            return Text.Decode(Text.Encode(document, type));
    }

    private static string OwnersOf(ApiObject document)
    {
        var lines = new List<string>();
        foreach (var entry in document.Root["metadata"u8]["managedFields"u8].Elements)
            lines.Add($"{entry["manager"u8].AsString()}: {entry["fieldsV1"u8]}");
        return string.Join('\n', lines);
    }

    [Fact]
    public void Update_OfANewPod_OwnsWhatIsWritten()
    {
        using var pod = Text.Decode(
            Pod("""{"containers":[{"name":"c","image":"i","ports":[{"containerPort":8080,"protocol":"TCP"},{"containerPort":80,"protocol":"TCP"}],"tty":false}],"hostNetwork":false,"nodeSelector":{"a":"b"}}""", "\"labels\":{\"x\":\"y\"},"),
            s_pod);
        Manager(s_pod).Update(default, pod.Root, "m", s_now);

        Assert.Equal(
            "m: {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:x\":{}}},\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{},\"f:ports\":{\".\":{},"
            + "\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{},\"f:protocol\":{}},"
            + "\"k:{\\\"containerPort\\\":8080,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{},\"f:protocol\":{}}},\"f:resources\":{}}},\"f:nodeSelector\":{}}}",
            OwnersOf(pod));
        Assert.Equal("2026-03-01T10:20:30Z", pod.Root["metadata"u8]["managedFields"u8][0]["time"u8].AsString());
    }

    [Fact]
    public void Update_ThatChangesNothing_KeepsTheList()
    {
        using var live = Apply(s_pod, ("one", Pod("""{"containers":[{"name":"c","image":"i"}]}""")));
        using var same = Text.Decode(Text.Encode(live, s_pod), s_pod);
        same.Root["metadata"u8].Remove("managedFields"u8);
        Manager(s_pod).Update(live.Root, same.Root, "two", s_now.AddHours(1));
        Assert.True(same.Root["metadata"u8]["managedFields"u8].DeepEquals(live.Root["metadata"u8]["managedFields"u8]));
    }

    [Fact]
    public void Update_WithAnInvalidList_GoesOnWithTheStoredOne()
    {
        using var live = Apply(s_pod, ("one", Pod("""{"nodeName":"a"}""")));
        using var changed = Text.Decode(Text.Encode(live, s_pod), s_pod);
        changed.Root["metadata"u8]["managedFields"u8][0].Set("fieldsType"u8, "FieldsV9"u8);
        changed.Root["spec"u8].Set("nodeName"u8, "b"u8);
        Manager(s_pod).Update(live.Root, changed.Root, "two", s_now);
        Assert.Equal("""two: {"f:spec":{"f:nodeName":{}}}""", OwnersOf(changed));
    }

    [Theory]
    // Elements of both come in the applied order, others keep their place among them.
    [InlineData("""["a","b","c"]""", """["c","a"]""", """["b","c","a"]""")]
    [InlineData("""["a","b","c"]""", """["b","x"]""", """["a","b","c","x"]""")]
    [InlineData("""["a","b"]""", """["x","b"]""", """["a","x","b"]""")]
    [InlineData("""["a"]""", """[]""", """["a"]""")]
    public void Apply_OfASet_UnitesInOrder(string stored, string applied, string expected)
    {
        using var live = Apply(s_pod, ("one", Pod("{}", $"\"finalizers\":{stored},")), ("two", Pod("{}", $"\"finalizers\":{applied},")));
        Assert.Equal(expected, live.Root["metadata"u8]["finalizers"u8].ToString());
    }

    [Fact]
    public void Apply_OfAPortWithoutProtocol_IsTheOneWithItsDefault()
    {
        using var live = Apply(
            s_service, ("one", Service("""{"ports":[{"port":80,"protocol":"TCP","name":"web"},{"port":80,"protocol":"UDP"}]}""")),
            ("two", Service("""{"ports":[{"port":80,"targetPort":8080}]}""")));
        Assert.Equal("""[{"name":"web","protocol":"TCP","port":80,"targetPort":8080},{"protocol":"UDP","port":80,"targetPort":0}]""", live.Root["spec"u8]["ports"u8].ToString());
    }

    [Fact]
    public void Apply_OfAnAtomicMap_ReplacesIt()
    {
        using var live = Apply(s_pod, ("one", Pod("""{"nodeSelector":{"a":"1","b":"2"}}""")), ("two", Pod("""{"nodeSelector":{"c":"3"}}""")));
        Assert.Equal("""{"c":"3"}""", live.Root["spec"u8]["nodeSelector"u8].ToString());
        Assert.Equal("two: {\"f:spec\":{\"f:nodeSelector\":{}}}", OwnersOf(live));
    }

    [Fact]
    public void Apply_WithoutAContainer_RemovesItWithItsDefaultsOnly()
    {
        const string both = """{"containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}]}""";
        const string one = """{"containers":[{"name":"a","image":"i"}]}""";
        using var live = Apply(s_pod, ("one", Pod(both)));
        live.Root["spec"u8]["containers"u8][0].Set("terminationMessagePath"u8, "/x"u8);
        live.Root["spec"u8]["containers"u8][1].Set("terminationMessagePath"u8, "/x"u8);
        using var config = Text.Decode(Pod(one));
        using var applied = Manager(s_pod).Apply(live.Root, config.Root, "one", false, s_now);
        Assert.Equal("""[{"name":"a","image":"i","resources":{},"terminationMessagePath":"/x"}]""", applied.Root["spec"u8]["containers"u8].ToString());
    }

    [Fact]
    public void Apply_OfAHugeList_StaysLinear()
    {
        // Three megabytes are the most that a body can have. What an applier drops of such a list must not be searched for element by element: that
        // would be ten thousand million comparisons, which no machine does within the minute that is far too much for any other way.
        const int elements = 100_000;
        var many = string.Join(',', Enumerable.Range(0, elements).Reverse().Select(static i => $$"""{"name":"V{{i}}","value":"1"}"""));
        using var live = Apply(s_pod, ("one", Pod($$"""{"containers":[{"name":"c","image":"i","env":[{{many}}]}]""" + "}")));
        using var config = Text.Decode(Pod("""{"containers":[{"name":"c","image":"i","env":[{"name":"V7","value":"1"}]}]}"""));
        var watch = System.Diagnostics.Stopwatch.StartNew();
        using var applied = Manager(s_pod).Apply(live.Root, config.Root, "one", false, s_now);
        Assert.Equal("""[{"name":"V7","value":"1"}]""", applied.Root["spec"u8]["containers"u8][0]["env"u8].ToString());
        Assert.True(watch.Elapsed < TimeSpan.FromMinutes(1), $"{watch.Elapsed}");
    }

    [Fact]
    public void Apply_WhereTheSchemaHasBecomeAtomic_OwnsTheWhole()
    {
        using var live = Apply(s_pod, ("one", Pod("""{"nodeSelector":{"a":"1"}}""")));
        using var old = Text.Decode("""{"f:spec":{"f:nodeSelector":{".":{},"f:a":{}}}}""");
        live.Root["metadata"u8]["managedFields"u8][0].Set("fieldsV1"u8, old.Root);
        using var config = Text.Decode(Pod("""{"nodeSelector":{"a":"2"}}"""));
        var refused = Text.Refusal(() => Manager(s_pod).Apply(live.Root, config.Root, "two", false, s_now));
        Assert.Equal("Apply failed with 1 conflict: conflict with \"one\": .spec.nodeSelector", refused.Message);
    }

    [Theory]
    [InlineData("""{"foo":1}""", ".spec.foo: field not declared in schema")]
    [InlineData("""{"hostNetwork":"x"}""", ".spec.hostNetwork: expected boolean, got &{x}")]
    [InlineData("""{"priority":"x"}""", ".spec.priority: expected numeric (int or float), got string")]
    [InlineData("""{"containers":{}}""", ".spec.containers: expected list, got &{map[]}")]
    [InlineData("""{"securityContext":[]}""", ".spec.securityContext: expected map, got &{[]}")]
    [InlineData("""{"nodeName":{"a":[1]}}""", ".spec.nodeName: expected string, got &value.valueUnstructured{Value:map[string]interface {}{\"a\":[]interface {}{1}}}")]
    [InlineData("""{"containers":[{"name":"a"},{"name":"a"}]}""", ".spec.containers: duplicate entries for key [name=\"a\"]")]
    [InlineData("""{"containers":[null]}""", ".spec.containers: element 0: associative list with keys may not have a null element")]
    [InlineData("""{"containers":[5]}""", ".spec.containers: element 0: associative list with keys may not have non-map elements")]
    [InlineData("""{"containers":[{"name":"c","ports":[{"containerPort":80},{"containerPort":80,"protocol":"TCP"}]}]}""", ".spec.containers[name=\"c\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]")]
    [InlineData("""{"foo":1,"hostPID":1}""", "errors:\n  .spec.hostPID: expected boolean, got &{1}\n  .spec.foo: field not declared in schema")]
    public void Apply_OfAWrongConfiguration_RefusesInUpstreamsWords(string spec, string error)
    {
        // Upstream stops at the first undeclared field of a map, whose order is none; here it is looked for last.
        var ordered = spec.StartsWith("""{"foo":1,"h""", StringComparison.Ordinal) ? """{"hostPID":1,"foo":1}""" : spec;
        using var config = Text.Decode(Pod(ordered));
        var status = Text.Refusal(() => Manager(s_pod).Apply(default, config.Root, "m", false, s_now));
        Assert.Equal((500, $"failed to create typed patch object (/p; /v1, Kind=Pod): {error}"), (status.Code, status.Message));
    }

    [Fact]
    public void Update_OfAnObjectWithOwners_AllocatesNothingWhenNothingChanges()
    {
        using var live = Apply(s_pod, ("one", Pod("""{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"1"}]}]}""", "\"labels\":{\"a\":\"b\"},")));
        using var same = Text.Decode(Text.Encode(live, s_pod), s_pod);
        var manager = Manager(s_pod);
        for (var i = 0; i < 200; i++)
            manager.Update(live.Root, same.Root, "one", s_now);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            manager.Update(live.Root, same.Root, "one", s_now);
        // The comparison's own handle is all there is.
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 1000, 0, 64);
    }
}
