namespace K3sFast.Kubelet.Containers;

/// <summary>
/// A container cannot be started for a reason that its status shows: <see cref="Reason"/> is the waiting reason (CreateContainerConfigError,
/// ErrImagePull ...), the exception's message the waiting message. <see cref="IsReported"/> says that an event was written already.
/// </summary>
internal sealed class ContainerException(string reason, string message, bool isReported = false) : Exception(message)
{
    public string Reason { get; } = reason;

    public bool IsReported { get; } = isReported;

    public static ContainerException Config(string message) => new("CreateContainerConfigError", message);
}
