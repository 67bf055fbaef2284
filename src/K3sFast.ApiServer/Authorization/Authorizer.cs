using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The authorizers in order: system:masters, then nodes, then RBAC.</summary>
/// <remarks>Any thread. A remembered RBAC decision allocates nothing.</remarks>
internal sealed class Authorizer(RbacPolicy rbac, NodeAuthorizer nodes)
{
    internal bool Allows(in AuthorizationAttributes attributes, out string reason)
    {
        reason = "";
        if (attributes.User.IsMaster)
            return true;
        if (NodeAuthorizer.NodeNameOf(attributes.User) is not { } node)
            return rbac.Allows(attributes, out reason);
        if (nodes.Allows(attributes, node, out var nodeReason) || rbac.Allows(attributes, out reason))
            return true;
        reason = reason.Length == 0 ? nodeReason : nodeReason.Length == 0 ? reason : $"{nodeReason}\n{reason}";
        return false;
    }

    /// <summary>Refuses with 403 and upstream's words unless it is allowed.</summary>
    internal void Demand(in AuthorizationAttributes attributes)
    {
        if (!Allows(attributes, out var reason))
            throw Refusal(attributes, reason);
    }

    private static ApiStatusException Refusal(in AuthorizationAttributes attributes, string reason)
    {
        var why = attributes.Describe();
        if (reason.Length > 0)
            why = $"{why}: {reason}";
        return ApiStatus.Forbidden(
            System.Text.Encoding.UTF8.GetString(attributes.Group), System.Text.Encoding.UTF8.GetString(attributes.Resource),
            System.Text.Encoding.UTF8.GetString(attributes.Name), why).ToException();
    }
}
