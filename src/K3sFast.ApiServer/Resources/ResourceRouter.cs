using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Resource requests to their handlers, by verb and subresource. What nobody handles gets upstream's 404 or 405.</summary>
internal sealed class ResourceRouter(
    ResourceCatalog catalog, ObjectReader reader, ObjectWatcher watcher, ResourceWriter writer, SubresourceHandlers subresources, ReviewHandlers reviews,
    RequestMetrics metrics)
{
    internal ValueTask RouteAsync(ApiCall call)
    {
        var info = call.Info;
        if (info.IsMalformed)
            throw ApiStatus.BadRequest($"unable to determine kind and namespace from url, {Encoding.UTF8.GetString(info.Path)}").ToException();
        var endpoint = catalog.Find(info);
        if (endpoint is null)
        {
            if (catalog.HasGroup(info.Group))
                throw ApiStatus.NotFoundPath().ToException();
            return ResponseWriter.WriteTextAsync(call, 404, "404 page not found\n");
        }
        // Nothing but a proxy has a path behind its subresource, and nothing has one behind an empty word.
        if (info.Rest.ContainsAnyExcept((byte)'/') && !info.Subresource.SequenceEqual("proxy"u8))
            throw ApiStatus.NotFoundPath().ToException();
        call.Served = endpoint.Info;
        if (RequestMetrics.IsLongRunning(info))
            metrics.BeginLongRunning(call);
        if (endpoint.Info.Resource == "endpoints")
            call.AddWarning("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
        // A namespaced resource has a namespace in its path wherever one object is meant, a cluster-wide one never.
        if (!endpoint.Info.Namespaced && !info.Namespace.IsEmpty && (endpoint.Info.Resource != "namespaces" || !info.Namespace.SequenceEqual(info.Name)))
            throw ApiStatus.NotFoundPath().ToException();
        var isProxy = info.Subresource.SequenceEqual("proxy"u8);
        // The verb in the path, /api/v1/proxy/…, has been gone for long.
        if (info.Verb == Verb.Proxy)
            throw ApiStatus.NotFoundPath().ToException();
        if (call.Method == "HEAD" && !isProxy)
            throw MethodNotAllowed();
        CheckSegments(info);
        // A write is decided by what is there: on any server. Reads know themselves how fresh they must be.
        if (endpoint.Storage is { } storage && info.Verb is not (Verb.Get or Verb.List or Verb.Watch) && storage.FreshenAsync(call.Aborted) is { IsCompletedSuccessfully: false } fresh)
            return RouteFreshAsync(fresh, call, endpoint);
        return RouteVerb(call, endpoint);
    }

    private async ValueTask RouteFreshAsync(ValueTask fresh, ApiCall call, ResourceEndpoint endpoint)
    {
        await fresh.ConfigureAwait(false);
        await RouteVerb(call, endpoint).ConfigureAwait(false);
    }

    private ValueTask RouteVerb(ApiCall call, ResourceEndpoint endpoint)
    {
        var info = call.Info;
        if (endpoint.Storage is null || !info.Subresource.IsEmpty)
            return RouteSubresourceAsync(call, endpoint);
        if (endpoint.Info.Namespaced && info.Namespace.IsEmpty && info.Verb is not (Verb.List or Verb.Watch))
            return info.Verb == Verb.DeleteCollection || info.Name.IsEmpty ? throw MethodNotAllowed() : throw ApiStatus.NotFoundPath().ToException();

        switch (info.Verb)
        {
            case Verb.Get when endpoint.HasVerb("get"): return reader.GetAsync(call, endpoint);
            case Verb.List when endpoint.HasVerb("list"): return reader.ListAsync(call, endpoint);
            case Verb.Watch when endpoint.HasVerb("watch"): return watcher.WatchAsync(call, endpoint);
            case Verb.Create when endpoint.HasVerb("create") && info.Name.IsEmpty: return writer.CreateAsync(call, endpoint);
            case Verb.Update when endpoint.HasVerb("update") && !info.Name.IsEmpty: return writer.UpdateAsync(call, endpoint, "");
            case Verb.Patch when endpoint.HasVerb("patch") && !info.Name.IsEmpty: return writer.PatchAsync(call, endpoint, "");
            case Verb.Delete when endpoint.HasVerb("delete"): return writer.DeleteAsync(call, endpoint);
            case Verb.DeleteCollection when endpoint.HasVerb("deletecollection"): return writer.DeleteCollectionAsync(call, endpoint);
            default: throw MethodNotAllowed();
        }
    }

    // Names that would climb or split the store's keys.
    private static void CheckSegments(in RequestInfo info)
    {
        if (info.Namespace.SequenceEqual("."u8) || info.Namespace.SequenceEqual(".."u8))
            throw ApiStatus.Unknown($"invalid key: \"/{Encoding.UTF8.GetString(info.Resource)}/{info.NamespaceText}\"").ToException();
        if (info.Name.SequenceEqual("."u8) || info.Name.SequenceEqual(".."u8))
            throw ApiStatus.BadRequest($"Name parameter invalid: {GoText.Quote(info.Name)}: may not be '{info.NameText}'").ToException();
        if (info.Name.Contains((byte)'%'))
            throw ApiStatus.BadRequest($"Name parameter invalid: {GoText.Quote(info.Name)}: may not contain '%'").ToException();
    }

    /// <summary>405 as upstream's router words it.</summary>
    internal static ApiStatusException MethodNotAllowed() => new ApiStatus
    {
        Code = 405, Reason = "MethodNotAllowed", HasDetails = true, Message = "the server does not allow this method on the requested resource",
    }.ToException();

    private ValueTask RouteSubresourceAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var info = call.Info;
        if (endpoint.Storage is null)
        {
            // Questions have no names; component statuses do.
            if (!info.Name.IsEmpty && endpoint.Info.Resource != "componentstatuses")
                throw ApiStatus.NotFoundPath().ToException();
            return reviews.RouteAsync(call, endpoint);
        }
        var name = Encoding.UTF8.GetString(info.Subresource);
        var subresource = endpoint.Info.FindSubresource(name) ?? throw ApiStatus.NotFoundPath().ToException();
        if (name == "status" && info.Verb is Verb.Get or Verb.Update or Verb.Patch)
        {
            if (Array.IndexOf(subresource.Verbs, info.Verb.Text()) < 0)
                throw MethodNotAllowed();
            return info.Verb switch
            {
                Verb.Get => reader.GetAsync(call, endpoint),
                Verb.Update => writer.UpdateAsync(call, endpoint, name),
                _ => writer.PatchAsync(call, endpoint, name),
            };
        }
        return subresources.RouteAsync(call, endpoint, subresource);
    }
}
