using System.Text;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>Runs objects through the rules as a server does.</summary>
internal static class Rules
{
    /// <summary>The resource named as "pods" or "deployments.apps", in its preferred version.</summary>
    internal static ResourceInfo Resource(string name) => Schema.BuiltIn.Resources.Single(resource => resource.GroupResource == name && resource.IsPreferredVersion && resource.Server == "kube-apiserver");

    /// <summary>Decoded and defaulted.</summary>
    internal static ApiObject Defaulted(string resource, string json)
    {
        var info = Resource(resource);
        var document = JsonCodec.Decode(Encoding.UTF8.GetBytes(json), info.Type, DecodeOptions.Default, null);
        Defaulting.Apply(document.Root, info);
        return document;
    }

    /// <summary>Decoded, defaulted and prepared for creation.</summary>
    internal static ApiObject Created(string resource, string json)
    {
        var document = Defaulted(resource, json);
        RestStrategy.PrepareForCreate(document.Root, Resource(resource));
        return document;
    }

    /// <summary>The errors of creating an object, as upstream prints them.</summary>
    internal static string[] CreateErrors(string resource, string json)
    {
        using var document = Created(resource, json);
        return Validation.ValidateCreate(document.Root, Resource(resource)).Select(static error => error.ToString()).ToArray();
    }

    /// <summary>The errors of replacing one object by another.</summary>
    internal static string[] UpdateErrors(string resource, string oldJson, string newJson, string subresource = "")
    {
        using var old = Created(resource, oldJson);
        using var updated = Defaulted(resource, newJson);
        RestStrategy.PrepareForUpdate(updated.Root, old.Root, Resource(resource), subresource);
        return Validation.ValidateUpdate(updated.Root, old.Root, Resource(resource), subresource).Select(static error => error.ToString()).ToArray();
    }
}
