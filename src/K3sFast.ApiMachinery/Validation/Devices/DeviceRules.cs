using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Rules that the kinds of dynamic resource allocation share: names of pools and attributes, selectors, opaque parameters, taints, conditions.</summary>
internal static class DeviceRules
{
    internal const int MaxRequests = 32;
    private const int MaxSelectors = 32;
    private const int MaxExpression = 10 * 1024;
    private const int MaxParameters = 10 * 1024;
    private const int MaxDomain = 63;
    private const int MaxIdentifier = 32; // C identifiers in attribute and capacity names
    private const int MaxBindingConditions = 4;

    private static readonly string[] s_effects = ["NoExecute", "NoSchedule", "None"];

    /// <summary>A list with a bound: above it nothing but the number is told.</summary>
    internal static bool Fits(At at, ApiNode list, int max)
    {
        if (list.Count <= max)
            return true;
        at.TooMany(list.Count, max);
        return false;
    }

    internal static void NoDoubles(At at, ApiNode list, Func<ApiNode, string> key)
    {
        if (list.Count < 2)
            return;
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var element in list.Elements)
        {
            if (!seen.Add(key(element)))
                at[i].Duplicate(key(element));
            i++;
        }
    }

    internal static void PoolName(At at, ApiNode name)
    {
        if (name.Utf8.IsEmpty)
        {
            at.Required();
            return;
        }
        if (name.Utf8.Length > 253)
            at.TooLong(253);
        foreach (string part in name.AsString().Split('/'))
            at.Format(Format.Dns1123Subdomain, part);
    }

    internal static void ClassName(At at, ApiNode name)
    {
        if (name.Utf8.IsEmpty)
            at.Required();
        else
            at.Format(Format.Dns1123Subdomain, name);
    }

    /// <summary>An attribute's or capacity's name: an identifier, with or without a domain.</summary>
    internal static void QualifiedName(At at, string name)
    {
        string[] parts = name.Split('/');
        if (parts.Length == 1)
        {
            Identifier(at, name);
        }
        else if (parts.Length == 2)
        {
            if (parts[0].Length == 0)
                at.Invalid("", "the domain must not be empty");
            else
                Domain(at, parts[0]);
            if (parts[1].Length == 0)
                at.Invalid("", "the name must not be empty");
            else
                Identifier(at, parts[1]);
        }
    }

    internal static void FullyQualifiedName(At at, ApiNode name)
    {
        QualifiedName(at, name.AsString());
        if (name.Utf8.IndexOf((byte)'/') < 0)
            at.Invalid(name, "a fully qualified name must be a domain and a name separated by a slash");
    }

    private static void Domain(At at, string domain)
    {
        if (Encoding.UTF8.GetByteCount(domain) > MaxDomain)
            at.TooLong(MaxDomain);
        foreach (string problem in Formats.Problems(Format.Dns1123Subdomain, domain.ToLowerInvariant()))
            at.Invalid(domain, problem);
    }

    private static void Identifier(At at, string name)
    {
        if (Encoding.UTF8.GetByteCount(name) > MaxIdentifier)
            at.TooLong(MaxIdentifier);
        at.Format(Format.CIdentifier, name);
    }

    internal static void Selectors(At at, ApiNode selectors)
    {
        if (!Fits(at, selectors, MaxSelectors))
            return;
        int i = 0;
        foreach (var selector in selectors.Elements)
        {
            var place = at[i++]["cel"];
            var expression = selector["cel"u8]["expression"u8];
            if (selector["cel"u8].Kind != NodeKind.Object)
                place.Required();
            else if (expression.Utf8.Length > MaxExpression)
                place["expression"].TooLong(MaxExpression);
            else
                DeviceExpressions.Judge(place["expression"], expression.AsString());
        }
    }

    /// <summary>The parameters that only a driver understands.</summary>
    internal static void Opaque(At at, ApiNode config, bool isStored)
    {
        var opaque = config["opaque"u8];
        if (opaque.Kind != NodeKind.Object)
        {
            at["opaque"].Required();
            return;
        }
        StorageValidation.DriverName(at["opaque"]["driver"], opaque["driver"u8]);
        RawObject(at["opaque"]["parameters"], opaque["parameters"u8], MaxParameters, isStored);
    }

    /// <summary>Any JSON object, of bounded size where it is new.</summary>
    internal static void RawObject(At at, ApiNode value, int max, bool isStored)
    {
        if (value.IsNullOrUndefined)
            at.Required();
        else if (!isStored && Encoding.UTF8.GetByteCount(value.ToString()) > max)
            at.TooLong(max);
        else if (value.Kind != NodeKind.Object)
            at.Invalid("<value omitted>", "must be a valid JSON object");
    }

    internal static void Taint(At at, ApiNode taint, ApiNode old)
    {
        at["key"].Format(Format.LabelKey, taint["key"u8].AsString());
        if (!taint["value"u8].Utf8.IsEmpty)
            at["value"].Format(Format.LabelValue, taint["value"u8]);
        if (!old.IsDefined || !taint["effect"u8].Equals(old["effect"u8].Utf8))
            at["effect"].RequiredOneOf(taint["effect"u8], s_effects);
    }

    internal static void Tolerations(At at, ApiNode tolerations)
    {
        int i = 0;
        foreach (var toleration in tolerations.Elements)
        {
            var place = at[i++];
            if (!toleration["key"u8].Utf8.IsEmpty)
                place["key"].Format(Format.LabelKey, toleration["key"u8]);
            switch (toleration["operator"u8].AsString())
            {
                case "Exists":
                    if (!toleration["value"u8].Utf8.IsEmpty)
                        place["value"].Invalid(toleration["value"u8], "must be empty for operator `Exists`");
                    break;
                case "Equal":
                    place["value"].Format(Format.LabelValue, toleration["value"u8].AsString());
                    break;
                case "":
                    place["operator"].Required();
                    break;
                default:
                    place["operator"].NotSupported(toleration["operator"u8], ["Equal", "Exists"]);
                    break;
            }
            if (!toleration["effect"u8].Utf8.IsEmpty)
                place["effect"].OneOf(toleration["effect"u8], s_effects);
        }
    }

    /// <summary>Conditions that say when a device is ready, and when it never will be.</summary>
    internal static void Binding(At at, ApiNode owner)
    {
        var conditions = owner["bindingConditions"u8];
        var failures = owner["bindingFailureConditions"u8];
        Labels(at["bindingConditions"], conditions);
        Labels(at["bindingFailureConditions"], failures);
        NoDoubles(at["bindingConditions"], conditions, static name => name.AsString());
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var failure in failures.Elements)
        {
            var place = at["bindingFailureConditions"][i++];
            if (!seen.Add(failure.AsString()))
                place.Duplicate(failure);
            foreach (var condition in conditions.Elements)
            {
                if (!condition.Equals(failure.Utf8))
                    continue;
                place.Invalid(failure, "bindingFailureConditions must not overlap with bindingConditions");
                break;
            }
        }
        if (conditions.Count == 0 && failures.Count > 0)
            at["bindingConditions"].Invalid(default(ApiNode), "bindingConditions are required to use bindingFailureConditions");
        if (failures.Count == 0 && conditions.Count > 0)
            at["bindingFailureConditions"].Invalid(default(ApiNode), "bindingFailureConditions are required to use bindingConditions");
    }

    private static void Labels(At at, ApiNode names)
    {
        if (!Fits(at, names, MaxBindingConditions))
            return;
        int i = 0;
        foreach (var name in names.Elements)
            at[i++].Format(Format.LabelKey, name.AsString());
    }

    /// <summary>An address with the length of its network's prefix, written as short as it goes.</summary>
    internal static void InterfaceAddress(At at, ApiNode address)
    {
        string text = address.AsString();
        int slash = text.IndexOf('/');
        if (slash < 0 || !System.Net.IPAddress.TryParse(text[..slash], out var ip) || !int.TryParse(text[(slash + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out int bits)
            || bits > (text[..slash].Contains(':') ? 128 : 32))
        {
            at.Invalid(address, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)");
            return;
        }
        if (ip.IsIPv4MappedToIPv6)
        {
            ip = ip.MapToIPv4();
            bits = Math.Max(0, bits - 96);
        }
        string canonical = $"{ip}/{bits}";
        if (text != canonical)
            at.Invalid(address, $"must be in canonical form (\"{canonical}\")");
    }
}
