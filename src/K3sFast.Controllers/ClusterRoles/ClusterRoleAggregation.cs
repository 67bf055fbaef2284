using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Fills cluster roles that have an aggregation rule (admin, edit, view) with the rules of the roles that it selects.</summary>
internal sealed class ClusterRoleAggregation : Controller
{
    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1ClusterRole> _roles;
    private readonly WorkQueue<string> _queue;

    internal ClusterRoleAggregation(ControllerContext context) : base("clusterrole-aggregation-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<string>());
        _roles = context.Informers.Get(Resources.ClusterRoles);
        _roles.AddHandler(_ =>
        {
            // The same lock again, taken by its owner: allowed.
            foreach (var role in _roles.List())
            {
                if (role.AggregationRule is not null) _queue.Add(role.Metadata.Name);
            }
        });
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_roles.Get(null, name) is not { AggregationRule.ClusterRoleSelectors: { } selectors } role) return;
        var matchers = selectors.Select(LabelMatcher.Of).ToList();
        var rules = new List<V1PolicyRule>();
        var seen = new HashSet<string>();
        var sources = _roles.List().OrderBy(static source => source.Metadata.Name, StringComparer.Ordinal).ToList();
        foreach (var matcher in matchers)
        {
            foreach (var source in sources)
            {
                if (source.Metadata.Name == name || !matcher.Matches(source.Metadata.Labels)) continue;
                foreach (var rule in source.Rules ?? [])
                {
                    if (seen.Add(Text([rule]))) rules.Add(rule);
                }
            }
        }
        if (Text(role.Rules) == Text(rules)) return;
        var configuration = new V1ClusterRole { Metadata = new V1ObjectMeta { Name = name }, Rules = rules };
        await _client.ForceApplyAsync(Resources.ClusterRoles, configuration, Name, cancellationToken).ConfigureAwait(false);
    }

    private static string Text(IList<V1PolicyRule>? rules) => string.Join(';', (rules ?? []).Select(static rule =>
        $"{Text(rule.ApiGroups)}|{Text(rule.Resources)}|{Text(rule.ResourceNames)}|{Text(rule.NonResourceURLs)}|{Text(rule.Verbs)}"));

    private static string Text(IList<string>? values) => string.Join(',', values ?? []);
}
