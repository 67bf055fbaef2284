using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Subresources other than status: each does one thing of its own to its object.</summary>
internal sealed class SubresourceHandlers(
    WriteFlow writes, DeleteFlow deletes, ObjectReader reader, ResourceWriter writer, PodEviction evictions, TokenRequests tokens, ScaleHandler scales,
    StreamRouter streams, int maxBodyBytes)
{
    internal ValueTask RouteAsync(ApiCall call, ResourceEndpoint endpoint, SubresourceInfo subresource)
    {
        var info = call.Info;
        var verb = info.Verb;
        switch (endpoint.Info.Resource, subresource.Name)
        {
            case ("pods", "log" or "exec" or "attach" or "portforward" or "proxy") or ("nodes" or "services", "proxy"):
                return streams.RouteAsync(call, endpoint, subresource.Name);
            case (_, "scale") when verb is Verb.Get or Verb.Update or Verb.Patch:
                return scales.RouteAsync(call, endpoint);
            case ("pods", "binding") when verb == Verb.Create:
                return BindAsync(call, endpoint);
            case ("pods", "eviction") when verb == Verb.Create:
                return evictions.EvictAsync(call, endpoint, deletes);
            case ("serviceaccounts", "token") when verb == Verb.Create:
                return tokens.CreateAsync(call, endpoint);
            case ("namespaces", "finalize") when verb == Verb.Update:
                return FinalizeAsync(call, endpoint);
            case ("pods", "ephemeralcontainers" or "resize") or ("certificatesigningrequests", "approval") when verb is Verb.Get or Verb.Update or Verb.Patch:
                return verb switch
                {
                    Verb.Get => reader.GetAsync(call, endpoint),
                    Verb.Update => writer.UpdateAsync(call, endpoint, subresource.Name),
                    _ => writer.PatchAsync(call, endpoint, subresource.Name),
                };
            default:
                throw ResourceRouter.MethodNotAllowed();
        }
    }

    /// <summary>POST pods/{name}/binding, and POST bindings: the scheduler's verdict.</summary>
    internal async ValueTask BindAsync(ApiCall call, ResourceEndpoint pods)
    {
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        var type = Schema.BuiltIn.FindType("", "v1", "Binding") ?? throw new InvalidOperationException("the schema has no Binding");
        using var binding = BodyDecoder.Decode(call, body.Span, type, BodyDecoder.ValidationOf(call, "CreateOptions"));
        var name = call.Info.Name.IsEmpty || call.Info.Resource.SequenceEqual("bindings"u8) ? ObjectText.NameOf(binding.Root) : call.Info.NameText;
        if (ObjectText.NameOf(binding.Root) != name)
            throw ApiStatus.BadRequest("name in URL does not match name in Binding object").ToException();
        var target = binding.Root["target"u8];
        var errors = new FieldErrorList();
        if (!target["kind"u8].Utf8.IsEmpty && !target["kind"u8].Equals("Node"u8))
            errors.NotSupported("target.kind", target["kind"u8].AsString(), "Node", "<empty>");
        if (target["name"u8].Utf8.IsEmpty)
            errors.Required("target.name");
        if (errors.Count > 0)
            throw ApiStatus.Unknown(errors.ToString()).ToException();
        var node = target["name"u8].AsString();
        var annotations = binding.Root["metadata"u8]["annotations"u8];
        var uid = binding.Root["metadata"u8]["uid"u8];
        var isDryRun = BodyDecoder.IsDryRun(call, "CreateOptions");
        var context = ResourceWriter.ContextOf(call, name, isDryRun);
        using var answer = await writes.UpdateAsync(pods.Storage!, "binding", context, old =>
        {
            var root = old.Root;
            WriteFlow.CheckUid(pods.Storage!, uid, root, context);
            if (ObjectText.IsDeleting(root))
                throw Conflict(name, $"pod {name} is being deleted, cannot be assigned to a host");
            if (root["spec"u8]["nodeName"u8] is { Utf8.IsEmpty: false } bound)
                throw Conflict(name, $"pod {name} is already assigned to node {GoText.Quote(bound.Utf8)}");
            if (root["spec"u8]["schedulingGates"u8].Count > 0)
                throw Conflict(name, $"pod {name} has non-empty .spec.schedulingGates");
            var changed = old.Clone();
            changed.Root["spec"u8].Set("nodeName"u8, node);
            foreach (var annotation in annotations.Members)
                changed.Root["metadata"u8].GetOrAddObject("annotations"u8).Set(annotation.Name, annotation.Value);
            SetCondition(changed.Root.GetOrAddObject("status"u8).GetOrAddArray("conditions"u8));
            return changed;
        }, isPatch: true).ConfigureAwait(false);
        await ResponseWriter.WriteStatusAsync(call, ApiStatus.Success(201)).ConfigureAwait(false);
    }

    private static void SetCondition(ApiNode conditions)
    {
        foreach (var condition in conditions.Elements)
        {
            if (!condition["type"u8].Equals("PodScheduled"u8))
                continue;
            condition.Set("status"u8, "True"u8);
            condition.Remove("reason"u8);
            condition.Remove("message"u8);
            condition.Set("lastTransitionTime"u8, ObjectText.Time(DateTimeOffset.UtcNow));
            return;
        }
        var added = conditions.AppendObject();
        added.Set("type"u8, "PodScheduled"u8);
        added.Set("status"u8, "True"u8);
        added.SetNull("lastProbeTime"u8);
        added.Set("lastTransitionTime"u8, ObjectText.Time(DateTimeOffset.UtcNow));
    }

    // spec.finalizers is the only thing that changes; the last one takes a deleted namespace away.
    private async ValueTask FinalizeAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        var options = WriteOptions.Read(call, "UpdateOptions");
        using var document = BodyDecoder.Decode(call, body.Span, endpoint.Info.Type, options.Validation);
        var name = call.Info.NameText;
        ResourceWriter.CheckName(document.Root, name);
        var owner = FieldOwner.Of(endpoint, "finalize", options.Manager, TimeProvider.System);
        var context = new WriteContext(call.User, "", name, options.IsDryRun, call.Aborted, owner);
        using var answer = await writes.UpdateAsync(endpoint.Storage!, "finalize", context, old =>
        {
            var changed = old.Clone();
            var metadata = changed.Root["metadata"u8];
            var version = document.Root["metadata"u8]["resourceVersion"u8];
            if (version.Utf8.IsEmpty)
                metadata.Remove("resourceVersion"u8);
            else
                metadata.Set("resourceVersion"u8, version);
            var finalizers = document.Root["spec"u8]["finalizers"u8];
            if (finalizers.Count > 0)
                changed.Root.GetOrAddObject("spec"u8).Set("finalizers"u8, finalizers);
            else
                changed.Root.GetOrAddObject("spec"u8).Remove("finalizers"u8);
            return changed;
        }).ConfigureAwait(false);
        await reader.WriteJsonAsync(call, endpoint, 200, answer.Json, format).ConfigureAwait(false);
    }

    private static ApiStatusException Conflict(string name, string why) => ApiStatus.Conflict("", "pods/binding", name, why).ToException();
}
