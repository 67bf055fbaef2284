using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The authorizer of expressions, with answers remembered for one request. Expressions do not wait: when an authorizer must be asked elsewhere, the
/// evaluation is left with <see cref="PendingException"/>, the answer fetched, and the expression evaluated again.
/// </summary>
internal sealed class PolicyAuthorizer(Authorizer authorizer, UserInfo user) : ICelAuthorizer
{
    private readonly Dictionary<CelQuestion, CelDecision> _answers = [];

    public CelDecision Decide(CelQuestion question)
    {
        if (_answers.TryGetValue(question, out var known))
            return known;
        var pending = AskAsync(question, CancellationToken.None);
        if (!pending.IsCompletedSuccessfully)
            throw new PendingException(question, pending);
        return _answers[question] = pending.Result;
    }

    /// <summary>Evaluates, as often as answers have to be fetched.</summary>
    internal async ValueTask<CelOutcome> EvaluateAsync(CelProgram program, ICelVariables variables)
    {
        while (true)
        {
            PendingException missing;
            try
            {
                return program.Evaluate(variables);
            }
            catch (PendingException pending)
            {
                missing = pending;
            }
            _answers[missing.Question] = await missing.Answer.ConfigureAwait(false);
        }
    }

    private async ValueTask<CelDecision> AskAsync(CelQuestion question, CancellationToken cancel)
    {
        var decision = await authorizer.AuthorizeAsync(Attributes(question), cancel).ConfigureAwait(false);
        return new CelDecision(decision.IsAllowed, decision.Reason, decision.Error);
    }

    private AuthorizationAttributes Attributes(CelQuestion question) => new()
    {
        User = question.ServiceAccount is { } account ? UserInfo.ServiceAccount(account.Namespace, account.Name) : user,
        Verb = Encoding.UTF8.GetBytes(question.Verb),
        IsResourceRequest = question.Path is null,
        Path = Encoding.UTF8.GetBytes(question.Path ?? ""),
        Group = Encoding.UTF8.GetBytes(question.Group),
        Version = "*"u8,
        Resource = Encoding.UTF8.GetBytes(question.Resource),
        Subresource = Encoding.UTF8.GetBytes(question.Subresource),
        Namespace = Encoding.UTF8.GetBytes(question.Namespace),
        Name = Encoding.UTF8.GetBytes(question.Name),
        FieldSelector = Encoding.UTF8.GetBytes(Uri.EscapeDataString(question.FieldSelector)),
        LabelSelector = Encoding.UTF8.GetBytes(Uri.EscapeDataString(question.LabelSelector)),
    };

    private sealed class PendingException(CelQuestion question, ValueTask<CelDecision> answer) : Exception
    {
        internal CelQuestion Question { get; } = question;

        internal ValueTask<CelDecision> Answer { get; } = answer;
    }
}
