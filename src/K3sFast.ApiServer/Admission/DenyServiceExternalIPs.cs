using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>DenyServiceExternalIPs: a Service may keep the external addresses that it has, and get no new ones.</summary>
internal sealed class DenyServiceExternalIPs : AdmissionPlugin
{
    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation is not (AdmissionOperation.Create or AdmissionOperation.Update) || context.Subresource.Length > 0 || !context.Is("", "services"))
            return;
        foreach (var address in context.Object["spec"u8]["externalIPs"u8].Elements)
        {
            if (!IsKnown(context.OldObject["spec"u8]["externalIPs"u8], address))
                throw context.Forbid("Use of external IPs is denied by admission control");
        }
    }

    private static bool IsKnown(ApiNode addresses, ApiNode address)
    {
        foreach (var known in addresses.Elements)
        {
            if (known.DeepEquals(address))
                return true;
        }
        return false;
    }
}

/// <summary>AlwaysDeny: for tests of clients.</summary>
internal sealed class AlwaysDeny : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context) => throw context.Forbid("admission control is denying all modifications");
}
