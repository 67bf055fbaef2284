namespace K3sFast.ApiMachinery;

/// <summary>The versions of one kind, for managers whose fields are meant in another version than the request's.</summary>
public interface IObjectVersions
{
    /// <summary>The schema of that version; null when it is not served (its managers are forgotten).</summary>
    TypeSchema? TypeOf(string apiVersion);

    /// <summary>The object in another version, canonical, in a document of its own; both versions are known.</summary>
    ApiObject Convert(ApiNode obj, string fromApiVersion, string toApiVersion);
}

/// <summary>A kind with one version.</summary>
public sealed class SingleVersion(TypeSchema type) : IObjectVersions
{
    /// <inheritdoc/>
    public TypeSchema? TypeOf(string apiVersion) => apiVersion == type.ApiVersion ? type : null;

    /// <inheritdoc/>
    public ApiObject Convert(ApiNode obj, string fromApiVersion, string toApiVersion)
    {
        var copy = ApiObject.Rent();
        copy.ReplaceRoot(obj);
        return copy;
    }
}
