using System.Buffers;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Resources that are questions: access reviews, token review, who am I; and the old forms bindings and componentstatuses.</summary>
internal sealed class ReviewHandlers(ResourceCatalog catalog, Authorizer authorizer, RbacPolicy policy, TokenAuthenticator tokens, int maxBodyBytes)
{
    /// <summary>Set by the wiring: bindings are written by the pods' subresource.</summary>
    internal SubresourceHandlers? Subresources { get; set; }

    /// <summary>Set by the wiring.</summary>
    internal ComponentStatuses? ComponentStatuses { get; set; }

    internal ValueTask RouteAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var resource = endpoint.Info.Resource;
        if (resource == "componentstatuses" && call.Info.Verb is Verb.List or Verb.Get)
            return ComponentStatuses!.AnswerAsync(call, endpoint);
        if (call.Info.Verb != Verb.Create || !call.Info.Name.IsEmpty)
            throw ResourceRouter.MethodNotAllowed();
        if (resource == "bindings")
            return Subresources!.BindAsync(call, PodsEndpoint());
        return AnswerAsync(call, endpoint);
    }

    private ResourceEndpoint PodsEndpoint() => catalog.Endpoints.First(static e => e.Info is { Group: "", Resource: "pods" });

    private async ValueTask AnswerAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: false);
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        using var review = BodyDecoder.Decode(call, body.Span, endpoint.Info.Type, BodyDecoder.ValidationOf(call, "CreateOptions"));
        var root = review.Root;
        root.GetOrAddObject("metadata"u8);
        switch (endpoint.Info.Resource)
        {
            case "selfsubjectaccessreviews": ReviewAccess(root, call.User, "SelfSubjectAccessReview", ""); break;
            case "subjectaccessreviews": ReviewAccess(root, SubjectOf(root, "SubjectAccessReview"), "SubjectAccessReview", ""); break;
            case "localsubjectaccessreviews":
                ReviewAccess(root, SubjectOf(root, "LocalSubjectAccessReview"), "LocalSubjectAccessReview", call.Info.NamespaceText);
                break;
            case "selfsubjectrulesreviews": ReviewRules(root, call.User); break;
            case "selfsubjectreviews": WriteUser(root.GetOrAddObject("status"u8).GetOrAddObject("userInfo"u8), call.User); break;
            case "tokenreviews": ReviewToken(root); break;
            default: throw ResourceRouter.MethodNotAllowed();
        }
        var output = new ArrayBufferWriter<byte>(1024);
        JsonCodec.Encode(root, endpoint.Info.Type, output);
        await ResponseWriter.WriteObjectAsync(call, 201, output.WrittenMemory, endpoint.Info.Type, format).ConfigureAwait(false);
    }

    private void ReviewAccess(ApiNode review, UserInfo user, string kind, string ns)
    {
        var spec = review["spec"u8];
        var resource = spec["resourceAttributes"u8];
        var path = spec["nonResourceAttributes"u8];
        var errors = new FieldErrorList();
        if (!resource.IsNullOrUndefined && !path.IsNullOrUndefined)
            errors.Invalid("spec.nonResourceAttributes", path, "cannot be specified in combination with resourceAttributes");
        if (resource.IsNullOrUndefined && path.IsNullOrUndefined)
            errors.Invalid("spec.resourceAttributes", default(ApiNode), "exactly one of nonResourceAttributes or resourceAttributes must be specified");
        if (ns.Length > 0 && !resource.IsNullOrUndefined && resource["namespace"u8].AsString() != ns)
            errors.Invalid("spec.resourceAttributes.namespace", resource["namespace"u8].AsString(), $"must match metadata.namespace");
        if (errors.Count > 0)
            throw ApiStatus.Invalid("authorization.k8s.io", kind, "", errors).ToException();

        var attributes = resource.IsNullOrUndefined
            ? new AuthorizationAttributes { User = user, Verb = path["verb"u8].Utf8, Path = path["path"u8].Utf8 }
            : new AuthorizationAttributes
            {
                User = user,
                Verb = resource["verb"u8].Utf8,
                IsResourceRequest = true,
                Group = resource["group"u8].Utf8,
                Resource = resource["resource"u8].Utf8,
                Subresource = resource["subresource"u8].Utf8,
                Namespace = resource["namespace"u8].Utf8,
                Name = resource["name"u8].Utf8,
                FieldSelector = resource["fieldSelector"u8]["rawSelector"u8].Utf8,
            };
        var isAllowed = authorizer.Allows(attributes, out var reason);
        var status = review.GetOrAddObject("status"u8);
        status.Clear();
        status.Set("allowed"u8, isAllowed);
        if (reason.Length > 0)
            status.Set("reason"u8, reason);
    }

    private static UserInfo SubjectOf(ApiNode review, string kind)
    {
        var spec = review["spec"u8];
        var groups = new List<string>();
        foreach (var group in spec["groups"u8].Elements)
            groups.Add(group.AsString());
        if (spec["user"u8].Utf8.IsEmpty && groups.Count == 0)
        {
            var errors = new FieldErrorList();
            errors.Invalid("spec.user", "", "at least one of user or group must be specified");
            throw ApiStatus.Invalid("authorization.k8s.io", kind, "", errors).ToException();
        }
        return new UserInfo(spec["user"u8].AsString(), groups, spec["uid"u8].AsString());
    }

    private void ReviewRules(ApiNode review, UserInfo user)
    {
        var ns = review["spec"u8]["namespace"u8].AsString();
        if (ns.Length == 0)
            throw ApiStatus.BadRequest("no namespace on request").ToException();
        var status = review.GetOrAddObject("status"u8);
        status.Clear();
        var resourceRules = status.GetOrAddArray("resourceRules"u8);
        var pathRules = status.GetOrAddArray("nonResourceRules"u8);
        var errors = new List<string>();
        var rules = policy.RulesFor(user, ns, errors);
        var isNode = NodeAuthorizer.NodeNameOf(user) is not null;
        if (user.IsMaster)
        {
            byte[][] all = ["*"u8.ToArray()];
            rules.Insert(0, new PolicyRule { Verbs = all, ApiGroups = all, Resources = all, ResourceNames = [], NonResourceUrls = [] });
            rules.Insert(1, new PolicyRule { Verbs = all, ApiGroups = [], Resources = [], ResourceNames = [], NonResourceUrls = all });
        }
        foreach (var rule in rules)
        {
            var target = (rule.Resources.Length > 0 ? resourceRules : pathRules).AppendObject();
            Strings(target, "verbs"u8, rule.Verbs);
            if (rule.Resources.Length > 0)
            {
                Strings(target, "apiGroups"u8, rule.ApiGroups);
                Strings(target, "resources"u8, rule.Resources);
                Strings(target, "resourceNames"u8, rule.ResourceNames);
            }
            else
            {
                Strings(target, "nonResourceURLs"u8, rule.NonResourceUrls);
            }
        }
        status.Set("incomplete"u8, isNode || errors.Count > 0);
        if (isNode)
            errors.Add("node authorizer does not support user rule resolution");
        if (errors.Count > 0)
            status.Set("evaluationError"u8, string.Join(", ", errors));
    }

    private void ReviewToken(ApiNode review)
    {
        var spec = review["spec"u8];
        if (spec["token"u8].Utf8.IsEmpty)
            throw ApiStatus.BadRequest("token is required for TokenReview in authentication").ToException();
        var wanted = new List<string>();
        foreach (var audience in spec["audiences"u8].Elements)
            wanted.Add(audience.AsString());
        var user = tokens.Authenticate(spec["token"u8].AsString(), wanted.Count > 0 ? wanted : null, out var audiences);
        var status = review.GetOrAddObject("status"u8);
        status.Clear();
        if (user is null)
        {
            status.Set("error"u8, "[invalid bearer token]"u8);
            return;
        }
        status.Set("authenticated"u8, true);
        WriteUser(status.GetOrAddObject("user"u8), user);
        foreach (var audience in audiences)
            status.GetOrAddArray("audiences"u8).AppendString(Encoding.UTF8.GetBytes(audience));
    }

    private static void WriteUser(ApiNode target, UserInfo user)
    {
        target.Set("username"u8, user.Name);
        if (user.Uid.Length > 0)
            target.Set("uid"u8, user.Uid);
        foreach (var group in user.Groups)
            target.GetOrAddArray("groups"u8).AppendString(Encoding.UTF8.GetBytes(group));
        foreach (var (key, values) in user.Extra)
        {
            var extra = target.GetOrAddObject("extra"u8).GetOrAddArray(Encoding.UTF8.GetBytes(key));
            foreach (var value in values)
                extra.AppendString(Encoding.UTF8.GetBytes(value));
        }
    }

    private static void Strings(ApiNode target, ReadOnlySpan<byte> name, byte[][] values)
    {
        if (values.Length == 0)
            return;
        var array = target.GetOrAddArray(name);
        foreach (var value in values)
            array.AppendString(value);
    }
}
