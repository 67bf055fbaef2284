namespace K3sFast.ApiMachinery;

/// <summary>A refusal on its way to the caller: bad input where the rule is, an answer at the request's boundary. Not logged as an error of ours.</summary>
public sealed class ApiStatusException(ApiStatus status) : Exception(status.Message)
{
    /// <summary>The answer.</summary>
    public ApiStatus Status { get; } = status;
}
