using System.Buffers;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The old kind that says how the parts of the control plane are. Nothing is stored: each question asks the parts.</summary>
internal sealed class ComponentStatuses(ComponentHealth components, StoreProbe store, TimeProvider clock)
{
    private static readonly string[] s_names = ["scheduler", "controller-manager", "etcd-0"];

    internal async ValueTask AnswerAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var isList = call.Info.Verb == Verb.List;
        var format = ResponseFormat.Negotiate(call, allowsProjection: true, isList);
        var name = call.Info.NameText;
        call.AddWarning("v1 ComponentStatus is deprecated in v1.19+");
        if (!isList && !s_names.Contains(name))
            throw ApiStatus.NotFound("", "componentstatus", name).ToException();
        var items = new List<ReadOnlyMemory<byte>>();
        foreach (var one in s_names)
        {
            if (name.Length == 0 || one == name)
                items.Add(await WriteAsync(one, call.Aborted).ConfigureAwait(false));
        }
        using var json = new PooledBuffer();
        if (format.Projection == Projection.Table)
        {
            TableConverter.WriteTable(endpoint.Info, items, default, ObjectReader.IncludeOf(call, format), json, clock.GetUtcNow());
            await ResponseWriter.WriteObjectAsync(call, 200, json.Written, null, format).ConfigureAwait(false);
            return;
        }
        if (isList)
            WriteList(json, items);
        else
            json.Write(items[0].Span);
        await ResponseWriter.WriteObjectAsync(call, 200, json.Written, isList ? endpoint.Info.ListType : endpoint.Info.Type, format).ConfigureAwait(false);
    }

    private static void WriteList(PooledBuffer output, List<ReadOnlyMemory<byte>> items)
    {
        output.Write("{\"kind\":\"ComponentStatusList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":["u8);
        for (var i = 0; i < items.Count; i++)
        {
            if (i > 0)
                output.Write(","u8);
            output.Write(items[i].Span);
        }
        output.Write("]}"u8);
    }

    private async ValueTask<byte[]> WriteAsync(string name, CancellationToken cancel)
    {
        var why = name == "etcd-0" ? await store.CheckAsync(cancel).ConfigureAwait(false) : components.WhyNot(name);
        using var document = new ApiObject();
        var root = document.Root;
        root.Set("kind"u8, "ComponentStatus"u8);
        root.Set("apiVersion"u8, "v1"u8);
        root.GetOrAddObject("metadata"u8).Set("name"u8, name);
        var condition = root.GetOrAddArray("conditions"u8).AppendObject();
        condition.Set("type"u8, "Healthy"u8);
        condition.Set("status"u8, why is null ? "True"u8 : "False"u8);
        condition.Set(why is null ? "message"u8 : "error"u8, why ?? "ok");
        var output = new ArrayBufferWriter<byte>();
        root.WriteJson(output);
        return output.WrittenSpan.ToArray();
    }
}
