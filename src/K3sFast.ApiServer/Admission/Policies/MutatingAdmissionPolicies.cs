using System.Buffers;
using System.Diagnostics;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>MutatingAdmissionPolicy: every policy that is bound for the request changes the object, one after the other; those that want to see it again do.</summary>
internal sealed class MutatingAdmissionPolicies(AdmissionParts parts) : AdmissionPlugin
{
    private readonly ResourceStorage _namespaces = parts.Storage("", "namespaces");
    private readonly PolicyParams _params = new(parts.Catalog);

    private readonly PolicySource<MutatingPolicy> _source = new(
        parts.Storage("admissionregistration.k8s.io", "mutatingadmissionpolicies"), parts.Storage("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
        static policy => new MutatingPolicy(policy));

    internal override ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
    {
        // What is deleted has no object to change.
        if (ValidatingAdmissionPolicies.IsExempt(context.Resource) || context.Operation == AdmissionOperation.Delete)
            return ValueTask.CompletedTask;
        var hooks = _source.Current();
        return hooks.Count == 0 ? ValueTask.CompletedTask : MutateSlowAsync(context, hooks);
    }

    private async ValueTask MutateSlowAsync(AdmissionContext context, IReadOnlyList<PolicyHook<MutatingPolicy>> hooks)
    {
        using var request = new AdmissionRequest(context, parts.Catalog, _namespaces);
        var authorizer = new PolicyAuthorizer(parts.Authorizer, context.User);
        var reinvocation = context.Reinvocation;
        if (reinvocation is { IsSecond: true, LastOutput: { } last } && !last.AsSpan().SequenceEqual(Text(context.Object)))
            reinvocation.AskAgain();
        var problems = new List<Problem>();
        foreach (var (policy, bindings) in hooks)
        {
            if (Matched(policy, null, request, problems) is not { } resource)
                continue;
            foreach (var binding in bindings)
            {
                if (binding.Resources is null || Matched(policy, binding, request, problems) is not null)
                    await InvokeAsync(context, request, policy, binding, resource, authorizer, problems).ConfigureAwait(false);
            }
        }
        reinvocation.LastOutput = Text(context.Object);
        Refuse(context, problems);
    }

    private ResourceInfo? Matched(MutatingPolicy policy, PolicyBinding? binding, AdmissionRequest request, List<Problem> problems)
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
            problems.Add(new Problem(policy, binding, $"failed to configure {(binding is null ? "policy" : "binding")}: {failure.Message}", ""));
            return null;
        }
    }

    private async ValueTask InvokeAsync(
        AdmissionContext context, AdmissionRequest request, MutatingPolicy policy, PolicyBinding binding, ResourceInfo resource, PolicyAuthorizer authorizer, List<Problem> problems)
    {
        List<ApiObject?> parameters;
        try
        {
            parameters = _params.Collect(policy.ParamKind, binding.Params, request.Namespace);
        }
        catch (PolicyConfigurationException failure)
        {
            problems.Add(new Problem(policy, binding, $"failed to configure binding: {failure.Message}", ""));
            return;
        }
        foreach (var parameter in parameters)
        {
            using (parameter)
            {
                var metadata = parameter?.Root["metadata"u8] ?? default;
                var who = $"{policy.Name}/{binding.Name}/{metadata["namespace"u8].AsString()}/{metadata["name"u8].AsString()}";
                var started = Stopwatch.GetTimestamp();
                var before = problems.Count;
                if (await InvokeOneAsync(context, request, policy, binding, resource, parameter?.Root ?? default, authorizer, who, problems).ConfigureAwait(false))
                    parts.Metrics.Policies.Mutated(policy.Name, binding.Name, problems.Count > before ? problems[before].Message : null, started);
            }
        }
    }

    // False = the policy had nothing to say to this request.
    private static async ValueTask<bool> InvokeOneAsync(
        AdmissionContext context, AdmissionRequest request, MutatingPolicy policy, PolicyBinding binding, ResourceInfo resource, ApiNode parameter, PolicyAuthorizer authorizer,
        string who, List<Problem> problems)
    {
        var variables = new PolicyVariables(request, request.In(resource), parameter, authorizer, policy.Variables);
        var (matches, error) = await policy.MatchAsync(variables).ConfigureAwait(false);
        if (error is not null)
            problems.Add(new Problem(policy, binding, error, "Invalid"));
        if (!matches || !context.Reinvocation.IsDue(who))
            return error is not null;
        var isChanged = false;
        foreach (var mutation in policy.Mutations)
        {
            var (changed, problem) = await MutateAsync(context, request, resource, mutation, variables).ConfigureAwait(false);
            if (problem is not null)
                problems.Add(new Problem(policy, binding, problem, "Invalid"));
            isChanged |= changed;
            if (changed)
                variables = new PolicyVariables(request, request.In(resource), parameter, authorizer, policy.Variables);
        }
        if (isChanged)
        {
            context.Reinvocation.AskAgain();
            context.Reinvocation.IsWanted = true;
        }
        if (policy.MayBeReinvoked)
            context.Reinvocation.Asked(who);
        return true;
    }

    private static async ValueTask<(bool IsChanged, string? Problem)> MutateAsync(
        AdmissionContext context, AdmissionRequest request, ResourceInfo resource, MutatingPolicy.Mutation mutation, PolicyVariables variables)
    {
        if (!context.Object.IsDefined)
            return (false, null);
        PolicyResult result;
        try
        {
            if (mutation.Expression.Program is null)
                return (false, mutation.Expression.Problem);
            result = await variables.EvaluateAsync(mutation.Expression, new PolicyBudget(CelLimits.PerPolicy)).ConfigureAwait(false);
        }
        catch (PolicyBudgetException spent)
        {
            return (false, spent.Message);
        }
        if (result.Error is { } error)
            return (false, error);
        using var changed = new ApiObject();
        changed.ReplaceRoot(request.Converted(context.Object, resource));
        var type = ReferenceEquals(context.Kind, context.Resource.Type) ? resource.Type : context.Kind;
        string? problem;
        var isTestFailed = false;
        if (mutation.IsJsonPatch)
            problem = PolicyPatch.ApplyJsonPatch(changed, result.Value, out isTestFailed);
        else
            problem = PolicyPatch.ApplyConfiguration(changed, result.Value, type);
        if (problem is not null || isTestFailed)
            return (false, problem);
        return (Take(context, request, resource, type, changed), null);
    }

    // The changed object must still be one of its kind; then it takes the place of the request's, with its defaults filled in.
    private static bool Take(AdmissionContext context, AdmissionRequest request, ResourceInfo resource, TypeSchema type, ApiObject changed)
    {
        using var typed = Typed(changed, type);
        if (ReferenceEquals(type, resource.Type) && !ReferenceEquals(resource, context.Resource))
            VersionConversion.Convert(typed.Root, resource, context.Resource);
        Defaulting.Apply(typed.Root, ReferenceEquals(type, resource.Type) ? context.Resource.Type : type);
        var isChanged = !typed.Root.DeepEquals(context.Object);
        if (isChanged)
        {
            context.Object.ReplaceWith(typed.Root);
            request.ObjectChanged();
        }
        return isChanged;
    }

    private static ApiObject Typed(ApiObject changed, TypeSchema type)
    {
        var unknown = new List<string>();
        ApiObject typed;
        try
        {
            typed = JsonCodec.Decode(Text(changed.Root), type, DecodeOptions.Default, unknown);
        }
        catch (ApiStatusException wrong)
        {
            throw ApiStatus.InternalError(wrong.Status.Message).ToException();
        }
        if (unknown.Count == 0)
            return typed;
        typed.Dispose();
        throw ApiStatus.InternalError($"strict decoding error: {string.Join(", ", unknown)}").ToException();
    }

    private static byte[] Text(ApiNode node)
    {
        var text = new ArrayBufferWriter<byte>();
        node.WriteJson(text);
        return text.WrittenSpan.ToArray();
    }

    private static void Refuse(AdmissionContext context, List<Problem> problems)
    {
        var all = problems.Where(static problem => !problem.Policy.IgnoresFailure).ToList();
        if (all.Count == 0)
            return;
        var forbidden = context.Forbid("admission request denied by policy").Status;
        throw (forbidden with
        {
            Message = all[0].ToString(),
            Reason = all[0].Reason.Length > 0 ? all[0].Reason : forbidden.Reason,
            Causes = [.. forbidden.Causes, .. all.Select(static problem => new StatusCause("", problem.ToString()))],
        }).ToException();
    }

    private sealed record Problem(MutatingPolicy Policy, PolicyBinding? Binding, string Message, string Reason)
    {
        public override string ToString() => Binding is { } binding
            ? $"policy '{Policy.Name}' with binding '{binding.Name}' denied request: {Message}" : $"policy {GoText.Quote(Policy.Name)} denied request: {Message}";
    }
}
