using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

internal sealed partial class ResourceWriter
{
    /// <summary>Server-side apply: creates what is not there, merges into what is.</summary>
    private async ValueTask ApplyAsync(
        ApiCall call, ResourceEndpoint endpoint, string subresource, PooledBuffer body, WriteOptions options, ResponseFormat format)
    {
        var storage = endpoint.Storage!;
        using var config = ApplyBody.Decode(body.Span);
        // What the configuration's owner is, the merge notes itself.
        var context = ContextOf(call, call.Info.NameText, options.IsDryRun);
        var hasWarned = false;
        while (true)
        {
            using (var existing = storage.Get(context.Namespace, context.Name))
            {
                if (existing is null && subresource.Length > 0)
                    throw ApiStatus.NotFound(storage.Info.Group, storage.Info.Resource, context.Name).ToException();
                if (existing is null)
                {
                    using var created = await TryCreateAsync().ConfigureAwait(false);
                    if (created.Json.Length == 0)
                        continue;
                    await reader.WriteJsonAsync(call, endpoint, 201, created.Json, format).ConfigureAwait(false);
                    return;
                }
            }
            try
            {
                using var answer = await writes.UpdateAsync(storage, subresource, context, Merge, isPatch: true).ConfigureAwait(false);
                await reader.WriteJsonAsync(call, endpoint, 200, answer.Json, format).ConfigureAwait(false);
                return;
            }
            catch (ApiStatusException gone) when (gone.Status.Code == 404 && subresource.Length == 0 && gone.Status.Kind == storage.Info.Resource)
            {
                // Deleted in between: created then.
            }
        }

        ApiObject Merge(ApiObject old)
        {
            if (endpoint.IsStorageVersion)
                return Finish(old.Root);
            using var versioned = StorageVersions.Convert(old.Root, storage.Info, endpoint.Info);
            return Finish(versioned.Root);
        }

        ApiObject Finish(ApiNode live)
        {
            var fields = storage.Fields.For(endpoint.Info, subresource);
            var merged = fields.Apply(live, config.Root, options.Manager, options.IsForced, clock.GetUtcNow());
            try
            {
                if (!hasWarned)
                    ApplyBody.CheckStrictly(call, body.Span, options.Validation);
                hasWarned = true;
                CheckAppliedUid(storage.Info, live, merged.Root, context.Name);
                CheckName(merged.Root, context.Name);
                Defaulting.Apply(merged.Root, endpoint.Info);
                VersionConversion.Convert(merged.Root, endpoint.Info, storage.Info);
                return merged;
            }
            catch
            {
                merged.Dispose();
                throw;
            }
        }

        async ValueTask<WriteAnswer> TryCreateAsync()
        {
            using var document = Finish(default);
            document.Root["metadata"u8].Remove("resourceVersion"u8);
            try
            {
                return await writes.CreateAsync(storage, document, context with { Permission = () => DemandCreateAsync(call) }).ConfigureAwait(false);
            }
            catch (ApiStatusException taken) when (taken.Status is { Code: 409, Reason: "AlreadyExists" })
            {
                // Created by somebody else in between: merged into that then.
                return default;
            }
        }
    }

    private static void CheckAppliedUid(ResourceInfo resource, ApiNode live, ApiNode merged, string name)
    {
        var uid = merged["metadata"u8]["uid"u8];
        if (live.IsDefined || uid.Utf8.IsEmpty)
            return;
        throw ApiStatus.Conflict(
            resource.Group, resource.Resource, name,
            $"uid mismatch: the provided object specified uid {uid.AsString()}, and no existing object was found").ToException();
    }
}
