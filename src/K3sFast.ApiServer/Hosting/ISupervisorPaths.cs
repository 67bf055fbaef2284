namespace K3sFast.ApiServer;

/// <summary>
/// Paths beside the API that whoever runs the server answers on the same port: how nodes join. They are asked before anything of the API, and who
/// may is the answerer's decision.
/// </summary>
/// <remarks>Any thread.</remarks>
public interface ISupervisorPaths
{
    /// <summary>True when the path is not the API's.</summary>
    bool Owns(ReadOnlySpan<byte> path);

    /// <summary>Answers one request.</summary>
    ValueTask<SupervisorAnswer> AnswerAsync(SupervisorRequest request, CancellationToken cancellationToken);
}

/// <summary>A request for one of the supervisor's paths.</summary>
/// <param name="Method">GET, POST, ...</param>
/// <param name="Path">Without the query.</param>
/// <param name="User">Whom the API's authenticators know by certificate or bearer token; null = nobody.</param>
/// <param name="Authorization">The Authorization header, for what those do not know.</param>
/// <param name="RemoteAddress">Where the request came from.</param>
/// <param name="Body">The whole body, at most 64 KB.</param>
/// <param name="Header">A header by name; null = it was not sent.</param>
public sealed record SupervisorRequest(
    string Method, string Path, UserInfo? User, string? Authorization, System.Net.IPAddress RemoteAddress, ReadOnlyMemory<byte> Body, Func<string, string?> Header);

/// <summary>What is answered.</summary>
public sealed record SupervisorAnswer(int StatusCode, string ContentType, ReadOnlyMemory<byte> Body);
