namespace K3sFast.ApiMachinery;

/// <summary>One term of a ResourceQuota's scopes or scopeSelector.</summary>
/// <param name="Name">Terminating, NotTerminating, BestEffort, NotBestEffort, PriorityClass, CrossNamespacePodAffinity or VolumeAttributesClass.</param>
/// <param name="Operator">In, NotIn, Exists or DoesNotExist.</param>
/// <param name="Values">What In and NotIn compare with.</param>
public sealed record QuotaScope(string Name, string Operator, IReadOnlyList<string> Values)
{
    /// <summary>All terms of a quota's spec: every one must hold.</summary>
    public static List<QuotaScope> Of(ApiNode spec)
    {
        var scopes = new List<QuotaScope>();
        foreach (var scope in spec["scopes"u8].Elements)
            scopes.Add(new QuotaScope(scope.AsString(), "Exists", []));
        Read(spec["scopeSelector"u8]["matchExpressions"u8], scopes);
        return scopes;
    }

    /// <summary>The terms of a list of requirements.</summary>
    public static void Read(ApiNode expressions, List<QuotaScope> scopes)
    {
        foreach (var expression in expressions.Elements)
        {
            var values = new List<string>();
            foreach (var value in expression["values"u8].Elements)
                values.Add(value.AsString());
            scopes.Add(new QuotaScope(expression["scopeName"u8].AsString(), expression["operator"u8].AsString(), values));
        }
    }

    /// <summary>Whether a value that may be absent ("") satisfies the term.</summary>
    internal bool Admits(string value) => Operator switch
    {
        "In" => value.Length > 0 && Values.Contains(value),
        "NotIn" => value.Length == 0 || !Values.Contains(value),
        "Exists" => value.Length > 0,
        "DoesNotExist" => value.Length == 0,
        _ => false,
    };

    /// <summary>As the Go struct prints in upstream's refusals: {PriorityClass In [a b]}.</summary>
    public override string ToString() => $"{{{Name} {Operator} [{string.Join(' ', Values)}]}}";
}
