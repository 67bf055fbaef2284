using System.Text;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Who may do what, asked from an expression.</summary>
public interface ICelAuthorizer
{
    /// <summary>The answer to a question. May throw to stop the evaluation until the answer is known.</summary>
    CelDecision Decide(CelQuestion question);
}

/// <summary>A question to the authorizer: about a path, or about a resource.</summary>
/// <param name="ServiceAccount">namespace and name of another service account to ask about; null = the user of the request.</param>
/// <param name="Verb">The verb.</param>
/// <param name="Path">A path that is no resource; null for resources.</param>
/// <param name="Group">The API group.</param>
/// <param name="Resource">The resource.</param>
/// <param name="Subresource">The subresource.</param>
/// <param name="Namespace">The namespace.</param>
/// <param name="Name">The object.</param>
/// <param name="FieldSelector">The field selector's text.</param>
/// <param name="LabelSelector">The label selector's text.</param>
public sealed record CelQuestion(
    (string Namespace, string Name)? ServiceAccount, string Verb, string? Path, string Group = "", string Resource = "", string Subresource = "", string Namespace = "", string Name = "",
    string FieldSelector = "", string LabelSelector = "");

/// <summary>The authorizer's answer.</summary>
/// <param name="IsAllowed">Allowed.</param>
/// <param name="Reason">Why.</param>
/// <param name="Error">What kept it from judging; null when nothing did.</param>
public sealed record CelDecision(bool IsAllowed, string Reason, string? Error);

/// <summary>authorizer.group(...).resource(...).check("get").allowed(), with selectors.</summary>
public static class CelAuthorizerLibrary
{
    /// <summary>The type of the variable authorizer.</summary>
    public static readonly CelType AuthorizerType = CelType.Extension("kubernetes.authorization.Authorizer");

    /// <summary>The type of the variable authorizer.requestResource.</summary>
    public static readonly CelType ResourceCheckType = CelType.Extension("kubernetes.authorization.ResourceCheck");

    internal static readonly CelType PathCheckType = CelType.Extension("kubernetes.authorization.PathCheck");
    internal static readonly CelType GroupCheckType = CelType.Extension("kubernetes.authorization.GroupCheck");
    internal static readonly CelType DecisionType = CelType.Extension("kubernetes.authorization.Decision");

    private static readonly CelType s_string = CelType.String;

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("path", Member("authorizer_path", [AuthorizerType, s_string], PathCheckType, static args =>
            string.IsNullOrWhiteSpace(args[1].AsString) ? CelValue.Error("path must not be empty") : Check(args[0], PathCheckType, static (question, path) => question with { Path = path }, args[1]))),
        Function("group", Member("authorizer_group", [AuthorizerType, s_string], GroupCheckType, static args =>
            Check(args[0], GroupCheckType, static (question, group) => question with { Group = group }, args[1]))),
        Function("serviceAccount", Member("authorizer_serviceaccount", [AuthorizerType, s_string, s_string], AuthorizerType, static args => ServiceAccount(args))),
        Function("resource", Member("groupcheck_resource", [GroupCheckType, s_string], ResourceCheckType, static args =>
            string.IsNullOrWhiteSpace(args[1].AsString) ? CelValue.Error("resource must not be empty")
                : Check(args[0], ResourceCheckType, static (question, resource) => question with { Resource = resource }, args[1]))),
        Narrow("subresource", "resourcecheck_subresource", static (question, value) => question with { Subresource = value }),
        Narrow("namespace", "resourcecheck_namespace", static (question, value) => question with { Namespace = value }),
        Narrow("name", "resourcecheck_name", static (question, value) => question with { Name = value }),
        Narrow("fieldSelector", "authorizer_fieldselector", static (question, value) => question with { FieldSelector = value }),
        Narrow("labelSelector", "authorizer_labelselector", static (question, value) => question with { LabelSelector = value }),
        Function("check",
            Member("pathcheck_check", [PathCheckType, s_string], DecisionType, static args => ((CelCheck)args[0].Reference!).Decide(args[1].AsString)),
            Member("resourcecheck_check", [ResourceCheckType, s_string], DecisionType, static args => ((CelCheck)args[0].Reference!).Decide(args[1].AsString))),
        Read("errored", "decision_errored", CelType.Bool, static decision => CelValue.Of(decision.Error is not null)),
        Read("error", "decision_error", s_string, static decision => CelValue.Of(decision.Error ?? "")),
        Read("allowed", "decision_allowed", CelType.Bool, static decision => CelValue.Of(decision.IsAllowed)),
        Read("reason", "decision_reason", s_string, static decision => CelValue.Of(decision.Reason)),
    ];

    /// <summary>The value of the variable authorizer.</summary>
    public static CelValue Authorizer(ICelAuthorizer authorizer) => CelValue.Struct(new CelCheck(authorizer, AuthorizerType, new CelQuestion(null, "", null)));

    /// <summary>The value of the variable authorizer.requestResource: the question without its verb.</summary>
    public static CelValue ResourceCheck(ICelAuthorizer authorizer, CelQuestion question) => CelValue.Struct(new CelCheck(authorizer, ResourceCheckType, question));

    private static CelFunction Narrow(string name, string id, Func<CelQuestion, string, CelQuestion> change) =>
        Function(name, Member(id, [ResourceCheckType, s_string], ResourceCheckType, args => Check(args[0], ResourceCheckType, change, args[1])));

    private static CelFunction Read(string name, string id, CelType type, Func<CelDecision, CelValue> read) =>
        Function(name, Member(id, [DecisionType], type, args => read(((CelVerdict)args[0].Reference!).Decision)));

    private static CelValue Check(CelValue from, CelType type, Func<CelQuestion, string, CelQuestion> change, CelValue value)
    {
        var check = (CelCheck)from.Reference!;
        return CelValue.Struct(new CelCheck(check.Authorizer, type, change(check.Question, value.AsString)));
    }

    private static CelValue ServiceAccount(ReadOnlySpan<CelValue> args)
    {
        var (ns, name) = (args[1].AsString, args[2].AsString);
        if (!Formats.Is(Format.Dns1123Subdomain, Encoding.UTF8.GetBytes(name)))
            return CelValue.Error("Invalid service account name");
        if (!Formats.Is(Format.Dns1123Label, Encoding.UTF8.GetBytes(ns)))
            return CelValue.Error("Invalid service account namespace");
        var check = (CelCheck)args[0].Reference!;
        return CelValue.Struct(new CelCheck(check.Authorizer, AuthorizerType, check.Question with { ServiceAccount = (ns, name) }));
    }

    private sealed class CelCheck(ICelAuthorizer authorizer, CelType type, CelQuestion question) : ICelObject
    {
        internal ICelAuthorizer Authorizer { get; } = authorizer;

        internal CelQuestion Question { get; } = question;

        public string TypeName => type.Name;

        internal CelValue Decide(string verb) => CelValue.Struct(new CelVerdict(Authorizer.Decide(Question with { Verb = verb })));

        public CelValue EqualTo(CelValue other) => other.Reference is CelCheck check ? CelValue.Of(check.TypeName == TypeName && check.Question == Question) : CelValue.NoSuchOverload;
    }

    private sealed class CelVerdict(CelDecision decision) : ICelObject
    {
        internal CelDecision Decision { get; } = decision;

        public string TypeName => DecisionType.Name;

        public CelValue EqualTo(CelValue other) => other.Reference is CelVerdict verdict ? CelValue.Of(verdict.Decision == Decision) : CelValue.NoSuchOverload;
    }
}
