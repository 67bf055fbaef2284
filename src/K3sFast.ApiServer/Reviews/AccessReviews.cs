using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>SubjectAccessReview and its siblings: may somebody, or I, do this? What is asked is checked first, then admission asked.</summary>
internal sealed class AccessReviews(Authorizer authorizer)
{
    private static readonly TypeSchema s_metaType = Schema.BuiltIn.FindType("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")!;
    private static readonly TypeSchema s_pathType = Schema.BuiltIn.FindType("io.k8s.api.authorization.v1.NonResourceAttributes")!;

    internal ValueTask ReviewAsync(ApiCall call, ApiNode review, Func<ValueTask> admit)
    {
        var errors = new FieldErrorList();
        Validate(review["spec"u8], errors, needsSubject: true);
        if (!IsEmpty(review["metadata"u8], exceptNamespace: false))
            errors.Invalid("metadata", review["metadata"u8], s_metaType, "must be empty");
        Refuse(errors);
        return AnswerAsync(call, review, UserText.Read(review["spec"u8]), admit);
    }

    internal ValueTask ReviewSelfAsync(ApiCall call, ApiNode review, Func<ValueTask> admit)
    {
        var errors = new FieldErrorList();
        Validate(review["spec"u8], errors, needsSubject: false);
        if (!IsEmpty(review["metadata"u8], exceptNamespace: false))
            errors.Invalid("metadata", review["metadata"u8], s_metaType, "must be empty");
        Refuse(errors);
        return AnswerAsync(call, review, call.User, admit);
    }

    internal ValueTask ReviewLocalAsync(ApiCall call, ApiNode review, Func<ValueTask> admit)
    {
        var spec = review["spec"u8];
        var metadata = review["metadata"u8];
        var ns = call.Info.NamespaceText;
        // The path's namespace stands in for one that the body leaves out.
        if (metadata["namespace"u8].Utf8.IsEmpty)
            metadata.Set("namespace"u8, ns);
        else if (metadata["namespace"u8].AsString() != ns)
            throw ApiStatus.BadRequest("the namespace of the provided object does not match the namespace sent on the request").ToException();
        var errors = new FieldErrorList();
        Validate(spec, errors, needsSubject: true);
        if (!IsEmpty(metadata, exceptNamespace: true))
            errors.Invalid("metadata", metadata, s_metaType, "must be empty except for namespace");
        if (!spec["resourceAttributes"u8].IsNullOrUndefined && spec["resourceAttributes"u8]["namespace"u8].AsString() != ns)
            errors.Invalid("spec.resourceAttributes.namespace", spec["resourceAttributes"u8]["namespace"u8].AsString(), "must match metadata.namespace");
        if (!spec["nonResourceAttributes"u8].IsNullOrUndefined)
            errors.Invalid("spec.nonResourceAttributes", spec["nonResourceAttributes"u8], s_pathType, "disallowed on this kind of request");
        Refuse(errors);
        return AnswerAsync(call, review, UserText.Read(spec), admit);
    }

    private async ValueTask AnswerAsync(ApiCall call, ApiNode review, UserInfo user, Func<ValueTask> admit)
    {
        await admit().ConfigureAwait(false);
        var decision = await authorizer.AuthorizeAsync(Attributes(review["spec"u8], user), call.Aborted).ConfigureAwait(false);
        var status = review.GetOrAddObject("status"u8);
        status.Clear();
        status.Set("allowed"u8, decision.IsAllowed);
        if (decision.Verdict == Verdict.Deny)
            status.Set("denied"u8, true);
        if (decision.Reason.Length > 0)
            status.Set("reason"u8, decision.Reason);
        if (decision.Error is { } error)
            status.Set("evaluationError"u8, error);
    }

    private static AuthorizationAttributes Attributes(ApiNode spec, UserInfo user)
    {
        var path = spec["nonResourceAttributes"u8];
        var resource = spec["resourceAttributes"u8];
        if (resource.IsNullOrUndefined)
            return new AuthorizationAttributes { User = user, Verb = path["verb"u8].Utf8, Path = path["path"u8].Utf8 };
        return new AuthorizationAttributes
        {
            User = user,
            Verb = resource["verb"u8].Utf8,
            IsResourceRequest = true,
            Group = resource["group"u8].Utf8,
            Version = resource["version"u8].Utf8.IsEmpty ? "*"u8 : resource["version"u8].Utf8,
            Resource = resource["resource"u8].Utf8,
            Subresource = resource["subresource"u8].Utf8,
            Namespace = resource["namespace"u8].Utf8,
            Name = resource["name"u8].Utf8,
            FieldSelector = resource["fieldSelector"u8].IsNullOrUndefined ? default : SelectorRequirements.FieldText(resource["fieldSelector"u8]),
            LabelSelector = resource["labelSelector"u8].IsNullOrUndefined ? default : SelectorRequirements.LabelText(resource["labelSelector"u8]),
        };
    }

    private static void Validate(ApiNode spec, FieldErrorList errors, bool needsSubject)
    {
        var resource = spec["resourceAttributes"u8];
        var path = spec["nonResourceAttributes"u8];
        if (!resource.IsNullOrUndefined && !path.IsNullOrUndefined)
            errors.Invalid("spec.nonResourceAttributes", path, s_pathType, "cannot be specified in combination with resourceAttributes");
        if (resource.IsNullOrUndefined && path.IsNullOrUndefined)
            errors.AddRaw(FieldErrorType.Invalid, "spec.resourceAttributes", "null", "exactly one of nonResourceAttributes or resourceAttributes must be specified");
        if (needsSubject && spec["user"u8].Utf8.IsEmpty && spec["groups"u8].Count == 0)
            errors.Invalid("spec.user", spec["user"u8].AsString(), "at least one of user or group must be specified");
        ValidateSelector(resource["fieldSelector"u8], "spec.resourceAttributes.fieldSelector", isField: true, errors);
        ValidateSelector(resource["labelSelector"u8], "spec.resourceAttributes.labelSelector", isField: false, errors);
    }

    private static void ValidateSelector(ApiNode selector, string path, bool isField, FieldErrorList errors)
    {
        if (selector.IsNullOrUndefined)
            return;
        var raw = selector["rawSelector"u8].AsString();
        var requirements = selector["requirements"u8];
        if (raw.Length > 0 && requirements.Count > 0)
            errors.Invalid($"{path}.rawSelector", raw, "may not specified at the same time as requirements");
        if (raw.Length == 0 && requirements.Count == 0)
            errors.Required($"{path}.requirements", $"when {path} is specified, requirements or rawSelector is required");
        var i = 0;
        foreach (var requirement in requirements.Elements)
        {
            var at = $"{path}.requirements[{i++}]";
            if (isField && requirement["key"u8].Utf8.IsEmpty)
                errors.Required($"{at}.key", "must be specified");
            // Unknown operators may come from a newer client: they narrow, so passing over them asks for more.
            switch (requirement["operator"u8].AsString())
            {
                case "In" or "NotIn" when requirement["values"u8].Count == 0:
                    errors.Required($"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'");
                    break;
                case "Exists" or "DoesNotExist" when requirement["values"u8].Count > 0:
                    errors.Forbidden($"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
                    break;
            }
        }
    }

    private static bool IsEmpty(ApiNode metadata, bool exceptNamespace)
    {
        foreach (var member in metadata.Members)
        {
            var name = Encoding.UTF8.GetString(member.Name);
            var isNothing = member.Value.IsNullOrUndefined || member.Value.Kind is NodeKind.Object or NodeKind.Array && member.Value.Count == 0
                || member.Value.Kind == NodeKind.String && member.Value.Utf8.IsEmpty;
            if (!isNothing && name != "managedFields" && !(exceptNamespace && name == "namespace"))
                return false;
        }
        return true;
    }

    // Upstream has lost the kind by then, and says so in its message.
    private static void Refuse(FieldErrorList errors)
    {
        if (errors.Count > 0)
            throw ApiStatus.Invalid("authorization.k8s.io", "", "", errors).ToException();
    }
}
