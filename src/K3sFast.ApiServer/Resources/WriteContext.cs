using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>What a write needs to know besides the object. Without an owner the object's managedFields are taken as they are.</summary>
internal readonly record struct WriteContext(
    UserInfo User, string Namespace, string Name, bool IsDryRun, CancellationToken Cancel, FieldOwner? Owner = null)
{
    /// <summary>The request that the write belongs to, for warnings and audit; null for the server's own writes.</summary>
    internal ApiCall? Call { get; init; }

    /// <summary>What admission sees where that is not the object itself; null = the object.</summary>
    internal AdmissionForm? Form { get; init; }

    /// <summary>Set by whoever has taken the request through admission already, as a binding or an eviction.</summary>
    internal bool IsAdmitted { get; init; }

    /// <summary>
    /// The permission that is asked for between the fields and validating admission: who creates by PUT or apply needs it besides the one that he came with.
    /// </summary>
    internal Func<ValueTask>? Permission { get; init; }
}

/// <summary>How admission sees the write of a subresource that has a kind of its own.</summary>
/// <param name="Kind">That kind.</param>
/// <param name="Of">Makes one of the stored object; the caller disposes it.</param>
internal sealed record AdmissionForm(TypeSchema Kind, Func<ApiNode, ApiObject> Of);
