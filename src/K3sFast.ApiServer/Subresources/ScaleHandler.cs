using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>scale: replicas and selector of a workload as autoscaling/v1 Scale, whatever its own shape.</summary>
internal sealed class ScaleHandler(WriteFlow writes, TimeProvider clock, int maxBodyBytes)
{
    private static readonly TypeSchema s_type =
        Schema.BuiltIn.FindType("autoscaling", "v1", "Scale") ?? throw new InvalidOperationException("the schema has no Scale");

    private static readonly FieldManager s_fields = new(s_type, "scale", ResetFields.None, new SingleVersion(s_type));

    // Admission sees scales, not the workloads that they are of.
    private static readonly AdmissionForm s_form = new(s_type, ParseScale);

    internal async ValueTask RouteAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var storage = endpoint.Storage!;
        var isPatch = call.Info.Verb == Verb.Patch;
        var kind = isPatch ? PatchApplier.KindOf(call.ContentType) : default;
        var format = ResponseFormat.Negotiate(call, allowsProjection: false);
        if (call.Info.Verb == Verb.Get)
        {
            using var stored = storage.Get(call.Info.Namespace, call.Info.Name)
                ?? throw ApiStatus.NotFound(endpoint.Info.Group, endpoint.Info.Resource, call.Info.NameText).ToException();
            await AnswerAsync(call, ScaleOf(stored.Json), format).ConfigureAwait(false);
            return;
        }
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        var options = isPatch ? WriteOptions.ReadPatch(call, kind) : WriteOptions.Read(call, "UpdateOptions");
        var context = ResourceWriter.ContextOf(call, call.Info.NameText, options.IsDryRun) with { Form = s_form };
        using var given = isPatch
            ? kind == PatchKind.Apply ? ApplyBody.Decode(body.Span) : null
            : BodyDecoder.Decode(call, body.Span, s_type, options.Validation);
        if (!isPatch)
        {
            WriteFlow.CheckNamespace(storage.Info, given!.Root.GetOrAddObject("metadata"u8), call.Info.NamespaceText);
            ResourceWriter.CheckName(given.Root, context.Name);
        }
        using var answer = await writes.UpdateAsync(storage, "scale", context, async old =>
        {
            using var present = ParseScale(old.Root);
            ScaleFields.WriteToScale(old.Root, present.Root);
            using var scale = Change(call, present, given, body, kind, isPatch, options);
            ResourceWriter.CheckName(scale.Root, context.Name);
            var admitted = new AdmissionContext
            {
                Operation = AdmissionOperation.Update, Resource = storage.Info, Subresource = "scale", Kind = s_type, Namespace = context.Namespace, Name = context.Name,
                User = context.User, Object = scale.Root, OldObject = present.Root, IsDryRun = context.IsDryRun, Call = call,
            };
            await writes.MutateAsync(admitted, context.Cancel).ConfigureAwait(false);
            WriteFlow.CheckUid(storage, scale.Root["metadata"u8]["uid"u8], old.Root, context);
            return WithScale(old, scale.Root, endpoint.Info, context.Name);
        }, isPatch).ConfigureAwait(false);
        await AnswerAsync(call, ScaleOf(answer.Json), format).ConfigureAwait(false);
    }

    private ApiObject Change(ApiCall call, ApiObject present, ApiObject? given, PooledBuffer body, PatchKind kind, bool isPatch, in WriteOptions options)
    {
        if (isPatch && kind == PatchKind.Apply)
        {
            var applied = s_fields.Apply(present.Root, given!.Root, options.Manager, options.IsForced, clock.GetUtcNow());
            ApplyBody.CheckStrictly(call, body.Span, options.Validation);
            return applied;
        }
        var changed = isPatch ? PatchApplier.Apply(call, present, kind, body.Span, s_type, options.Validation) : given!.Clone();
        s_fields.Update(present.Root, changed.Root, options.Manager, clock.GetUtcNow());
        return changed;
    }

    private static ApiObject WithScale(ApiObject old, ApiNode scale, ResourceInfo version, string name)
    {
        var replicas = scale["spec"u8]["replicas"u8].AsInt64();
        if (replicas < 0)
        {
            var errors = new FieldErrorList();
            errors.Invalid("spec.replicas", replicas, "must be greater than or equal to 0");
            throw ApiStatus.Invalid("autoscaling", "Scale", name, errors).ToException();
        }
        var changed = old.Clone();
        changed.Root.GetOrAddObject("spec"u8).Set("replicas"u8, replicas);
        var resourceVersion = scale["metadata"u8]["resourceVersion"u8];
        if (resourceVersion.Utf8.IsEmpty)
            changed.Root["metadata"u8].Remove("resourceVersion"u8);
        else
            changed.Root["metadata"u8].Set("resourceVersion"u8, resourceVersion);
        ScaleFields.WriteToWorkload(changed.Root, scale, version.ApiVersion);
        return changed;
    }

    private static ValueTask AnswerAsync(ApiCall call, byte[] scale, ResponseFormat format) =>
        ResponseWriter.WriteObjectAsync(call, 200, scale, s_type, format);

    private static ApiObject ParseScale(ApiNode workload)
    {
        var scale = ApiObject.Rent();
        Fill(scale.Root, workload);
        return scale;
    }

    private static byte[] ScaleOf(StoredBytes json)
    {
        using var text = json.Rent();
        using var document = JsonCodec.Decode(text.Span, null, DecodeOptions.Free, null);
        using var scale = ParseScale(document.Root);
        var output = new System.Buffers.ArrayBufferWriter<byte>(512);
        JsonCodec.Encode(scale.Root, s_type, output);
        return output.WrittenSpan.ToArray();
    }

    private static void Fill(ApiNode scale, ApiNode workload)
    {
        scale.Set("kind"u8, s_type.Kind);
        scale.Set("apiVersion"u8, s_type.ApiVersion);
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
