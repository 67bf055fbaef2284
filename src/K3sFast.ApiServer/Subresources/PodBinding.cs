using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>pods/binding, and the older way of POST bindings: the scheduler's verdict, which nobody but it changes.</summary>
internal sealed class PodBinding(WriteFlow writes, TimeProvider clock, int maxBodyBytes)
{
    private static readonly TypeSchema s_type = Schema.BuiltIn.FindType("", "v1", "Binding") ?? throw new InvalidOperationException("the schema has no Binding");

    /// <summary>Binds the pod that the body names. Admission sees the binding itself, as one of <paramref name="asked"/>.</summary>
    internal async ValueTask BindAsync(ApiCall call, ResourceEndpoint pods, ResourceInfo asked, string subresource)
    {
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        using var binding = BodyDecoder.Decode(call, body.Span, s_type, BodyDecoder.ValidationOf(call, "CreateOptions"));
        call.Audit?.SetRequestObject(binding.Root);
        var metadata = binding.Root.GetOrAddObject("metadata"u8);
        WriteFlow.CheckNamespace(pods.Info, metadata, call.Info.NamespaceText);
        var name = subresource.Length == 0 ? ObjectText.NameOf(binding.Root) : call.Info.NameText;
        var isDryRun = BodyDecoder.IsDryRun(call, "CreateOptions");
        var admitted = AdmissionContext.OfCreate(call, asked, subresource, name, s_type, binding.Root, isDryRun);
        await writes.MutateAsync(admitted, call.Aborted).ConfigureAwait(false);
        Check(binding.Root, name);
        await writes.ValidateAsync(admitted, call.Aborted).ConfigureAwait(false);
        var context = ResourceWriter.ContextOf(call, name, isDryRun) with { IsAdmitted = true };
        using var answer = await writes.UpdateAsync(pods.Storage!, "binding", context, old => Bound(old, binding.Root, pods.Storage!, context), isPatch: true).ConfigureAwait(false);
        await ResponseWriter.WriteStatusAsync(call, ApiStatus.Success(201)).ConfigureAwait(false);
    }

    private static void Check(ApiNode binding, string name)
    {
        if (ObjectText.NameOf(binding) != name)
            throw ApiStatus.BadRequest("name in URL does not match name in Binding object").ToException();
        var target = binding["target"u8];
        var errors = new FieldErrorList();
        if (!target["kind"u8].Utf8.IsEmpty && !target["kind"u8].Equals("Node"u8))
            errors.NotSupported("target.kind", target["kind"u8].AsString(), "Node", "<empty>");
        if (target["name"u8].Utf8.IsEmpty)
            errors.Required("target.name");
        if (errors.Count > 0)
            throw ApiStatus.Unknown(errors.ToString()).ToException();
    }

    private ApiObject Bound(ApiObject old, ApiNode binding, ResourceStorage pods, WriteContext context)
    {
        var pod = old.Root;
        var name = context.Name;
        var metadata = binding["metadata"u8];
        WriteFlow.CheckUid(pods, metadata["uid"u8], pod, context);
        CheckVersion(pods, metadata["resourceVersion"u8], pod["metadata"u8]["resourceVersion"u8], context);
        if (ObjectText.IsDeleting(pod))
            throw Conflict(name, $"pod {name} is being deleted, cannot be assigned to a host");
        if (pod["spec"u8]["nodeName"u8] is { Utf8.IsEmpty: false } bound)
            throw Conflict(name, $"pod {name} is already assigned to node {GoText.Quote(bound.Utf8)}");
        if (pod["spec"u8]["schedulingGates"u8].Count > 0)
            throw Conflict(name, $"pod {name} has non-empty .spec.schedulingGates");
        var changed = old.Clone();
        changed.Root["spec"u8].Set("nodeName"u8, binding["target"u8]["name"u8].Utf8);
        if (FeatureGates.Current.IsOn("ClearingNominatedNodeNameAfterBinding"))
            changed.Root["status"u8].Remove("nominatedNodeName"u8);
        Copy(metadata, changed.Root["metadata"u8], "annotations"u8);
        if (FeatureGates.Current.IsOn("PodTopologyLabelsAdmission"))
            Copy(metadata, changed.Root["metadata"u8], "labels"u8);
        SetScheduled(changed.Root.GetOrAddObject("status"u8).GetOrAddArray("conditions"u8));
        return changed;
    }

    private static void CheckVersion(ResourceStorage pods, ApiNode given, ApiNode stored, WriteContext context)
    {
        if (given.Utf8.IsEmpty || given.DeepEquals(stored))
            return;
        throw ApiStatus.Conflict(
            "", "pods", context.Name,
            $"StorageError: invalid object, Code: 4, Key: {pods.KeyOf(context.Namespace, context.Name)}, ResourceVersion: 0, AdditionalErrorMsg: "
            + $"Precondition failed: ResourceVersion in precondition: {given.AsString()}, ResourceVersion in object meta: {stored.AsString()}").ToException();
    }

    private static void Copy(ApiNode from, ApiNode to, ReadOnlySpan<byte> map)
    {
        foreach (var member in from[map].Members)
            to.GetOrAddObject(map).Set(member.Name, member.Value);
    }

    private void SetScheduled(ApiNode conditions)
    {
        var now = ObjectText.Time(clock.GetUtcNow());
        foreach (var condition in conditions.Elements)
        {
            if (!condition["type"u8].Equals("PodScheduled"u8))
                continue;
            condition.Set("status"u8, "True"u8);
            condition.Remove("reason"u8);
            condition.Remove("message"u8);
            condition.Set("lastTransitionTime"u8, now);
            return;
        }
        var added = conditions.AppendObject();
        added.Set("type"u8, "PodScheduled"u8);
        added.Set("status"u8, "True"u8);
        added.SetNull("lastProbeTime"u8);
        added.Set("lastTransitionTime"u8, now);
    }

    private static ApiStatusException Conflict(string name, string why) => ApiStatus.Conflict("", "pods/binding", name, why).ToException();
}
