using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Tokens that a node asks for: for a pod that runs on it, and for audiences that the pod's volumes (or the drivers of its volumes) ask for, or that the node is
/// allowed to ask for by the verb request-serviceaccounts-token-audience.
/// </summary>
internal sealed class NodeTokenRules(ResourceCatalog catalog, Authorizer authorizer)
{
    private readonly ResourceStorage _pods = catalog.Storage("", "pods");
    private readonly ResourceStorage _claims = catalog.Storage("", "persistentvolumeclaims");
    private readonly ResourceStorage _volumes = catalog.Storage("", "persistentvolumes");
    private readonly ResourceStorage _drivers = catalog.Storage("storage.k8s.io", "csidrivers");

    internal async ValueTask CheckAsync(AdmissionContext context, string node, CancellationToken cancel)
    {
        var reference = context.Object["spec"u8]["boundObjectRef"u8];
        if (!reference["apiVersion"u8].Equals("v1"u8) || !reference["kind"u8].Equals("Pod"u8) || reference["name"u8].Utf8.IsEmpty)
            throw context.Forbid("node requested token not bound to a pod");
        var uid = reference["uid"u8].AsString();
        if (uid.Length == 0)
            throw context.Forbid("node requested token with a pod binding without a uid");
        var name = reference["name"u8].AsString();
        using var stored = _pods.Get(context.Namespace, name) ?? throw ApiStatus.NotFound("", "pods", name).ToException();
        if (stored.Uid() != uid)
            throw context.Forbid($"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated");
        using var pod = _pods.Decode(stored);
        if (pod.Root["spec"u8]["nodeName"u8].AsString() != node)
            throw context.Forbid("node requested token bound to a pod scheduled on a different node");
        await CheckAudienceAsync(context, pod.Root, cancel).ConfigureAwait(false);
    }

    private async ValueTask CheckAudienceAsync(AdmissionContext context, ApiNode pod, CancellationToken cancel)
    {
        var audiences = context.Object["spec"u8]["audiences"u8];
        var wanted = AudienceOf(context, audiences);
        var errors = new List<string>();
        if (Mentions(pod, wanted, errors))
            return;
        if (errors.Count > 0)
            throw context.Forbid($"error validating audience {GoText.Quote(wanted)}: {(errors.Count == 1 ? errors[0] : $"[{string.Join(", ", errors)}]")}");
        var decision = await authorizer.AuthorizeAsync(new AuthorizationAttributes
        {
            User = context.User,
            Verb = "request-serviceaccounts-token-audience"u8,
            IsResourceRequest = true,
            Version = "v1"u8,
            Resource = Encoding.UTF8.GetBytes(wanted),
            Namespace = Encoding.UTF8.GetBytes(context.Namespace),
            Name = Encoding.UTF8.GetBytes(context.Name),
        }, cancel).ConfigureAwait(false);
        if (!decision.IsAllowed)
            throw context.Forbid($"audience {GoText.Quote(wanted)} not found in pod spec volume, {context.User.Name} is not authorized to request tokens for this audience");
    }

    private static string AudienceOf(AdmissionContext context, ApiNode audiences) => audiences.Count switch
    {
        0 => "",
        1 => audiences[0].AsString(),
        _ => throw context.Forbid("node may only request 0 or 1 audiences"),
    };

    private bool Mentions(ApiNode pod, string audience, List<string> errors)
    {
        var ns = ObjectText.NamespaceOf(pod);
        foreach (var volume in pod["spec"u8]["volumes"u8].Elements)
        {
            foreach (var source in volume["projected"u8]["sources"u8].Elements)
            {
                var token = source["serviceAccountToken"u8];
                if (!token.IsNullOrUndefined && token["audience"u8].AsString() == audience)
                    return true;
            }
            var driver = DriverOf(volume, ns, ObjectText.NameOf(pod), errors);
            if (driver.Length > 0 && DriverWants(driver, audience, errors))
                return true;
        }
        return false;
    }

    private string DriverOf(ApiNode volume, string ns, string pod, List<string> errors)
    {
        if (!volume["csi"u8].IsNullOrUndefined)
            return volume["csi"u8]["driver"u8].AsString();
        var claim = volume["persistentVolumeClaim"u8]["claimName"u8].AsString();
        if (!volume["ephemeral"u8]["volumeClaimTemplate"u8].IsNullOrUndefined)
            claim = $"{pod}-{volume["name"u8].AsString()}";
        if (claim.Length == 0)
            return "";
        using var storedClaim = _claims.Get(ns, claim);
        if (storedClaim is null)
        {
            errors.Add($"persistentvolumeclaim {GoText.Quote(claim)} not found");
            return "";
        }
        using var claimDocument = _claims.Decode(storedClaim);
        var volumeName = claimDocument.Root["spec"u8]["volumeName"u8].AsString();
        using var storedVolume = _volumes.Get("", volumeName);
        if (storedVolume is null)
        {
            errors.Add($"persistentvolume {GoText.Quote(volumeName)} not found");
            return "";
        }
        using var volumeDocument = _volumes.Decode(storedVolume);
        return volumeDocument.Root["spec"u8]["csi"u8]["driver"u8].AsString();
    }

    private bool DriverWants(string name, string audience, List<string> errors)
    {
        using var stored = _drivers.Get("", name);
        if (stored is null)
        {
            errors.Add($"csidriver.storage.k8s.io {GoText.Quote(name)} not found");
            return false;
        }
        using var driver = _drivers.Decode(stored);
        foreach (var request in driver.Root["spec"u8]["tokenRequests"u8].Elements)
        {
            if (request["audience"u8].AsString() == audience)
                return true;
        }
        return false;
    }
}
