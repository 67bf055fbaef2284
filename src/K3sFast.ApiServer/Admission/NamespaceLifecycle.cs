using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>NamespaceLifecycle: nothing is made in a namespace that does not exist or is going away; the namespaces that the system needs cannot be deleted.</summary>
internal sealed class NamespaceLifecycle(ResourceStorage namespaces) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation == AdmissionOperation.Delete && context.Is("", "namespaces") && context.Name is "default" or "kube-system" or "kube-public")
            throw context.Forbid("this namespace may not be deleted");
        if (context.Namespace.Length == 0 || context.Is("", "namespaces") || context.Operation is AdmissionOperation.Delete or AdmissionOperation.Connect)
            return;
        // Access reviews ask about namespaces that need not exist.
        if (context.Is("authorization.k8s.io", "localsubjectaccessreviews"))
            return;
        using var stored = namespaces.Get("", context.Namespace) ?? throw ApiStatus.NotFound("", "namespaces", context.Namespace).ToException();
        if (!context.IsCreate || !IsTerminating(stored))
            return;
        throw new ApiStatus
        {
            Code = 403,
            Reason = "Forbidden",
            HasDetails = true,
            Group = context.Resource.Group,
            Kind = context.Resource.Resource,
            Name = context.Name,
            Causes = [new StatusCause("NamespaceTerminating", $"namespace {context.Namespace} is being terminated", "metadata.namespace")],
            Message = context.Forbid($"unable to create new content in namespace {context.Namespace} because it is being terminated").Status.Message,
        }.ToException();
    }

    // Hardly any namespace is; the bytes tell before it is decoded.
    private bool IsTerminating(StoredObject stored)
    {
        if (!stored.Json.MayContain("\"deletionTimestamp\":\""u8))
            return false;
        using var document = namespaces.Decode(stored);
        return ObjectText.IsDeleting(document.Root);
    }
}

/// <summary>NamespaceExists: nothing is written or deleted in a namespace that does not exist.</summary>
internal sealed class NamespaceExists(ResourceStorage namespaces) : AdmissionPlugin
{
    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation == AdmissionOperation.Connect || context.Namespace.Length == 0 || context.Is("", "namespaces"))
            return;
        using var stored = namespaces.Get("", context.Namespace) ?? throw ApiStatus.NotFound("", "namespaces", context.Namespace).ToException();
    }
}

/// <summary>NamespaceAutoProvision: who creates something in a namespace creates the namespace.</summary>
internal sealed class NamespaceAutoProvision(ResourceStorage namespaces, Func<WriteFlow> writes) : AdmissionPlugin
{
    internal override async ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (!context.IsCreate || context.IsDryRun || context.Namespace.Length == 0 || context.Is("", "namespaces"))
            return;
        using (var stored = namespaces.Get("", context.Namespace))
        {
            if (stored is not null)
                return;
        }
        using var document = new ApiObject();
        document.Root.Set("kind"u8, "Namespace"u8);
        document.Root.Set("apiVersion"u8, "v1"u8);
        document.Root.GetOrAddObject("metadata"u8).Set("name"u8, context.Namespace);
        try
        {
            Defaulting.Apply(document.Root, namespaces.Info);
            using var made = await writes().CreateAsync(
                namespaces, document, new WriteContext(UserInfo.ApiServer, "", context.Namespace, false, cancel)).ConfigureAwait(false);
        }
        catch (ApiStatusException refused) when (refused.Status.Reason == "AlreadyExists")
        {
            // Somebody else was faster: it is there, which is all that is wanted.
        }
        catch (ApiStatusException refused)
        {
            throw context.Forbid(refused.Status.Message);
        }
    }
}
