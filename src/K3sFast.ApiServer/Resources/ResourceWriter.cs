using System.Runtime.CompilerServices;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>POST, PUT, PATCH and DELETE of whole objects: body in, write flow, object out, in the endpoint's version.</summary>
internal sealed partial class ResourceWriter(
    WriteFlow writes, DeleteFlow deletes, ObjectReader reader, Authorizer authorizer, TimeProvider clock, int maxBodyBytes, int collectionDeleters)
{
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    internal async ValueTask CreateAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var storage = endpoint.Storage!;
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        var options = WriteOptions.Read(call, "CreateOptions");
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        using var document = Decode(call, body, endpoint, options.Validation);
        var context = ContextOf(call, endpoint, "", ObjectText.NameOf(document.Root), options);
        using var answer = await writes.CreateAsync(storage, document, context).ConfigureAwait(false);
        await reader.WriteJsonAsync(call, endpoint, 201, answer.Json, format).ConfigureAwait(false);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    internal async ValueTask UpdateAsync(ApiCall call, ResourceEndpoint endpoint, string subresource)
    {
        var storage = endpoint.Storage!;
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        var options = WriteOptions.Read(call, "UpdateOptions");
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        using var document = Decode(call, body, endpoint, options.Validation);
        var name = call.Info.NameText;
        WriteFlow.CheckNamespace(storage.Info, document.Root.GetOrAddObject("metadata"u8), call.Info.NamespaceText);
        CheckName(document.Root, name);
        var context = ContextOf(call, endpoint, subresource, name, options);
        if (subresource.Length == 0 && RestStrategy.AllowCreateOnUpdate(storage.Info))
        {
            using var existing = storage.Get(context.Namespace, name);
            if (existing is null)
            {
                document.Root["metadata"u8].Remove("resourceVersion"u8);
                using var created = await writes.CreateAsync(storage, document, context with { Permission = () => DemandCreateAsync(call) }).ConfigureAwait(false);
                await reader.WriteJsonAsync(call, endpoint, 201, created.Json, format).ConfigureAwait(false);
                return;
            }
        }
        using var answer = await writes.UpdateAsync(storage, subresource, context, _ => document.Clone()).ConfigureAwait(false);
        await reader.WriteJsonAsync(call, endpoint, 200, answer.Json, format).ConfigureAwait(false);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    internal async ValueTask PatchAsync(ApiCall call, ResourceEndpoint endpoint, string subresource)
    {
        var storage = endpoint.Storage!;
        var kind = PatchApplier.KindOf(call.ContentType);
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        using var patch = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        var options = WriteOptions.ReadPatch(call, kind);
        if (kind == PatchKind.Apply)
        {
            await ApplyAsync(call, endpoint, subresource, patch, options, format).ConfigureAwait(false);
            return;
        }
        var context = ContextOf(call, endpoint, subresource, call.Info.NameText, options);
        var validation = options.Validation;
        using var answer = await writes.UpdateAsync(storage, subresource, context, old =>
        {
            using var versioned = old.Clone();
            VersionConversion.Convert(versioned.Root, storage.Info, endpoint.Info);
            var patched = PatchApplier.Apply(call, versioned, kind, patch.Span, endpoint.Info.Type, validation);
            // A patch that is tried again warns once.
            validation = validation == FieldValidation.Warn ? FieldValidation.Ignore : validation;
            CheckName(patched.Root, context.Name);
            Defaulting.Apply(patched.Root, endpoint.Info);
            VersionConversion.Convert(patched.Root, endpoint.Info, storage.Info);
            return patched;
        }, isPatch: true).ConfigureAwait(false);
        await reader.WriteJsonAsync(call, endpoint, 200, answer.Json, format).ConfigureAwait(false);
    }

    internal async ValueTask DeleteAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var storage = endpoint.Storage!;
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        var options = DeleteOptions.Read(call, body.Span);
        WarnOfOrphans(call, storage.Info, options);
        var name = call.Info.NameText;
        using var answer = await deletes.DeleteAsync(storage, ContextOf(call, name, options.IsDryRun), options).ConfigureAwait(false);
        if (answer.IsDeleted && !DeleteFlow.ReturnsObject(storage.Info))
        {
            await ResponseWriter.WriteStatusAsync(call, DeletedStatus(endpoint.Info, answer.Json, name)).ConfigureAwait(false);
            return;
        }
        // Only who says it the long deprecated way is told that the object is still there.
        var statusCode = !answer.IsDeleted && options.DeniesOrphans ? 202 : 200;
        await reader.WriteJsonAsync(call, endpoint, statusCode, answer.Json, format).ConfigureAwait(false);
    }

    internal async ValueTask DeleteCollectionAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var storage = endpoint.Storage!;
        var format = ResponseFormat.Negotiate(call, allowsProjection: true, isList: true);
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        var options = DeleteOptions.Read(call, body.Span);
        WarnOfOrphans(call, storage.Info, options);
        var query = ListQuery.Read(call, endpoint, isWatch: false);
        var prefix = storage.PrefixOf(call.Info.Namespace);
        using var snapshot = await query.OpenSnapshotAsync(storage, prefix, call.Aborted).ConfigureAwait(false);
        var page = await Page.OfAsync(snapshot, prefix, query, call.Aborted).ConfigureAwait(false);
        // Deletions that wait for the same flush share it; after a refusal none begins.
        await Parallel.ForEachAsync(
            await page.TargetsAsync(snapshot, query.Filter, call.Aborted).ConfigureAwait(false),
            new ParallelOptions { MaxDegreeOfParallelism = collectionDeleters, CancellationToken = call.Aborted },
            async (target, _) =>
            {
                try
                {
                    var context = ContextOf(call, target.Name, options.IsDryRun) with { Namespace = target.Namespace };
                    using var answer = await deletes.DeleteAsync(storage, context, options).ConfigureAwait(false);
                }
                catch (ApiStatusException refused) when (refused.Status.Code == 404)
                {
                    // Somebody else was faster: it is gone, which is what was asked for.
                }
            }).ConfigureAwait(false);
        // What was there, as it was.
        await reader.WriteListAsync(call, endpoint, format, snapshot, query, page).ConfigureAwait(false);
    }

    // Jobs leave their pods behind unless told otherwise, which hardly anybody means.
    private static void WarnOfOrphans(ApiCall call, ResourceInfo resource, DeleteOptions options)
    {
        if (resource is { Group: "batch", Resource: "jobs" } && options.Propagation.Length == 0)
            call.AddWarning("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
    }

    internal static WriteContext ContextOf(ApiCall call, string name, bool isDryRun) =>
        new(call.User, call.Info.NamespaceText, name, isDryRun, call.Aborted) { Call = call };

    private WriteContext ContextOf(ApiCall call, ResourceEndpoint endpoint, string subresource, string name, in WriteOptions options) =>
        ContextOf(call, name, options.IsDryRun) with { Owner = FieldOwner.Of(endpoint, subresource, options.Manager, clock) };

    // Who creates by another verb needs the permission to create as well.
    private ValueTask DemandCreateAsync(ApiCall call) => authorizer.DemandAsync(AuthorizationAttributes.Of(call.Info, call.User, Verb.Create), call);

    // The body in the endpoint's version, defaulted there, then in the storage version.
    private static ApiObject Decode(ApiCall call, PooledBuffer body, ResourceEndpoint endpoint, FieldValidation validation)
    {
        var document = BodyDecoder.Decode(call, body.Span, endpoint.Info.Type, validation);
        try
        {
            Defaulting.Apply(document.Root, endpoint.Info);
            call.Audit?.SetRequestObject(document.Root);
            VersionConversion.Convert(document.Root, endpoint.Info, endpoint.Storage!.Info);
            return document;
        }
        catch
        {
            document.Dispose();
            throw;
        }
    }

    /// <summary>A body names the object that the path names.</summary>
    internal static void CheckName(ApiNode obj, string name)
    {
        var given = ObjectText.NameOf(obj);
        if (given.Length == 0)
            throw ApiStatus.BadRequest($"the name of the object ({name} based on URL) was undeterminable: name must be provided").ToException();
        if (given != name)
            throw ApiStatus.BadRequest($"the name of the object ({given}) does not match the name on the URL ({name})").ToException();
    }

    private static ApiStatus DeletedStatus(ResourceInfo resource, StoredBytes json, string name)
    {
        using var text = json.Rent();
        using var document = JsonCodec.Decode(text.Span, null, DecodeOptions.Free, null);
        return ApiStatus.Deleted(resource.Group, resource.Resource, name, document.Root["metadata"u8]["uid"u8].AsString());
    }
}
