using System.Buffers;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery.Testing;

namespace K3sFast.ApiMachinery.Tests;

public sealed class TableTests
{
    private static readonly DateTimeOffset s_now = new(2026, 1, 1, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("pods", """{"metadata":{"name":"a","creationTimestamp":"2026-01-01T11:54:57Z"},"spec":{"nodeName":"n","containers":[{"name":"c"}]},"status":{"phase":"Running","podIPs":[{"ip":"10.42.0.5"}],"conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"c","ready":true,"restartCount":3,"state":{"running":{}},"lastState":{"terminated":{"finishedAt":"2026-01-01T11:55:00Z"}}}]}}""",
        """["a","1/1","Running","3 (5m ago)","5m3s","10.42.0.5","n","\u003cnone\u003e","\u003cnone\u003e"]""")]
    [InlineData("pods", """{"metadata":{"name":"a","creationTimestamp":"2026-01-01T11:59:30Z"},"spec":{"containers":[{"name":"c"},{"name":"d"}]},"status":{"phase":"Pending","containerStatuses":[{"name":"c","state":{"waiting":{"reason":"ContainerCreating"}}},{"name":"d","state":{"waiting":{"reason":"ImagePullBackOff"}}}]}}""",
        """["a","0/2","ContainerCreating","0","30s","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e"]""")]
    [InlineData("pods", """{"metadata":{"name":"a","creationTimestamp":"2026-01-01T10:00:00Z","deletionTimestamp":"2026-01-01T11:59:59Z"},"spec":{"containers":[{"name":"c"}]},"status":{"phase":"Running"}}""",
        """["a","0/1","Terminating","0","120m","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e"]""")]
    [InlineData("pods", """{"metadata":{"name":"a","creationTimestamp":"2025-12-31T12:00:00Z"},"spec":{"initContainers":[{"name":"i"},{"name":"j"}],"containers":[{"name":"c"}]},"status":{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":0}}},{"name":"j","restartCount":2,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}""",
        """["a","0/1","Init:CrashLoopBackOff","2","24h","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e"]""")]
    [InlineData("pods", """{"metadata":{"name":"a","creationTimestamp":"2026-01-01T12:00:00Z"},"spec":{"containers":[{"name":"c"}]},"status":{"phase":"Failed","containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":137,"signal":9}}}]}}""",
        """["a","0/1","Signal:9","0","0s","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e"]""")]
    [InlineData("deployments.apps", """{"metadata":{"name":"d","creationTimestamp":"2025-12-25T12:00:00Z"},"spec":{"replicas":3,"selector":{"matchLabels":{"b":"2","a":"1"},"matchExpressions":[{"key":"c","operator":"In","values":["y","x"]}]},"template":{"spec":{"containers":[{"name":"c","image":"i"},{"name":"d","image":"j"}]}}},"status":{"readyReplicas":2,"updatedReplicas":3,"availableReplicas":2}}""",
        """["d","2/3",3,2,"7d","c,d","i,j","a=1,b=2,c in (x,y)"]""")]
    [InlineData("services", """{"metadata":{"name":"s","creationTimestamp":"2024-01-01T12:00:00Z"},"spec":{"type":"NodePort","clusterIPs":["10.43.0.9"],"ports":[{"port":80,"nodePort":30080,"protocol":"TCP"},{"port":53,"protocol":"UDP"}],"selector":{"a":"b"}}}""",
        """["s","NodePort","10.43.0.9","\u003cnone\u003e","80:30080/TCP,53/UDP","2y1d","a=b"]""")]
    [InlineData("services", """{"metadata":{"name":"s"},"spec":{"type":"LoadBalancer","clusterIPs":["10.43.0.9"]}}""",
        """["s","LoadBalancer","10.43.0.9","\u003cpending\u003e","\u003cnone\u003e","\u003cunknown\u003e","\u003cnone\u003e"]""")]
    [InlineData("nodes", """{"metadata":{"name":"n","creationTimestamp":"2026-01-01T03:00:00Z","labels":{"node-role.kubernetes.io/master":"","node-role.kubernetes.io/control-plane":""}},"spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"}],"addresses":[{"type":"InternalIP","address":"1.2.3.4"}],"nodeInfo":{"kubeletVersion":"v1.36.2","osImage":"Debian","kernelVersion":"6.1","architecture":"amd64","containerRuntimeVersion":"containerd://2"}}}""",
        """["n","Ready,SchedulingDisabled","control-plane,master","9h","v1.36.2","1.2.3.4","\u003cnone\u003e","Debian","6.1 (amd64)","containerd://2"]""")]
    [InlineData("events", """{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p"},"type":"Normal","reason":"Started","message":"Started c\n","firstTimestamp":"2026-01-01T11:58:00Z","lastTimestamp":"2026-01-01T11:59:00Z","count":2,"source":{"component":"kubelet","host":"n"}}""",
        """["60s","Normal","Started","pod/p","","kubelet, n","Started c","2m",2,"e"]""")]
    [InlineData("jobs.batch", """{"metadata":{"name":"j","creationTimestamp":"2026-01-01T11:00:00Z"},"spec":{"completions":2,"selector":{"matchLabels":{"u":"1"}},"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"succeeded":2,"startTime":"2026-01-01T11:00:00Z","completionTime":"2026-01-01T11:00:09Z","conditions":[{"type":"Complete","status":"True"}]}}""",
        """["j","Complete","2/2","9s","60m","c","i","u=1"]""")]
    [InlineData("configmaps", """{"metadata":{"name":"c","creationTimestamp":"2026-01-01T11:00:00Z"},"data":{"a":"","b":""},"binaryData":{"c":""}}""", """["c",3,"60m"]""")]
    [InlineData("roles.rbac.authorization.k8s.io", """{"metadata":{"name":"r","creationTimestamp":"2026-01-01T11:00:00Z"}}""", """["r","2026-01-01T11:00:00Z"]""")]
    [InlineData("endpointslices.discovery.k8s.io", """{"metadata":{"name":"x"},"addressType":"IPv4","ports":[{"port":80}],"endpoints":[{"addresses":["1.1.1.1"]},{"addresses":["1.1.1.2"]},{"addresses":["1.1.1.3"]},{"addresses":["1.1.1.4"]}]}""",
        """["x","IPv4","80","1.1.1.1,1.1.1.2,1.1.1.3 + 1 more...","\u003cunknown\u003e"]""")]
    [InlineData("endpointslices.discovery.k8s.io", """{"metadata":{"name":"x"},"addressType":"IPv4","ports":[{"name":"","port":80},{"name":"z"},{}]}""",
        """["x","IPv4","80,z,*","\u003cunset\u003e","\u003cunknown\u003e"]""")]
    public void AppendRow_Object_HasUpstreamsCells(string resource, string json, string expected)
    {
        using var table = JsonDocument.Parse(Table(resource, IncludeObject.None, json));
        var rows = table.RootElement.GetProperty("rows");

        Assert.Equal(expected, rows[0].GetProperty("cells").GetRawText());
        Assert.True(rows[0].GetProperty("cells").GetArrayLength() >= table.RootElement.GetProperty("columnDefinitions").GetArrayLength());
    }

    [Fact]
    public void WriteTable_MetadataRows_CarryPartialObjects()
    {
        var text = Table("configmaps", IncludeObject.Metadata, """{"kind":"ConfigMap","metadata":{"name":"a","uid":"u"},"data":{"x":"y"}}""");

        Assert.Equal(
            """{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"7","continue":"c","remainingItemCount":2},"columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"Name of the object, unique in its namespace.","priority":0},{"name":"Data","type":"string","format":"","description":"Data of the object.","priority":0},{"name":"Age","type":"string","format":"","description":"Time since the object was created.","priority":0}],"rows":[{"cells":["a",1,"\u003cunknown\u003e"],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","uid":"u"}}}]}""",
            text);
    }

    [Fact]
    public void WriteSingle_WatchEventAfterTheFirst_HasNoHeadersAndTheObjectsVersion()
    {
        var output = new ArrayBufferWriter<byte>();
        TableConverter.WriteSingle(Rules.Resource("configmaps"), """{"metadata":{"name":"a","resourceVersion":"9"}}"""u8, IncludeObject.Object, withHeaders: false, "meta.k8s.io/v1", output, s_now);

        Assert.Equal(
            """{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"9"},"columnDefinitions":null,"rows":[{"cells":["a",0,"\u003cunknown\u003e"],"object":{"metadata":{"name":"a","resourceVersion":"9"}}}]}""",
            Encoding.UTF8.GetString(output.WrittenSpan));
    }

    [Fact]
    public void Columns_OfEveryKind_AreWhatItsRowsFill()
    {
        foreach (var resource in Schema.BuiltIn.Resources.Where(static resource => resource.EnabledByDefault && resource.Server == "kube-apiserver"))
        {
            var columns = TableColumns.Find(resource.Group, resource.Kind) ?? TableColumns.Default;
            using var table = JsonDocument.Parse(Table(resource, IncludeObject.None, """{"metadata":{"name":"a"}}"""));
            var cells = table.RootElement.GetProperty("rows")[0].GetProperty("cells").GetArrayLength();
            // Upstream's rows of addresses have one cell more than there are columns.
            Assert.True(cells == columns.Length + (resource.Kind == "IPAddress" ? 1 : 0), $"{resource.GroupResource}: {cells} cells of {columns.Length} columns");
        }
    }

    [Theory]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c"}]},"status":{"phase":"Running","containerStatuses":[{"state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}}""", "Completed")]
    [InlineData("""{"metadata":{"name":"a"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"ready":true,"state":{"running":{}}},{"state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}}""", "Running")]
    [InlineData("""{"metadata":{"name":"a"},"status":{"phase":"Running","containerStatuses":[{"ready":true,"state":{"running":{}}},{"state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}}""", "NotReady")]
    [InlineData("""{"metadata":{"name":"a"},"status":{"phase":"Failed","containerStatuses":[{"state":{"terminated":{"exitCode":0,"reason":"Completed"}}},{"state":{"terminated":{"exitCode":2,"reason":"Error"}}}]}}""", "Error")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"initContainers":[{"name":"i"},{"name":"j"}]},"status":{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":0}}},{"name":"j","state":{"waiting":{"reason":"PodInitializing"}}}]}}""", "Init:1/2")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"initContainers":[{"name":"i"}]},"status":{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":1,"signal":9}}}]}}""", "Init:Signal:9")]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"initContainers":[{"name":"i"}]},"status":{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":-1}}}]}}""", "Init:ExitCode:-1")]
    [InlineData("""{"metadata":{"name":"a"},"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","reason":"SchedulingGated"}]}}""", "SchedulingGated")]
    [InlineData("""{"metadata":{"name":"a","deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"phase":"Running","reason":"NodeLost"}}""", "Unknown")]
    [InlineData("""{"metadata":{"name":"a"},"status":{"phase":"Failed","reason":"Evicted"}}""", "Evicted")]
    public void AppendRow_Pod_HasUpstreamsStatus(string json, string status)
    {
        using var table = JsonDocument.Parse(Table("pods", IncludeObject.None, json));
        Assert.Equal(status, table.RootElement.GetProperty("rows")[0].GetProperty("cells")[2].GetString());
    }

    [Fact]
    public void AppendRow_ObjectsOfAnyKind_ShowWhatTheWholeTreeShows()
    {
        var seed = Environment.TickCount;
        foreach (var resource in Schema.BuiltIn.Resources)
        {
            for (int i = 0; i < 20; i++)
            {
                using var document = Text.Decode(new ObjectGenerator(new Random(seed + i)).Generate(resource.Type).ToJsonString(), resource.Type);
                var json = Encoding.UTF8.GetBytes(Text.Encode(document, resource.Type));
                using var whole = JsonCodec.Decode(json, null, DecodeOptions.Free, null);
                var expected = Row(resource, table => table.AppendRow(whole.Root, json));
                var shown = Row(resource, table => table.AppendRow(json));
                Assert.True(expected == shown, $"{resource.Kind}, seed {seed + i}:\n{expected}\n{shown}\n{Encoding.UTF8.GetString(json)}");
            }
        }

        static string Row(ResourceInfo resource, Action<TableWriter> append)
        {
            var output = new ArrayBufferWriter<byte>();
            append(new TableWriter(resource, IncludeObject.None, output, s_now));
            return Encoding.UTF8.GetString(output.WrittenSpan);
        }
    }

    [Fact]
    public void AppendRow_Pods_AllocateNothing()
    {
        var running = Encoding.UTF8.GetBytes(Samples.Pod);
        var restarted = """{"metadata":{"name":"a","creationTimestamp":"2026-01-01T11:54:57Z"},"spec":{"initContainers":[{"name":"i"}]},"status":{"phase":"Pending","initContainerStatuses":[{"name":"i","restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"finishedAt":"2026-01-01T11:55:00Z"}}}]}}"""u8.ToArray();
        var output = new ArrayBufferWriter<byte>(64 * 1024);
        var table = new TableWriter(Rules.Resource("pods"), IncludeObject.Metadata, output, s_now);
        for (int i = 0; i < 100; i++)
            Once();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
            Once();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Once()
        {
            output.ResetWrittenCount();
            table.AppendRow(running);
            table.AppendRow(restarted);
        }
    }

    [Theory]
    [InlineData(-5, "<invalid>")]
    [InlineData(-1, "0s")]
    [InlineData(0, "0s")]
    [InlineData(119, "119s")]
    [InlineData(120, "2m")]
    [InlineData(599, "9m59s")]
    [InlineData(10799, "179m")]
    [InlineData(10800, "3h")]
    [InlineData(10860, "3h1m")]
    [InlineData(28800, "8h")]
    [InlineData(172799, "47h")]
    [InlineData(176400, "2d1h")]
    [InlineData(691199, "7d23h")]
    [InlineData(691200, "8d")]
    [InlineData(63071999, "729d")]
    [InlineData(63158400, "2y1d")]
    [InlineData(252288000, "8y")]
    [InlineData(9223372036, "292y")]
    public void HumanDuration_Seconds_IsUpstreamsText(long seconds, string expected) => Assert.Equal(expected, TableCells.HumanDuration(TimeSpan.FromSeconds(seconds)));

    private static string Table(string resource, IncludeObject include, params string[] objects) => Table(Rules.Resource(resource), include, objects);

    private static string Table(ResourceInfo resource, IncludeObject include, params string[] objects)
    {
        var output = new ArrayBufferWriter<byte>();
        var items = objects.Select(static item => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(item));
        TableConverter.WriteTable(resource, items, new TableListMeta("7", "c", 2), include, output, s_now);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }
}
