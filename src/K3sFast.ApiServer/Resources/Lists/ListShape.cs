using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>What one client wants of a resource's list, whatever is on it.</summary>
internal readonly record struct ListShape(ResourceEndpoint Endpoint, ResponseFormat Format, IncludeObject Include, DateTimeOffset Now)
{
    /// <summary>JSON as it stands: nothing is made of what is written.</summary>
    internal bool IsCompactJson => Format.Media == MediaKind.Json && !Format.IsPretty;
}
