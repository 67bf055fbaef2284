using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Finds the parameters that a binding gives to its policy.</summary>
internal sealed class PolicyParams(ResourceCatalog catalog)
{
    /// <summary>The parameters; one undefined node when the policy takes none. The caller disposes the documents.</summary>
    /// <exception cref="PolicyConfigurationException">There are none where there must be, or they cannot be looked for.</exception>
    internal List<ApiObject?> Collect((string ApiVersion, string Kind)? kind, ParamReference? reference, string requestNamespace)
    {
        if (kind is null || reference is null)
            return [null];
        var storage = Find(kind.Value);
        var ns = "";
        if (storage.Info.Namespaced)
        {
            ns = reference.Namespace.Length > 0 ? reference.Namespace : requestNamespace;
            if (ns.Length == 0)
                throw new PolicyConfigurationException("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
        }
        else if (reference.Namespace.Length > 0)
        {
            throw new PolicyConfigurationException("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
        }
        var found = new List<ApiObject?>();
        if (reference.Name.Length > 0)
        {
            using var stored = storage.Get(ns, reference.Name);
            if (stored is not null)
                found.Add(Shown(storage, storage.Decode(stored), kind.Value));
        }
        else if (reference.Selector is { } selector)
        {
            foreach (var stored in storage.All(ns))
            {
                var document = storage.Decode(stored);
                if (selector.Matches(document.Root["metadata"u8]["labels"u8]))
                    found.Add(Shown(storage, document, kind.Value));
                else
                    document.Dispose();
            }
        }
        if (found.Count == 0 && reference.DeniesWhenMissing)
            throw new PolicyConfigurationException("no params found for policy binding with `Deny` parameterNotFoundAction");
        return found;
    }

    /// <summary>Refuses a kind that nobody serves.</summary>
    internal void Check((string ApiVersion, string Kind)? kind)
    {
        if (kind is { } wanted)
            Find(wanted);
    }

    private ResourceStorage Find((string ApiVersion, string Kind) kind)
    {
        foreach (var endpoint in catalog.Endpoints)
        {
            if (endpoint.Storage is not null && endpoint.Info.Kind == kind.Kind && endpoint.Info.ApiVersion == kind.ApiVersion)
                return endpoint.Storage;
        }
        var version = kind.ApiVersion.Contains('/', StringComparison.Ordinal) ? kind.ApiVersion : "/" + kind.ApiVersion;
        throw new PolicyConfigurationException($"failed to find resource referenced by paramKind: '{version}, Kind={kind.Kind}'");
    }

    private ApiObject Shown(ResourceStorage storage, ApiObject document, (string ApiVersion, string Kind) kind)
    {
        var version = catalog.Endpoints.First(endpoint => endpoint.Info.Kind == kind.Kind && endpoint.Info.ApiVersion == kind.ApiVersion).Info;
        VersionConversion.Convert(document.Root, storage.Info, version);
        return document;
    }
}

/// <summary>A policy or binding cannot be put to work; its failure policy says what that means.</summary>
internal sealed class PolicyConfigurationException(string why) : Exception(why);
