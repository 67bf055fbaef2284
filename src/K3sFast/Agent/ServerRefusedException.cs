namespace K3sFast.Agent;

/// <summary>A server answered, and not with what was asked for.</summary>
/// <param name="statusCode">Its HTTP status.</param>
/// <param name="message">Its words.</param>
internal sealed class ServerRefusedException(int statusCode, string message) : Exception(message)
{
    public int StatusCode { get; } = statusCode;
}
