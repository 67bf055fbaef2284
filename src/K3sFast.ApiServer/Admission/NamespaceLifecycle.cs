using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Nothing is made in a namespace that does not exist or is going away; the namespaces that the system needs cannot be deleted.</summary>
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
        if (context.Operation != AdmissionOperation.Create)
            return;
        using var document = namespaces.Decode(stored);
        if (!ObjectText.IsDeleting(document.Root))
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
}
