using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>One authorizer of the chain: its mode and, for a webhook, how to ask it. Immutable.</summary>
public sealed record AuthorizerSpec
{
    /// <summary>Node, RBAC, Webhook, AlwaysAllow or AlwaysDeny.</summary>
    public required string Type { get; init; }

    /// <summary>The authorizer's name.</summary>
    public string Name { get; init; } = "";

    /// <summary>For a webhook: the kubeconfig file.</summary>
    public string KubeconfigFile { get; init; } = "";

    /// <summary>In which version of authorization.k8s.io it is asked.</summary>
    public string Version { get; init; } = "v1beta1";

    /// <summary>How long it may take.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long "allowed" is remembered; zero = not at all.</summary>
    public TimeSpan AuthorizedTtl { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long everything else is remembered; zero = not at all.</summary>
    public TimeSpan UnauthorizedTtl { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>No answer is a denial; else it is no opinion.</summary>
    public bool DeniesOnFailure { get; init; }

    /// <summary>Which requests it is asked about; null = all.</summary>
    internal AccessConditions? Conditions { get; init; }
}

/// <summary>The file of --authorization-config, read strictly and judged by upstream's rules.</summary>
internal static class AuthorizationConfiguration
{
    internal const string Flag = "authorization-config";

    private static readonly string[] s_types = ["ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];

    /// <exception cref="ApiServerStartException">The file is no such configuration, or says what cannot be.</exception>
    internal static List<AuthorizerSpec> Read(string path, byte[] bytes)
    {
        var errors = new FieldErrorList();
        var chain = ConfigDocument.Read(
            Flag, path, bytes, "AuthorizationConfiguration", ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"],
            root => Read(root, errors));
        if (errors.Count > 0)
            throw new ApiServerStartException($"--{Flag}: {path}: {errors}");
        if (chain.Find(static spec => spec.Type != "Webhook" && spec.Name != spec.Type.ToLowerInvariant()) is { } named)
            throw new ApiServerStartException($"--{Flag}: {path}: expected name {named.Type.ToLowerInvariant()} for authorizer {named.Type} instead of {named.Name}");
        return chain;
    }

    private static List<AuthorizerSpec> Read(ConfigNode root, FieldErrorList errors)
    {
        var chain = new List<AuthorizerSpec>();
        HashSet<string> types = [], names = [];
        var items = root.Objects("authorizers");
        if (items.Count == 0)
            errors.Required("authorizers", "at least one authorization mode must be defined");
        foreach (var item in items)
        {
            string type = item.Text("type"), name = item.Text("name");
            var webhook = item.Object("webhook");
            if (type.Length == 0)
                errors.Required(item.PathOf("type"));
            else if (!s_types.Contains(type))
                errors.NotSupported(item.PathOf("type"), type, s_types);
            else if (!types.Add(type) && type != "Webhook")
                errors.Duplicate(item.PathOf("type"), type);
            if (name.Length == 0)
                errors.Required(item.PathOf("name"));
            else if (!names.Add(name))
                errors.Duplicate(item.PathOf("name"), name);
            if (type == "Webhook" && webhook.IsPresent)
                chain.Add(ReadWebhook(webhook, item.Path, name, errors));
            else if (type == "Webhook")
                errors.Required(item.PathOf("webhook"), "required when type=Webhook");
            else if (webhook.IsPresent)
                errors.Invalid(item.PathOf("webhook"), "non-null", "may only be specified when type=Webhook");
            else
                chain.Add(new AuthorizerSpec { Type = type, Name = name });
            item.Close();
        }
        return chain;
    }

    // Field paths lack the word webhook, as upstream's do.
    private static AuthorizerSpec ReadWebhook(ConfigNode webhook, string path, string name, FieldErrorList errors)
    {
        var timeout = webhook.Duration("timeout");
        if (timeout == default)
            errors.Required($"{path}.timeout");
        else if (timeout > TimeSpan.FromSeconds(30) || timeout < TimeSpan.Zero)
            errors.Invalid($"{path}.timeout", webhook.Text("timeout"), "must be > 0s and <= 30s");
        var authorized = Ttl(webhook, path, "authorizedTTL", TimeSpan.FromMinutes(5), errors);
        var unauthorized = Ttl(webhook, path, "unauthorizedTTL", TimeSpan.FromSeconds(30), errors);
        var version = webhook.Text("subjectAccessReviewVersion");
        if (version.Length == 0)
            errors.Required($"{path}.subjectAccessReviewVersion");
        else if (version is not ("v1" or "v1beta1"))
            errors.NotSupported($"{path}.subjectAccessReviewVersion", version, "v1", "v1beta1");
        var matchVersion = webhook.Text("matchConditionSubjectAccessReviewVersion");
        if (matchVersion is not ("" or "v1"))
            errors.NotSupported($"{path}.matchConditionSubjectAccessReviewVersion", matchVersion, "v1");
        var policy = webhook.Text("failurePolicy");
        if (policy.Length == 0)
            errors.Required($"{path}.failurePolicy");
        else if (policy is not ("NoOpinion" or "Deny"))
            errors.NotSupported($"{path}.failurePolicy", policy, "NoOpinion", "Deny");
        var kubeconfig = ReadConnection(webhook.Object("connectionInfo"), path, errors);
        var conditions = ReadConditions(webhook, path, matchVersion, errors);
        var cachesAuthorized = webhook.Bool("cacheAuthorizedRequests", true);
        var cachesUnauthorized = webhook.Bool("cacheUnauthorizedRequests", true);
        webhook.Close();
        return new AuthorizerSpec
        {
            Type = "Webhook",
            Name = name,
            KubeconfigFile = kubeconfig,
            Version = version,
            Timeout = timeout,
            AuthorizedTtl = cachesAuthorized ? authorized : TimeSpan.Zero,
            UnauthorizedTtl = cachesUnauthorized ? unauthorized : TimeSpan.Zero,
            DeniesOnFailure = policy == "Deny",
            Conditions = conditions,
        };
    }

    private static AccessConditions? ReadConditions(ConfigNode webhook, string path, string version, FieldErrorList errors)
    {
        var conditions = new List<(string, string)>();
        foreach (var condition in webhook.Objects("matchConditions"))
        {
            conditions.Add(($"{path}.matchConditions[{conditions.Count}].expression", condition.Text("expression")));
            condition.Close();
        }
        if (conditions.Count > 0 && version.Length == 0)
            errors.Required($"{path}.matchConditionSubjectAccessReviewVersion", "required if match conditions are specified");
        return AccessConditions.Compile(conditions, $"{path}.matchConditions", errors);
    }

    private static TimeSpan Ttl(ConfigNode webhook, string path, string name, TimeSpan fallback, FieldErrorList errors)
    {
        var ttl = webhook.Duration(name, fallback);
        if (ttl < TimeSpan.Zero)
            errors.Invalid($"{path}.{name}", webhook.Text(name), "must be > 0s");
        return ttl;
    }

    private static string ReadConnection(ConfigNode connection, string path, FieldErrorList errors)
    {
        var type = connection.Text("type");
        var file = connection.Text("kubeConfigFile");
        connection.Close();
        switch (type)
        {
            case "":
                errors.Required($"{path}.connectionInfo.type");
                break;
            case "KubeConfigFile" when file.Length == 0:
                errors.Required($"{path}.connectionInfo.kubeConfigFile");
                break;
            case "KubeConfigFile" when !Path.IsPathRooted(file):
                errors.Invalid($"{path}.connectionInfo.kubeConfigFile", file, "must be an absolute path");
                break;
            case "KubeConfigFile" when !File.Exists(file):
                errors.Invalid($"{path}.connectionInfo.kubeConfigFile", file, $"error loading file: stat {file}: no such file or directory");
                break;
            case "KubeConfigFile":
                break;
            case "InClusterConfig":
                // It means "the API server runs in a pod"; this one never does.
                errors.Invalid($"{path}.connectionInfo.type", type, "the server does not run in a pod: use KubeConfigFile");
                break;
            default:
                errors.NotSupported($"{path}.connectionInfo.type", type, "InClusterConfig", "KubeConfigFile");
                break;
        }
        return file;
    }
}
