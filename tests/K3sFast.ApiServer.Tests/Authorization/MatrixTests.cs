using System.Text;

namespace K3sFast.ApiServer.Tests;

/// <summary>
/// Every identity that the bootstrap table names, against every verb and resource that it names (and some that it does not): the product's decision must be that
/// of a slow evaluator which reads the table by itself and knows nothing of the product's.
/// </summary>
public sealed class MatrixTests(TestServer server)
{
    private static readonly string[] s_verbs =
        ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "approve", "sign", "bind", "escalate", "impersonate", "use", "proxy"];

    [Fact]
    public async Task EveryIdentity_ForEveryVerbAndResource_IsDecidedAsTheTableSays()
    {
        var table = SlowEvaluator.Load();
        var authorizer = await PolicyOfAsync();
        var (decisions, allowed) = (0, 0);
        foreach (var (user, groups) in table.Identities())
        {
            var identity = new UserInfo(user, groups);
            foreach (var ns in new[] { "", "default", "kube-system", "kube-public" })
            {
                foreach (var (group, resource, name) in table.Resources())
                {
                    foreach (var verb in s_verbs)
                    {
                        var slash = resource.IndexOf('/', StringComparison.Ordinal);
                        var expected = table.Allows(user, groups, verb, group, resource, name, ns);
                        var decided = authorizer.Authorize(new AuthorizationAttributes
                        {
                            User = identity,
                            Verb = Encoding.UTF8.GetBytes(verb),
                            IsResourceRequest = true,
                            Group = Encoding.UTF8.GetBytes(group),
                            Resource = Encoding.UTF8.GetBytes(slash < 0 ? resource : resource[..slash]),
                            Subresource = Encoding.UTF8.GetBytes(slash < 0 ? "" : resource[(slash + 1)..]),
                            Namespace = Encoding.UTF8.GetBytes(ns),
                            Name = Encoding.UTF8.GetBytes(name),
                        });
                        if (expected != decided.IsAllowed)
                            Assert.Fail($"{user} [{string.Join(' ', groups)}] {verb} {group}/{resource} {name} in \"{ns}\": table says {expected}, policy {decided}");
                        Assert.True(!decided.IsAllowed || decided.Reason.StartsWith("RBAC: allowed by ", StringComparison.Ordinal), decided.Reason);
                        decisions++;
                        allowed += expected ? 1 : 0;
                    }
                }
            }
            foreach (var path in new[] { "/", "/api", "/api/v1", "/apis/apps", "/healthz", "/livez", "/livez/etcd", "/metrics", "/metrics/slis", "/openapi/v2", "/version", "/version/", "/readyz", "/.well-known/openid-configuration", "/openid/v1/jwks", "/x" })
            {
                foreach (var verb in new[] { "get", "post", "head" })
                {
                    var decided = authorizer.Authorize(new AuthorizationAttributes { User = identity, Verb = Encoding.UTF8.GetBytes(verb), Path = Encoding.UTF8.GetBytes(path) });
                    Assert.True(table.AllowsPath(user, groups, verb, path) == decided.IsAllowed, $"{user} {verb} {path}: {decided}");
                    decisions++;
                }
            }
        }
        // The matrix is one: not all of it is refused, nor allowed.
        Assert.InRange(decisions, 100_000, int.MaxValue);
        Assert.InRange(allowed, 1_000, decisions / 2);
    }

    // The policy as the server's own objects make it.
    private async Task<RbacPolicy> PolicyOfAsync()
    {
        var policy = new RbacPolicy();
        foreach (var kind in new[] { "clusterroles", "roles", "clusterrolebindings", "rolebindings" })
        {
            var list = await server.GetAsync($"/apis/rbac.authorization.k8s.io/v1/{kind}");
            foreach (var item in list.Json["items"]!.AsArray())
            {
                string ns = (string?)item!["metadata"]!["namespace"] ?? "", name = (string)item["metadata"]!["name"]!;
                // What other tests made is not the table's.
                if ((string?)item["metadata"]!["labels"]?["kubernetes.io/bootstrapping"] != "rbac-defaults")
                    continue;
                using var document = K3sFast.ApiMachinery.JsonCodec.Decode(Encoding.UTF8.GetBytes(item.ToJsonString()), null, K3sFast.ApiMachinery.DecodeOptions.Free, null);
                switch (kind)
                {
                    case "clusterroles": policy.SetClusterRole(name, document.Root); break;
                    case "roles": policy.SetRole(ns, name, document.Root); break;
                    case "clusterrolebindings": policy.SetBinding("", name, document.Root); break;
                    default: policy.SetBinding(ns, name, document.Root); break;
                }
            }
        }
        return policy;
    }

    /// <summary>Reads the table line by line for every question.</summary>
    private sealed class SlowEvaluator(List<string[]> lines)
    {
        internal static SlowEvaluator Load()
        {
            using var stream = typeof(ApiServer).Assembly.GetManifestResourceStream("bootstrap-rbac.tsv")!;
            using var reader = new StreamReader(stream);
            var lines = new List<string[]>();
            while (reader.ReadLine() is { } line)
                lines.Add(line.Split('\t'));
            return new SlowEvaluator(lines);
        }

        internal IEnumerable<(string User, string[] Groups)> Identities()
        {
            yield return ("nobody", ["system:authenticated"]);
            yield return ("system:anonymous", ["system:unauthenticated"]);
            foreach (var subject in lines.SelectMany(static line => line[9].Split(' ', StringSplitOptions.RemoveEmptyEntries)).Distinct())
            {
                var colon = subject.IndexOf(':', StringComparison.Ordinal);
                var (kind, name) = (subject[..colon], subject[(colon + 1)..]);
                yield return kind switch
                {
                    "Group" => ("member", [name]),
                    "User" => (name, ["system:authenticated"]),
                    _ => ($"system:serviceaccount:{name.Replace('/', ':')}", ["system:serviceaccounts", "system:authenticated"]),
                };
            }
        }

        internal List<(string Group, string Resource, string Name)> Resources()
        {
            var all = new HashSet<(string, string, string)> { ("", "pods", "x"), ("x.example.org", "things", ""), ("apps", "deployments/scale", "x"), ("", "pods/log", "") };
            foreach (var line in lines.Where(static line => line[7].Length > 0 && line[4].Length > 0))
            {
                var name = line[5].Split(',')[0];
                foreach (var group in line[3].Split(','))
                {
                    foreach (var resource in line[4].Split(','))
                        all.Add((group is "*" or "-" ? "" : group, resource == "*" ? "secrets" : resource, name));
                }
            }
            return [.. all.Order()];
        }

        internal bool Allows(string user, string[] groups, string verb, string group, string resource, string name, string ns) => RulesFor(user, groups, ns).Any(rule =>
            Has(rule[7], verb) && rule[4].Length > 0 && rule[3].Split(',').Any(g => g == "*" || (g == "-" ? "" : g) == group)
            && rule[4].Split(',').Any(r => r == "*" || r == resource || r.StartsWith("*/", StringComparison.Ordinal) && resource.Contains('/') && resource.EndsWith(r[1..], StringComparison.Ordinal))
            && (rule[5].Length == 0 || rule[5].Split(',').Contains(name)));

        internal bool AllowsPath(string user, string[] groups, string verb, string path) => RulesFor(user, groups, "").Any(rule =>
            Has(rule[7], verb) && rule[6].Split(',', StringSplitOptions.RemoveEmptyEntries).Any(url => url == path || url.EndsWith('*') && path.StartsWith(url[..^1], StringComparison.Ordinal)));

        private IEnumerable<string[]> RulesFor(string user, string[] groups, string ns)
        {
            foreach (var binding in lines.Where(static line => line[8].Length > 0))
            {
                if (binding[0] == "RoleBinding" && (ns.Length == 0 || binding[1] != ns) || !binding[9].Split(' ', StringSplitOptions.RemoveEmptyEntries).Any(subject => Is(subject, user, groups)))
                    continue;
                var role = binding[8].Split('/', 2);
                foreach (var rule in RoleRules(role[0], role[0] == "Role" ? binding[1] : "", role[1], 0))
                    yield return rule;
            }
        }

        // An aggregated role has the rules of those that are labelled for it.
        private IEnumerable<string[]> RoleRules(string kind, string ns, string name, int depth)
        {
            foreach (var line in lines.Where(line => line[0] == kind && line[1] == ns && line[2] == name))
            {
                if (line[7].Length > 0)
                    yield return line;
                if (line[10].Length == 0 || depth > 4)
                    continue;
                foreach (var part in lines.Where(other => other[11] == line[10] && other[0] == "ClusterRole").Select(static other => other[2]).Distinct())
                {
                    foreach (var rule in RoleRules("ClusterRole", "", part, depth + 1))
                        yield return rule;
                }
            }
        }

        private static bool Has(string list, string word) => list.Split(',').Any(item => item == "*" || item == word);

        private static bool Is(string subject, string user, string[] groups)
        {
            var colon = subject.IndexOf(':', StringComparison.Ordinal);
            var name = subject[(colon + 1)..];
            return subject[..colon] switch
            {
                "User" => name == user,
                "Group" => groups.Contains(name),
                _ => user == $"system:serviceaccount:{name.Replace('/', ':')}",
            };
        }
    }
}
