using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>ValidatingAdmissionPolicy: asks every policy that is bound for the request, and refuses, warns or notes in the audit log as its binding says.</summary>
internal sealed class ValidatingAdmissionPolicies(AdmissionParts parts) : AdmissionPlugin
{
    // Upstream cuts the values of audit annotations here, in bytes.
    private const int MaxAnnotationBytes = 10 * 1024;

    private readonly ResourceStorage _namespaces = parts.Storage("", "namespaces");
    private readonly PolicyParams _params = new(parts.Catalog);

    private readonly PolicySource<ValidatingPolicy> _source = new(
        parts.Storage("admissionregistration.k8s.io", "validatingadmissionpolicies"), parts.Storage("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
        static policy => new ValidatingPolicy(policy));

    /// <summary>What configures admission itself is never its subject, so that a bad policy can be taken away.</summary>
    internal static bool IsExempt(ResourceInfo resource) => resource.Group == "admissionregistration.k8s.io"
        && resource.Resource is "validatingadmissionpolicies" or "validatingadmissionpolicybindings" or "mutatingadmissionpolicies" or "mutatingadmissionpolicybindings";

    internal override ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (IsExempt(context.Resource))
            return ValueTask.CompletedTask;
        var hooks = _source.Current();
        return hooks.Count == 0 ? ValueTask.CompletedTask : ValidateSlowAsync(context, hooks);
    }

    private async ValueTask ValidateSlowAsync(AdmissionContext context, IReadOnlyList<PolicyHook<ValidatingPolicy>> hooks)
    {
        using var request = new AdmissionRequest(context, parts.Catalog, _namespaces);
        var authorizer = new PolicyAuthorizer(parts.Authorizer, context.User);
        Denial? first = null;
        foreach (var (policy, bindings) in hooks)
        {
            var notes = new Dictionary<string, List<string>>();
            if (Matched(policy, request, null, ref first) is not { } resource)
                continue;
            foreach (var binding in bindings)
            {
                if (!IsMeant(policy, binding, request, ref first))
                    continue;
                var verdicts = await EvaluateAsync(policy, binding, request, resource, authorizer).ConfigureAwait(false);
                if (verdicts.Problem is { } problem)
                {
                    if (!policy.IgnoresFailure)
                        first ??= new Denial(policy.Name, binding.Name, $"failed to configure binding: {problem}", "");
                    continue;
                }
                foreach (var verdict in verdicts.All)
                    Follow(context, policy, binding, verdict, notes, ref first);
            }
            foreach (var (key, values) in notes)
                context.Annotate($"{policy.Name}/{key}", string.Join(", ", values));
        }
        if (first is not null)
            throw Refusal(context, first);
    }

    // The resource as which the policy judges the request; null when it does not, or is wrong itself.
    private ResourceInfo? Matched(ValidatingPolicy policy, AdmissionRequest request, PolicyBinding? binding, ref Denial? first)
    {
        try
        {
            var resource = (binding?.Resources ?? policy.Constraints).Match(request);
            if (resource is not null && binding is null)
                _params.Check(policy.ParamKind);
            return resource;
        }
        catch (Exception failure) when (failure is PolicyConfigurationException or ApiStatusException)
        {
            if (!policy.IgnoresFailure)
                first ??= new Denial(policy.Name, binding?.Name, $"failed to configure {(binding is null ? "policy" : "binding")}: {failure.Message}", "");
            return null;
        }
    }

    private bool IsMeant(ValidatingPolicy policy, PolicyBinding binding, AdmissionRequest request, ref Denial? first) =>
        binding.Resources is null || Matched(policy, request, binding, ref first) is not null;

    private async ValueTask<(List<PolicyVerdict> All, string? Problem)> EvaluateAsync(
        ValidatingPolicy policy, PolicyBinding binding, AdmissionRequest request, ResourceInfo resource, PolicyAuthorizer authorizer)
    {
        var verdicts = new List<PolicyVerdict>();
        List<ApiObject?> parameters;
        try
        {
            parameters = _params.Collect(policy.ParamKind, binding.Params, request.Namespace);
        }
        catch (PolicyConfigurationException failure)
        {
            return (verdicts, failure.Message);
        }
        try
        {
            foreach (var parameter in parameters)
            {
                var variables = new PolicyVariables(request, request.In(resource), parameter?.Root ?? default, authorizer, policy.Variables);
                verdicts.Add(await policy.EvaluateAsync(variables).ConfigureAwait(false));
            }
            return (verdicts, null);
        }
        finally
        {
            foreach (var parameter in parameters)
                parameter?.Dispose();
        }
    }

    private void Follow(
        AdmissionContext context, ValidatingPolicy policy, PolicyBinding binding, PolicyVerdict verdict, Dictionary<string, List<string>> notes, ref Denial? first)
    {
        var metrics = parts.Metrics.Policies;
        foreach (var decision in verdict.Decisions)
        {
            if (!decision.IsDenied)
            {
                if (decision.IsError)
                    metrics.Validated(policy.Name, binding.Name, decision.Message, "allow", decision.Elapsed);
                continue;
            }
            foreach (var action in binding.Actions)
            {
                metrics.Validated(policy.Name, binding.Name, decision.Message, action.ToLowerInvariant(), decision.Elapsed);
                switch (action)
                {
                    case "Deny":
                        first ??= new Denial(policy.Name, binding.Name, decision.Message, decision.Reason);
                        break;
                    case "Warn":
                        context.AddWarning($"Validation failed for ValidatingAdmissionPolicy '{policy.Name}' with binding '{binding.Name}': {decision.Message}");
                        break;
                    case "Audit":
                        context.Annotate("validation.policy.admission.k8s.io/validation_failure", FailureNote(policy, binding, decision));
                        break;
                }
            }
        }
        foreach (var annotation in verdict.Annotations)
        {
            if (annotation.Error is { } error)
            {
                first ??= new Denial(policy.Name, binding.Name, error, "");
                metrics.Validated(policy.Name, binding.Name, error, "deny", TimeSpan.Zero);
                continue;
            }
            if (!notes.TryGetValue(annotation.Key, out var values))
                notes[annotation.Key] = values = [];
            var value = Cut(annotation.Value);
            if (!values.Contains(value))
                values.Add(value);
        }
    }

    private static string Cut(string value)
    {
        var bytes = Encoding.UTF8.GetBytes(value);
        return bytes.Length <= MaxAnnotationBytes ? value : Encoding.UTF8.GetString(bytes.AsSpan(0, MaxAnnotationBytes));
    }

    private static string FailureNote(ValidatingPolicy policy, PolicyBinding binding, PolicyDecision decision)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartArray();
            json.WriteStartObject();
            json.WriteString("message"u8, decision.Message);
            json.WriteString("policy"u8, policy.Name);
            json.WriteString("binding"u8, binding.Name);
            json.WriteNumber("expressionIndex"u8, decision.Index);
            json.WriteStartArray("validationActions"u8);
            foreach (var action in binding.Actions)
                json.WriteStringValue(action);
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndArray();
        }
        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static ApiStatusException Refusal(AdmissionContext context, Denial denial)
    {
        var with = denial.Binding is { } binding ? $" with binding '{binding}'" : "";
        var message = $"ValidatingAdmissionPolicy '{denial.Policy}'{with} denied request: {denial.Message}";
        var forbidden = context.Forbid(message).Status;
        return (forbidden with
        {
            Reason = denial.Reason.Length == 0 ? "Invalid" : denial.Reason,
            Code = denial.Reason switch { "Forbidden" => 403, "Unauthorized" => 401, "RequestEntityTooLarge" => 413, _ => 422 },
            Causes = [.. forbidden.Causes, new StatusCause("", message)],
        }).ToException();
    }

    private sealed record Denial(string Policy, string? Binding, string Message, string Reason);
}
