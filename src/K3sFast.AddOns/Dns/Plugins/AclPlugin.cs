using System.Net;
using K3sFast.Client;

namespace K3sFast.AddOns.Dns;

/// <summary>What becomes of a question that a rule is for.</summary>
internal enum AclAction
{
    Allow,
    Block,
    Filter,
    Drop,
}

/// <summary>A rule: which types (none = all) from which networks (none = all).</summary>
internal sealed record AclRule(AclAction Action, IReadOnlyList<DnsType> Types, IReadOnlyList<IPNetwork> Networks);

/// <summary>Refuses, empties or drops questions by who asks for what (acl). The first rule that is for a question decides.</summary>
internal sealed class AclPlugin(ZoneSet zones, IReadOnlyList<AclRule> rules, Func<AclAction, Counter> count) : Plugin
{
    private readonly Counter[] _counts = [.. Enum.GetValues<AclAction>().Select(count)];

    internal override string Name => "acl";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        if (zones.Match(exchange.Name) is null) return Step.Next;
        Span<byte> bytes = stackalloc byte[16];
        var client = new IPAddress(bytes[..exchange.ReadClient(bytes)]);
        var action = AclAction.Allow;
        foreach (var rule in rules)
        {
            if (rule.Types.Count > 0 && !rule.Types.Contains(exchange.Type)) continue;
            if (rule.Networks.Count > 0 && !rule.Networks.Any(network => network.Contains(client))) continue;
            action = rule.Action;
            break;
        }
        _counts[(int)action].Add();
        if (action == AclAction.Allow) return Step.Next;
        if (action == AclAction.Drop) return Step.Drop;
        exchange.Code = action == AclAction.Block ? DnsCode.Refused : DnsCode.NoError;
        return Step.Answered;
    }
}
