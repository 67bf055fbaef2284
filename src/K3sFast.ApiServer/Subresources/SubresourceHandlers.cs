using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Subresources other than status: each does one thing of its own to its object.</summary>
internal sealed class SubresourceHandlers(
    WriteFlow writes, DeleteFlow deletes, ObjectReader reader, ResourceWriter writer, PodBinding bindings, PodEviction evictions, TokenRequests tokens,
    ScaleHandler scales, StreamRouter streams, int maxBodyBytes)
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
                return bindings.BindAsync(call, endpoint, endpoint.Info, "binding");
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

    // spec.finalizers is the only thing that changes; the last one takes a deleted namespace away.
    private async ValueTask FinalizeAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        var options = WriteOptions.Read(call, "UpdateOptions");
        using var document = BodyDecoder.Decode(call, body.Span, endpoint.Info.Type, options.Validation);
        var name = call.Info.NameText;
        ResourceWriter.CheckName(document.Root, name);
        var context = ResourceWriter.ContextOf(call, name, options.IsDryRun) with
        {
            Namespace = "", Owner = FieldOwner.Of(endpoint, "finalize", options.Manager, TimeProvider.System),
        };
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

}
