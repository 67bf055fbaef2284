using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>scale: replicas and selector of a workload as autoscaling/v1 Scale, whatever its own shape.</summary>
internal sealed class ScaleHandler(WriteFlow writes, int maxBodyBytes)
{
    internal async ValueTask RouteAsync(ApiCall call, ResourceEndpoint endpoint, SubresourceInfo subresource)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: false);
        var type = Schema.BuiltIn.FindType(subresource.Group, subresource.Version, subresource.Kind) ?? throw new InvalidOperationException("the schema has no Scale");
        var storage = endpoint.Storage!;
        if (call.Info.Verb == Verb.Get)
        {
            using var stored = storage.Get(call.Info.Namespace, call.Info.Name)
                ?? throw ApiStatus.NotFound(endpoint.Info.Group, endpoint.Info.Resource, call.Info.NameText).ToException();
            await AnswerAsync(call, ScaleOf(stored.Json, type), type, format).ConfigureAwait(false);
            return;
        }
        var isPatch = call.Info.Verb == Verb.Patch;
        var kind = isPatch ? PatchApplier.KindOf(call.ContentType) : default;
        var options = isPatch ? "PatchOptions" : "UpdateOptions";
        var validation = BodyDecoder.ValidationOf(call, options);
        var context = ResourceWriter.ContextOf(call, call.Info.NameText, BodyDecoder.IsDryRun(call, options));
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        using var given = isPatch ? null : BodyDecoder.Decode(call, body.Span, type, validation);
        using var answer = await writes.UpdateAsync(storage, "scale", context, old =>
        {
            using var present = isPatch ? ParseScale(old.Root, type) : null;
            using var patched = isPatch ? PatchApplier.Apply(call, present!, kind, body.Span, type, validation) : null;
            var scale = (patched ?? given!).Root;
            var replicas = scale["spec"u8]["replicas"u8].AsInt64();
            if (replicas < 0)
            {
                var errors = new FieldErrorList();
                errors.Invalid("spec.replicas", replicas, "must be greater than or equal to 0");
                throw ApiStatus.Invalid("autoscaling", "Scale", context.Name, errors).ToException();
            }
            var changed = old.Clone();
            changed.Root.GetOrAddObject("spec"u8).Set("replicas"u8, replicas);
            var version = scale["metadata"u8]["resourceVersion"u8];
            if (version.Utf8.IsEmpty)
                changed.Root["metadata"u8].Remove("resourceVersion"u8);
            else
                changed.Root["metadata"u8].Set("resourceVersion"u8, version);
            return changed;
        }, isPatch).ConfigureAwait(false);
        await AnswerAsync(call, ScaleOf(answer.Json, type), type, format).ConfigureAwait(false);
    }

    private static ValueTask AnswerAsync(ApiCall call, byte[] scale, TypeSchema type, ResponseFormat format) =>
        ResponseWriter.WriteObjectAsync(call, 200, scale, type, format);

    private static ApiObject ParseScale(ApiNode workload, TypeSchema type)
    {
        var scale = new ApiObject();
        Fill(scale.Root, workload, type);
        return scale;
    }

    private static byte[] ScaleOf(ReadOnlySpan<byte> json, TypeSchema type)
    {
        using var document = JsonCodec.Decode(json, null, DecodeOptions.Free, null);
        using var scale = ParseScale(document.Root, type);
        var output = new System.Buffers.ArrayBufferWriter<byte>(512);
        JsonCodec.Encode(scale.Root, type, output);
        return output.WrittenSpan.ToArray();
    }

    private static void Fill(ApiNode scale, ApiNode workload, TypeSchema type)
    {
        scale.Set("kind"u8, type.Kind);
        scale.Set("apiVersion"u8, type.ApiVersion);
        var metadata = scale.GetOrAddObject("metadata"u8);
        foreach (var name in (ReadOnlySpan<string>)["name", "namespace", "uid", "resourceVersion", "creationTimestamp"])
        {
            var member = Encoding.UTF8.GetBytes(name);
            if (workload["metadata"u8][member].IsDefined)
                metadata.Set(member, workload["metadata"u8][member]);
        }
        if (workload["spec"u8]["replicas"u8].TryGetInt64(out var replicas))
            scale.GetOrAddObject("spec"u8).Set("replicas"u8, replicas);
        else
            scale.GetOrAddObject("spec"u8);
        var status = scale.GetOrAddObject("status"u8);
        status.Set("replicas"u8, workload["status"u8]["replicas"u8].AsInt64());
        var selector = SelectorText(workload["spec"u8]["selector"u8]);
        if (selector.Length > 0)
            status.Set("selector"u8, selector);
    }

    /// <summary>A selector as the text that list requests take: keys sorted.</summary>
    internal static string SelectorText(ApiNode selector)
    {
        var terms = new List<string>();
        // A ReplicationController's selector is the map of labels itself.
        var labels = selector["matchLabels"u8].IsDefined || selector["matchExpressions"u8].IsDefined ? selector["matchLabels"u8] : selector;
        foreach (var label in labels.Members)
        {
            if (label.Value.Kind == NodeKind.String)
                terms.Add($"{Encoding.UTF8.GetString(label.Name)}={label.Value.AsString()}");
        }
        foreach (var expression in selector["matchExpressions"u8].Elements)
        {
            var key = expression["key"u8].AsString();
            var values = new List<string>();
            foreach (var value in expression["values"u8].Elements)
                values.Add(value.AsString());
            values.Sort(StringComparer.Ordinal);
            terms.Add(expression["operator"u8].AsString() switch
            {
                "In" => $"{key} in ({string.Join(',', values)})",
                "NotIn" => $"{key} notin ({string.Join(',', values)})",
                "Exists" => key,
                _ => $"!{key}",
            });
        }
        terms.Sort(StringComparer.Ordinal);
        return string.Join(',', terms);
    }
}
