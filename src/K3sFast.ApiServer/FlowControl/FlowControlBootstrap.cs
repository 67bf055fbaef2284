using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Writes the flow schemas and priority levels that every cluster has, and keeps them as upstream does: a mandatory object's spec is always put back; a
/// suggested one's as long as its annotation apf.kubernetes.io/autoupdate-spec says so, or, without a word, nobody has changed it; annotated objects that are no
/// longer suggested are deleted.
/// </summary>
internal sealed class FlowControlBootstrap(ResourceCatalog catalog, WriteFlow writes, DeleteFlow deletes, TimeProvider clock, ILogger logger)
{
    private const string Group = "flowcontrol.apiserver.k8s.io";

    private static readonly TimeSpan s_period = TimeSpan.FromMinutes(1);

    private static ReadOnlySpan<byte> Annotation => "apf.kubernetes.io/autoupdate-spec"u8;

    internal async Task EnsureAsync(CancellationToken cancel)
    {
        // All at once: writes that arrive together are committed together, and none of these looks at another.
        await Task.WhenAll(FlowControlDefaults.All.Select(wanted => EnsureAsync(wanted, cancel))).ConfigureAwait(false);
        await RemoveUnwantedAsync(FlowControlDefaults.Schemas, cancel).ConfigureAwait(false);
        await RemoveUnwantedAsync(FlowControlDefaults.Levels, cancel).ConfigureAwait(false);
    }

    internal async Task FollowAsync(CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(s_period, clock, cancel).ConfigureAwait(false);
                await EnsureAsync(cancel).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                return;
            }
            catch (Exception error)
            {
                Log.BackgroundFailed(logger, "keeping the flow schemas and priority levels", error.Message);
            }
        }
    }

    private async Task EnsureAsync(FlowControlDefault wanted, CancellationToken cancel)
    {
        var storage = catalog.Storage(Group, wanted.Resource);
        var context = new WriteContext(UserInfo.ApiServer, "", wanted.Name, false, cancel);
        using var bootstrap = Make(storage, wanted);
        using (var stored = storage.Get("", wanted.Name))
        {
            if (stored is null)
            {
                await CreateAsync(storage, bootstrap, context).ConfigureAwait(false);
                return;
            }
            using var current = storage.Decode(stored);
            if (!NeedsUpdate(current.Root, bootstrap.Root, wanted.IsMandatory, out _, out _))
                return;
        }
        try
        {
            using var answer = await writes.UpdateAsync(storage, "", context, old =>
            {
                var revised = old.Clone();
                NeedsUpdate(revised.Root, bootstrap.Root, wanted.IsMandatory, out var isSpecChanged, out var keeps);
                if (isSpecChanged)
                    revised.Root.Set("spec"u8, bootstrap.Root["spec"u8]);
                revised.Root.GetOrAddObject("metadata"u8).GetOrAddObject("annotations"u8).Set(Annotation, keeps ? "true"u8 : "false"u8);
                return revised;
            }, isPatch: true).ConfigureAwait(false);
        }
        catch (ApiStatusException refused) when (refused.Status.Code is 404 or 409)
        {
            // Somebody else writes it right now: looked at again in a minute.
        }
    }

    private async Task CreateAsync(ResourceStorage storage, ApiObject bootstrap, WriteContext context)
    {
        try
        {
            using var created = await writes.CreateAsync(storage, bootstrap, context).ConfigureAwait(false);
        }
        catch (ApiStatusException taken) when (taken.Status.Reason == "AlreadyExists")
        {
            // Another server of the cluster has just made it.
        }
    }

    private static bool NeedsUpdate(ApiNode current, ApiNode bootstrap, bool isMandatory, out bool isSpecChanged, out bool keepsSpec)
    {
        var annotated = ParseBool(current["metadata"u8]["annotations"u8][Annotation].AsString());
        // Without a word, an object that nobody has changed since its creation is still ours.
        keepsSpec = isMandatory || (annotated ?? current["metadata"u8]["generation"u8].AsInt64() == 1);
        isSpecChanged = keepsSpec && !current["spec"u8].DeepEquals(bootstrap["spec"u8]);
        return isSpecChanged || annotated != keepsSpec;
    }

    private async Task RemoveUnwantedAsync(string resource, CancellationToken cancel)
    {
        var storage = catalog.Storage(Group, resource);
        var unwanted = new List<string>();
        foreach (var stored in storage.All(null))
        {
            var name = stored.Name();
            if (FlowControlDefaults.All.Any(wanted => wanted.Resource == resource && wanted.Name == name))
                continue;
            using var document = storage.Decode(stored);
            if (ParseBool(document.Root["metadata"u8]["annotations"u8][Annotation].AsString()) == true)
                unwanted.Add(name);
        }
        foreach (var name in unwanted)
        {
            try
            {
                using var gone = await deletes.DeleteAsync(storage, new WriteContext(UserInfo.ApiServer, "", name, false, cancel), new DeleteOptions()).ConfigureAwait(false);
            }
            catch (ApiStatusException refused) when (refused.Status.Code is 404 or 409)
            {
                // Gone already, or changed: looked at again in a minute.
            }
        }
    }

    private static ApiObject Make(ResourceStorage storage, FlowControlDefault wanted)
    {
        var document = new ApiObject();
        var root = document.Root;
        root.Set("kind"u8, storage.Info.KindUtf8);
        root.Set("apiVersion"u8, storage.Info.ApiVersionUtf8);
        var metadata = root.GetOrAddObject("metadata"u8);
        metadata.Set("name"u8, wanted.Name);
        metadata.GetOrAddObject("annotations"u8).Set(Annotation, "true"u8);
        using var spec = wanted.DecodeSpec();
        root.Set("spec"u8, spec.Root);
        Defaulting.Apply(root, storage.Info);
        return document;
    }

    // strconv.ParseBool; null = it is none.
    private static bool? ParseBool(string text) => text switch
    {
        "1" or "t" or "T" or "true" or "TRUE" or "True" => true,
        "0" or "f" or "F" or "false" or "FALSE" or "False" => false,
        _ => null,
    };
}
