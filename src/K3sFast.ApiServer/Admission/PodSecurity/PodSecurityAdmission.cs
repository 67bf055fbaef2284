using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// PodSecurity: pods keep to the standard that their namespace's labels name. Refuses pods, warns of workloads whose pods would be refused, and of
/// pods that already run when a namespace becomes stricter.
/// </summary>
internal sealed class PodSecurityAdmission(
    PodSecurityConfiguration configuration, ResourceStorage namespaces, ResourceStorage pods, PodSecurityMetrics metrics, TimeProvider clock) : AdmissionPlugin
{
    // Upstream's bounds on looking through the pods of a namespace whose policy changes.
    private const int MaxPodsToCheck = 3000;
    private static readonly TimeSpan s_maxCheckTime = TimeSpan.FromSeconds(1);

    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation is not (AdmissionOperation.Create or AdmissionOperation.Update))
            return;
        if (context.Is("", "namespaces"))
            ValidateNamespace(context);
        else if (context.Is("", "pods"))
            ValidatePod(context);
        else if (context.Subresource.Length == 0 && TemplateOf(context, out var template))
            ValidateTemplate(context, template);
    }

    private void ValidateNamespace(AdmissionContext context)
    {
        if (context.Subresource.Length > 0)
            return;
        var errors = new FieldErrorList();
        var labels = context.Object["metadata"u8]["labels"u8];
        var policy = PodSecurityPolicy.Of(labels, configuration.Defaults, errors);
        if (context.Operation == AdmissionOperation.Create)
        {
            if (errors.Count > 0)
                throw ApiStatus.Invalid("", "Namespace", context.Name, errors).ToException();
            if (configuration.Namespaces.Contains(context.Name))
                WarnOfExemption(context, policy, labels);
            return;
        }
        var oldErrors = new FieldErrorList();
        var old = PodSecurityPolicy.Of(context.OldObject["metadata"u8]["labels"u8], configuration.Defaults, oldErrors);
        if (errors.Count > 0 && !errors.SequenceEqual(oldErrors))
            throw ApiStatus.Invalid("", "Namespace", context.Name, errors).ToException();
        var (now, before) = (policy.Enforce, old.Enforce);
        if (now == before || now.Level == PodSecurityLevel.Privileged || now.Minor == before.Minor && now.Level <= before.Level)
            return;
        if (configuration.Namespaces.Contains(context.Name))
            WarnOfExemption(context, policy, labels);
        else
            WarnOfPods(context, now);
    }

    private void ValidatePod(AdmissionContext context)
    {
        // Any other subresource may change the pod's spec.
        if (context.Subresource is "exec" or "attach" or "binding" or "eviction" or "log" or "portforward" or "proxy" or "status")
            return;
        if (IsExempt(context) || PolicyOf(context, isFatal: true) is not { } policy)
            return;
        if (policy.IsFullyPrivileged)
        {
            metrics.Evaluated("allow", policy.Enforce, "enforce", context);
            return;
        }
        if (context.Operation == AdmissionOperation.Update && !IsSignificant(context.Object["spec"u8], context.OldObject["spec"u8]))
            return;
        Evaluate(context, policy, context.Object["metadata"u8], context.Object["spec"u8], isEnforced: true);
    }

    private void ValidateTemplate(AdmissionContext context, ApiNode template)
    {
        if (IsExempt(context) || PolicyOf(context, isFatal: false) is not { } policy || template.IsNullOrUndefined)
            return;
        if (policy.Warn.Level != PodSecurityLevel.Privileged || policy.Audit.Level != PodSecurityLevel.Privileged)
            Evaluate(context, policy, template["metadata"u8], template["spec"u8], isEnforced: false);
    }

    private void Evaluate(AdmissionContext context, PodSecurityPolicy policy, ApiNode metadata, ApiNode spec, bool isEnforced)
    {
        if (configuration.RuntimeClasses.Count > 0 && configuration.RuntimeClasses.Contains(spec["runtimeClassName"u8].AsString()))
        {
            Exempt(context, "runtimeClass");
            return;
        }
        var enforced = isEnforced ? PodSecurityEvaluator.Evaluate(policy.Enforce, metadata, spec) : null;
        var audited = enforced is not null && policy.Audit == policy.Enforce ? enforced : PodSecurityEvaluator.Evaluate(policy.Audit, metadata, spec);
        if (isEnforced)
        {
            context.Annotate("pod-security.kubernetes.io/enforce-policy", policy.Enforce.ToString());
            metrics.Evaluated(enforced!.IsAllowed ? "allow" : "deny", policy.Enforce, "enforce", context);
        }
        if (!audited.IsAllowed)
        {
            context.Annotate("pod-security.kubernetes.io/audit-violations", $"would violate PodSecurity {GoText.Quote(policy.Audit.ToString())}: {audited.Details}");
            metrics.Evaluated("deny", policy.Audit, "audit", context);
        }
        if (enforced is { IsAllowed: false })
            throw context.Forbid($"violates PodSecurity {GoText.Quote(policy.Enforce.ToString())}: {enforced.Details}");
        var warned = enforced is not null && policy.Warn == policy.Enforce ? enforced
            : policy.Warn == policy.Audit ? audited : PodSecurityEvaluator.Evaluate(policy.Warn, metadata, spec);
        if (warned.IsAllowed)
            return;
        context.AddWarning($"would violate PodSecurity {GoText.Quote(policy.Warn.ToString())}: {warned.Details}");
        metrics.Evaluated("deny", policy.Warn, "warn", context);
    }

    private bool IsExempt(AdmissionContext context)
    {
        if (configuration.Namespaces.Contains(context.Namespace))
            Exempt(context, "namespace");
        else if (configuration.Users.Contains(context.User.Name))
            Exempt(context, "user");
        else
            return false;
        return true;
    }

    private void Exempt(AdmissionContext context, string reason)
    {
        context.Annotate("pod-security.kubernetes.io/exempt", reason);
        metrics.Exempted(context);
    }

    // Null when the namespace is not there: pods are refused for that, workloads are not.
    private PodSecurityPolicy? PolicyOf(AdmissionContext context, bool isFatal)
    {
        using var stored = namespaces.Get("", context.Namespace);
        if (stored is null)
        {
            metrics.Failed(context, isFatal: true);
            return isFatal ? throw ApiStatus.InternalError($"failed to lookup namespace {GoText.Quote(context.Namespace)}").ToException() : null;
        }
        // Nearly no namespace has such labels; the bytes tell before anything is decoded.
        if (!stored.Json.MayContain("pod-security.kubernetes.io/"u8))
            return configuration.Defaults;
        using var document = namespaces.Decode(stored);
        var errors = new FieldErrorList();
        var policy = PodSecurityPolicy.Of(document.Root["metadata"u8]["labels"u8], configuration.Defaults, errors);
        if (errors.Count > 0)
        {
            context.Annotate("pod-security.kubernetes.io/error", $"Failed to parse policy: {(errors.Count == 1 ? errors[0] : errors)}");
            metrics.Failed(context, isFatal: false);
        }
        return policy;
    }

    private static bool TemplateOf(AdmissionContext context, out ApiNode template)
    {
        var spec = context.Object["spec"u8];
        var isWorkload = true;
        template = (context.Resource.Group, context.Resource.Resource) switch
        {
            ("", "podtemplates") => context.Object["template"u8],
            ("", "replicationcontrollers") or ("apps", "replicasets" or "deployments" or "statefulsets" or "daemonsets") or ("batch", "jobs") => spec["template"u8],
            ("batch", "cronjobs") => spec["jobTemplate"u8]["spec"u8]["template"u8],
            _ => Other(out isWorkload),
        };
        return isWorkload;

        static ApiNode Other(out bool isWorkload)
        {
            isWorkload = false;
            return default;
        }
    }

    // Of a pod's spec only images and ephemeral containers can change.
    private static bool IsSignificant(ApiNode spec, ApiNode old)
    {
        if (ImagesDiffer(spec["containers"u8], old["containers"u8]) || ImagesDiffer(spec["initContainers"u8], old["initContainers"u8]))
            return true;
        foreach (var container in spec["ephemeralContainers"u8].Elements)
        {
            ApiNode known = default;
            foreach (var candidate in old["ephemeralContainers"u8].Elements)
            {
                if (candidate["name"u8].DeepEquals(container["name"u8]))
                    known = candidate;
            }
            if (!known.IsDefined || !known["image"u8].Utf8.SequenceEqual(container["image"u8].Utf8))
                return true;
        }
        return false;
    }

    private static bool ImagesDiffer(ApiNode containers, ApiNode old)
    {
        if (containers.Count != old.Count)
            return true;
        for (var i = 0; i < containers.Count; i++)
        {
            if (!containers[i]["image"u8].Utf8.SequenceEqual(old[i]["image"u8].Utf8))
                return true;
        }
        return false;
    }

    private void WarnOfExemption(AdmissionContext context, PodSecurityPolicy policy, ApiNode labels)
    {
        if (policy.IsFullyPrivileged || IsEquivalent(policy, configuration.Defaults))
            return;
        var set = new List<string>();
        void Add(string mode, PodSecurityStandard standard)
        {
            var isNamed = labels[System.Text.Encoding.UTF8.GetBytes(PodSecurityPolicy.LabelPrefix + mode)].IsDefined
                || labels[System.Text.Encoding.UTF8.GetBytes($"{PodSecurityPolicy.LabelPrefix}{mode}-version")].IsDefined;
            if (standard.Level != PodSecurityLevel.Privileged && isNamed)
                set.Add($"{mode}={standard}");
        }
        Add("enforce", policy.Enforce);
        Add("audit", policy.Audit);
        Add("warn", policy.Warn);
        context.AddWarning($"namespace {GoText.Quote(context.Name)} is exempt from Pod Security, and the policy ({string.Join(", ", set)}) will be ignored");
    }

    private static bool IsEquivalent(PodSecurityPolicy a, PodSecurityPolicy b)
    {
        static bool Same(PodSecurityStandard x, PodSecurityStandard y) => x.Level == PodSecurityLevel.Privileged && y.Level == PodSecurityLevel.Privileged || x == y;
        return Same(a.Enforce, b.Enforce) && Same(a.Audit, b.Audit) && Same(a.Warn, b.Warn);
    }

    private void WarnOfPods(AdmissionContext context, PodSecurityStandard standard)
    {
        var started = clock.GetTimestamp();
        var found = new SortedDictionary<string, (string Pod, int Count)>(StringComparer.Ordinal);
        var all = Prioritized(context.Name);
        var seen = 0;
        foreach (var (_, pod) in all)
        {
            if (seen == MaxPodsToCheck || clock.GetElapsedTime(started) > s_maxCheckTime)
                break;
            seen++;
            var verdict = PodSecurityEvaluator.Evaluate(standard, pod.Root["metadata"u8], pod.Root["spec"u8]);
            if (verdict.IsAllowed)
                continue;
            var name = ObjectText.NameOf(pod.Root);
            found[verdict.Reasons] = found.TryGetValue(verdict.Reasons, out var known)
                ? (string.CompareOrdinal(name, known.Pod) < 0 ? name : known.Pod, known.Count + 1)
                : (name, 1);
        }
        var total = all.Count;
        foreach (var (_, pod) in all)
            pod.Dispose();
        if (seen < total)
            context.AddWarning($"new PodSecurity enforce level only checked against the first {seen} of {total} existing pods");
        if (found.Count == 0)
            return;
        context.AddWarning($"existing pods in namespace {GoText.Quote(context.Name)} violate the new PodSecurity enforce level {GoText.Quote(standard.ToString())}");
        var lines = new List<string>();
        foreach (var (reasons, (pod, count)) in found)
            lines.Add(count switch { 1 => $"{pod}: {reasons}", 2 => $"{pod} (and 1 other pod): {reasons}", _ => $"{pod} (and {count - 1} other pods): {reasons}" });
        lines.Sort(StringComparer.Ordinal);
        foreach (var line in lines)
            context.AddWarning(line);
    }

    // One pod of each controller first: its siblings look the same.
    private List<(bool IsSibling, ApiObject Pod)> Prioritized(string ns)
    {
        var owners = new HashSet<string>();
        var all = new List<(bool IsSibling, ApiObject Pod)>();
        foreach (var stored in pods.All(ns))
        {
            var pod = pods.Decode(stored);
            if (configuration.RuntimeClasses.Contains(pod.Root["spec"u8]["runtimeClassName"u8].AsString()))
            {
                pod.Dispose();
                continue;
            }
            var owner = "";
            foreach (var reference in pod.Root["metadata"u8]["ownerReferences"u8].Elements)
            {
                if (reference["controller"u8].AsBool())
                    owner = reference["uid"u8].AsString();
            }
            all.Add((owner.Length > 0 && !owners.Add(owner), pod));
        }
        return [.. all.OrderBy(static entry => entry.IsSibling)];
    }
}
