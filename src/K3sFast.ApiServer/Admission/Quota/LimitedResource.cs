using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>A resource that nobody uses without a quota that covers it (limitedResources of the ResourceQuota plugin's configuration).</summary>
internal sealed record LimitedResource(string Group, string Resource, IReadOnlyList<string> MatchContains, IReadOnlyList<QuotaScope> MatchScopes)
{
    /// <summary>Reads the plugin's configuration; undefined limits nothing.</summary>
    /// <exception cref="ApiServerStartException">Not that kind, or a resource without name.</exception>
    internal static List<LimitedResource> Read(ApiNode configuration)
    {
        var limited = new List<LimitedResource>();
        if (!configuration.IsDefined)
            return limited;
        if (configuration["kind"u8].Equals("ResourceQuotaConfiguration"u8))
        {
            AdmissionConfiguration.CheckKind(configuration, "ResourceQuota", "ResourceQuotaConfiguration", "apiserver.config.k8s.io/v1");
        }
        else
        {
            AdmissionConfiguration.CheckKind(
                configuration, "ResourceQuota", "Configuration", "resourcequota.admission.k8s.io/v1beta1", "resourcequota.admission.k8s.io/v1alpha1");
        }
        var errors = new FieldErrorList();
        foreach (var element in configuration["limitedResources"u8].Elements)
        {
            if (element["resource"u8].Utf8.IsEmpty)
                errors.Required($"limitedResources[{limited.Count}].resource");
            var contains = new List<string>();
            foreach (var text in element["matchContains"u8].Elements)
                contains.Add(text.AsString());
            var scopes = new List<QuotaScope>();
            QuotaScope.Read(element["matchScopes"u8], scopes);
            limited.Add(new LimitedResource(element["apiGroup"u8].AsString(), element["resource"u8].AsString(), contains, scopes));
        }
        return errors.Count == 0 ? limited : throw new ApiServerStartException($"ResourceQuota: {errors}");
    }
}
