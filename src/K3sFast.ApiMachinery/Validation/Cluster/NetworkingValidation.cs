using System.Net;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of ingresses, ingress classes, network policies and endpoint slices.</summary>
internal static class NetworkingValidation
{
    private const int MaxEndpoints = 1000;
    private const int MaxAddresses = 100;
    private const int MaxPorts = 20000;
    private static readonly string[] s_protocols = ["SCTP", "TCP", "UDP"];

    private static readonly TypeSchema s_sliceType = Schema.BuiltIn.FindType("io.k8s.api.discovery.v1.EndpointSlice")!;
    private static readonly TypeSchema s_ingressClassSpecType = Schema.BuiltIn.FindType("io.k8s.api.networking.v1.IngressClassSpec")!;

    internal static void Ingress(At at, ApiNode ingress)
    {
        IngressSpec(at["spec"], ingress["spec"u8]);
        var annotation = ingress["metadata"u8]["annotations"u8]["kubernetes.io/ingress.class"u8];
        var className = ingress["spec"u8]["ingressClassName"u8];
        if (annotation.IsDefined && !className.IsNullOrUndefined && !annotation.Utf8.SequenceEqual(className.Utf8))
            at["annotations"]["kubernetes.io/ingress.class"].Invalid(annotation, "must match `ingressClassName` when both are specified");
    }

    internal static void IngressUpdate(At at, ApiNode ingress, ApiNode old) => IngressSpec(at["spec"], ingress["spec"u8]);

    internal static void IngressStatus(At at, ApiNode ingress, ApiNode old)
    {
        int i = 0;
        foreach (var address in ingress["status"u8]["loadBalancer"u8]["ingress"u8].Elements)
        {
            var place = at["status"]["loadBalancer"]["ingress"][i++];
            if (!address["ip"u8].Utf8.IsEmpty)
                Addresses.LegacyIP(place["ip"], address["ip"u8]);
            PodValidation.FormatWhenSet(place["hostname"], address["hostname"u8], Format.Dns1123Subdomain);
            if (System.Net.IPAddress.TryParse(address["hostname"u8].AsString(), out _))
                place["hostname"].Invalid(address["hostname"u8], "must be a DNS name, not an IP address");
        }
    }

    internal static void IngressClass(At at, ApiNode ingressClass)
    {
        var spec = ingressClass["spec"u8];
        at = at["spec"];
        if (spec["controller"u8].Utf8.Length > 250)
            at["controller"].TooLong(250);
        DomainPrefixedPath(at["controller"], spec["controller"u8]);
        var parameters = spec["parameters"u8];
        if (parameters.Kind != NodeKind.Object)
            return;
        at = at["parameters"];
        if (!parameters["apiGroup"u8].IsNullOrUndefined)
            at["apiGroup"].Format(Format.Dns1123Subdomain, parameters["apiGroup"u8]);
        RequiredSegment(at["kind"], parameters["kind"u8]);
        RequiredSegment(at["name"], parameters["name"u8]);
        if (parameters["scope"u8].IsNullOrUndefined)
            at["scope"].Required();
        else
            at["scope"].OneOf(parameters["scope"u8], ["Cluster", "Namespace"]);
        if (!parameters["namespace"u8].IsNullOrUndefined)
            at["namespace"].Format(Format.Dns1123Label, parameters["namespace"u8].AsString());
        bool hasNamespace = !parameters["namespace"u8].IsNullOrUndefined;
        if (parameters["scope"u8].Equals("Namespace"u8) && !hasNamespace)
            at["namespace"].Required("`parameters.scope` is set to 'Namespace'");
        else if (parameters["scope"u8].Equals("Cluster"u8) && hasNamespace)
            at["namespace"].Forbidden("`parameters.scope` is set to 'Cluster'");
    }

    internal static void IngressClassUpdate(At at, ApiNode ingressClass, ApiNode old)
    {
        at["spec"]["controller"].ImmutableMember(ingressClass["spec"u8], old["spec"u8], "controller"u8, s_ingressClassSpecType);
        IngressClass(at, ingressClass);
    }

    internal static void NetworkPolicy(At at, ApiNode policy)
    {
        var spec = policy["spec"u8];
        at = at["spec"];
        SelectorValidation.LabelSelector(at["podSelector"], spec["podSelector"u8]);
        Rules(at["ingress"], spec["ingress"u8], "from");
        Rules(at["egress"], spec["egress"u8], "to");
        if (spec["policyTypes"u8].Count > 2)
        {
            at["policyTypes"].Invalid(spec["policyTypes"u8], "may not specify more than two policyTypes");
            return;
        }
        int i = 0;
        foreach (var type in spec["policyTypes"u8].Elements)
            at["policyTypes"][i++].OneOf(type, ["Ingress", "Egress"]);
    }

    internal static void NetworkPolicyUpdate(At at, ApiNode policy, ApiNode old) => NetworkPolicy(at, policy);

    internal static void EndpointSlice(At at, ApiNode slice) => EndpointSlice(at, slice, default);

    // Endpoints that were stored are left as they are.
    private static void EndpointSlice(At at, ApiNode slice, ApiNode old)
    {
        var type = slice["addressType"u8];
        at["addressType"].RequiredOneOf(type, ["FQDN", "IPv4", "IPv6"]);
        var ports = slice["ports"u8];
        if (ports.Count > MaxPorts)
            at["ports"].TooMany(ports.Count, MaxPorts);
        HashSet<string>? names = null;
        int i = 0;
        foreach (var port in ports.Elements)
        {
            var place = at["ports"][i++];
            PodValidation.FormatWhenSet(place["name"], port["name"u8], Format.Dns1123Label);
            if (ports.Count > 1 && !(names ??= []).Add(port["name"u8].AsString()))
                place["name"].Duplicate(port["name"u8]);
            if (port["protocol"u8].IsNullOrUndefined)
                place["protocol"].Required();
            else
                place["protocol"].OneOf(port["protocol"u8], s_protocols);
            if (!port["appProtocol"u8].IsNullOrUndefined)
                place["appProtocol"].Format(Format.LabelKey, port["appProtocol"u8]);
        }
        if (!old.IsDefined || !SemanticEquality.MemberEqual(slice, old, "endpoints"u8, s_sliceType))
            Endpoints(at["endpoints"], slice["endpoints"u8], type);
    }

    internal static void EndpointSliceUpdate(At at, ApiNode slice, ApiNode old)
    {
        EndpointSlice(at, slice, old);
        at["addressType"].ImmutableMember(slice, old, "addressType"u8, s_sliceType);
    }

    /// <summary>A domain, a slash and a path, as controllers and managers are named.</summary>
    internal static void DomainPrefixedPath(At at, ApiNode value)
    {
        string text = value.AsString();
        int slash = text.IndexOf('/');
        if (text.Length == 0)
            at.Required();
        else if (slash <= 0 || slash == text.Length - 1)
            at.Invalid(text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        else
            at.Format(Format.Dns1123Subdomain, text[..slash]);
    }

    internal static void RequiredSegment(At at, ApiNode value)
    {
        if (value.Utf8.IsEmpty)
            at.Required();
        else
            at.Format(Format.PathSegment, value);
    }

    private static void IngressSpec(At at, ApiNode spec)
    {
        if (spec["rules"u8].Count == 0 && spec["defaultBackend"u8].Kind != NodeKind.Object)
            at.Invalid(spec["rules"u8], "either `defaultBackend` or `rules` must be specified");
        if (spec["defaultBackend"u8].Kind == NodeKind.Object)
            Backend(at["defaultBackend"], spec["defaultBackend"u8]);
        int i = 0;
        foreach (var rule in spec["rules"u8].Elements)
        {
            var place = at["rules"][i++];
            Host(place["host"], rule["host"u8], isRule: true);
            var http = rule["http"u8];
            if (http.Kind != NodeKind.Object)
                continue;
            if (http["paths"u8].Count == 0)
                place["http"]["paths"].Required();
            int p = 0;
            foreach (var path in http["paths"u8].Elements)
                IngressPath(place["http"]["paths"][p++], path);
        }
        i = 0;
        foreach (var tls in spec["tls"u8].Elements)
        {
            int h = 0;
            foreach (var host in tls["hosts"u8].Elements)
                Host(at["tls"][i]["hosts"][h++], host, isRule: false);
            PodValidation.FormatWhenSet(at["tls"][i]["secretName"], tls["secretName"u8], Format.Dns1123Subdomain);
            i++;
        }
        if (!spec["ingressClassName"u8].IsNullOrUndefined)
            at["ingressClassName"].Format(Format.Dns1123Subdomain, spec["ingressClassName"u8]);
    }

    private static void Host(At at, ApiNode host, bool isRule)
    {
        if (isRule && host.Utf8.IsEmpty)
            return;
        if (isRule && IPAddress.TryParse(host.AsString(), out _) && !host.AsString().All(char.IsAsciiDigit))
            at.Invalid(host, "must be a DNS name, not an IP address");
        at.Format(host.Utf8.Contains((byte)'*') ? Format.WildcardDns1123Subdomain : Format.Dns1123Subdomain, host);
    }

    private static void IngressPath(At at, ApiNode path)
    {
        var type = path["pathType"u8];
        string text = path["path"u8].AsString();
        if (type.IsNullOrUndefined)
        {
            at["pathType"].Required("pathType must be specified");
            return;
        }
        if (type.Equals("Exact"u8) || type.Equals("Prefix"u8))
        {
            if (!text.StartsWith('/'))
                at["path"].Invalid(text, "must be an absolute path");
            foreach (string sequence in (ReadOnlySpan<string>)["//", "/./", "/../", "%2f", "%2F"])
                if (text.Contains(sequence, StringComparison.Ordinal))
                    at["path"].Invalid(text, $"must not contain '{sequence}'");
            foreach (string suffix in (ReadOnlySpan<string>)["/..", "/."])
                if (text.EndsWith(suffix, StringComparison.Ordinal))
                    at["path"].Invalid(text, $"cannot end with '{suffix}'");
        }
        else if (type.Equals("ImplementationSpecific"u8))
        {
            if (text.Length > 0 && !text.StartsWith('/'))
                at["path"].Invalid(text, "must be an absolute path");
        }
        else
        {
            at["pathType"].NotSupported(type, ["Exact", "ImplementationSpecific", "Prefix"]);
        }
        Backend(at["backend"], path["backend"u8]);
    }

    private static void Backend(At at, ApiNode backend)
    {
        var service = backend["service"u8];
        var resource = backend["resource"u8];
        bool hasService = service.Kind == NodeKind.Object;
        bool hasResource = resource.Kind == NodeKind.Object;
        if (hasService && hasResource)
        {
            at.Invalid("", "cannot set both resource and service backends");
        }
        else if (hasResource)
        {
            if (!resource["apiGroup"u8].IsNullOrUndefined)
                at["resource"]["apiGroup"].Format(Format.Dns1123Subdomain, resource["apiGroup"u8]);
            RequiredSegment(at["resource"]["kind"], resource["kind"u8]);
            RequiredSegment(at["resource"]["name"], resource["name"u8]);
        }
        else if (hasService)
        {
            if (service["name"u8].Utf8.IsEmpty)
                at["service"]["name"].Required();
            else
                at["service"]["name"].Format(Format.Dns1123Label, service["name"u8]);
            var name = service["port"u8]["name"u8];
            var number = service["port"u8]["number"u8];
            if (!name.Utf8.IsEmpty && number.AsInt64() != 0)
                at.Invalid("", "cannot set both port name & port number");
            else if (!name.Utf8.IsEmpty)
                at["service"]["port"]["name"].Format(Format.PortName, name);
            else if (number.AsInt64() != 0)
                at["service"]["port"]["number"].InRange(number, 1, 65535);
            else
                at.Required("port name or number is required");
        }
        else
        {
            at.Invalid("", "resource or service backend is required");
        }
    }

    private static void Rules(At at, ApiNode rules, string peers)
    {
        var key = System.Text.Encoding.ASCII.GetBytes(peers);
        int i = 0;
        foreach (var rule in rules.Elements)
        {
            int p = 0;
            foreach (var port in rule["ports"u8].Elements)
                PolicyPort(at[i]["ports"][p++], port);
            p = 0;
            foreach (var peer in rule[key].Elements)
                Peer(at[i][peers][p++], peer);
            i++;
        }
    }

    private static void PolicyPort(At at, ApiNode port)
    {
        at["protocol"].OptionalOneOf(port["protocol"u8], ["TCP", "UDP", "SCTP"]);
        var number = port["port"u8];
        bool hasEnd = port["endPort"u8].TryGetInt64(out long end);
        if (number.IsNullOrUndefined)
        {
            if (hasEnd)
                at["endPort"].Invalid(end, "may not be specified when `port` is not specified");
            return;
        }
        if (hasEnd && number.Kind == NodeKind.String)
            at["endPort"].Invalid(end, "may not be specified when `port` is non-numeric");
        ContainerValidation.PortNumberOrName(at["port"], number);
        if (!hasEnd || number.Kind == NodeKind.String)
            return;
        if (end < number.AsInt64())
            at["endPort"].Invalid(number.AsInt64(), "must be greater than or equal to `port`");
        at["endPort"].InRange(port["endPort"u8], 1, 65535);
    }

    private static void Peer(At at, ApiNode peer)
    {
        bool hasPods = peer["podSelector"u8].Kind == NodeKind.Object;
        bool hasNamespaces = peer["namespaceSelector"u8].Kind == NodeKind.Object;
        var block = peer["ipBlock"u8];
        bool hasBlock = block.Kind == NodeKind.Object;
        SelectorValidation.LabelSelector(at["podSelector"], peer["podSelector"u8]);
        SelectorValidation.LabelSelector(at["namespaceSelector"], peer["namespaceSelector"u8]);
        if (hasBlock)
            IPBlock(at["ipBlock"], block);
        if (!hasPods && !hasNamespaces && !hasBlock)
            at.Required("must specify a peer");
        else if (hasBlock && (hasPods || hasNamespaces))
            at.Forbidden("may not specify both ipBlock and another peer");
    }

    private static void IPBlock(At at, ApiNode block)
    {
        var cidr = block["cidr"u8];
        if (cidr.Utf8.IsEmpty)
        {
            at["cidr"].Required();
            return;
        }
        if (!Addresses.Cidr(at["cidr"], cidr) || !IPNetwork.TryParse(cidr.AsString(), out var network))
            return;
        int i = 0;
        foreach (var except in block["except"u8].Elements)
        {
            var place = at["except"][i++];
            if (Addresses.Cidr(place, except) && IPNetwork.TryParse(except.AsString(), out var inner)
                && (!network.Contains(inner.BaseAddress) || network.PrefixLength >= inner.PrefixLength))
                place.Invalid(except, "must be a strict subset of `cidr`");
        }
    }

    private static void Hints(At at, ApiNode hints, Format format)
    {
        if (hints.Count > 8)
            at.TooMany(hints.Count, 8);
        HashSet<string>? names = null;
        int i = 0;
        foreach (var hint in hints.Elements)
        {
            string name = hint["name"u8].AsString();
            if (!(names ??= []).Add(name))
                at[i]["name"].Duplicate(hint["name"u8]);
            at[i++]["name"].Format(format, name);
        }
    }

    private static void Endpoints(At at, ApiNode endpoints, ApiNode type)
    {
        if (endpoints.Count > MaxEndpoints)
            at.TooMany(endpoints.Count, MaxEndpoints);
        bool isIPv4 = type.Equals("IPv4"u8);
        bool isIPv6 = type.Equals("IPv6"u8);
        int i = 0;
        foreach (var endpoint in endpoints.Elements)
        {
            var place = at[i++];
            var addresses = endpoint["addresses"u8];
            if (addresses.Count == 0)
                place["addresses"].Required("must contain at least 1 address");
            else if (addresses.Count > MaxAddresses)
                place["addresses"].TooMany(addresses.Count, MaxAddresses);
            int a = 0;
            foreach (var address in addresses.Elements)
            {
                var addressPlace = place["addresses"][a++];
                if (!isIPv4 && !isIPv6)
                {
                    addressPlace.Format(Format.Dns1123Subdomain, address);
                    continue;
                }
                if (!Addresses.LegacyIP(addressPlace, address))
                    continue;
                if (isIPv4 == Addresses.IsIPv6(address.AsString()))
                    place["addresses"].Invalid(address, isIPv4 ? "must be an IPv4 address" : "must be an IPv6 address");
                Addresses.Reachable(addressPlace, address.AsString());
            }
            if (!endpoint["nodeName"u8].IsNullOrUndefined)
                place["nodeName"].Format(Format.Dns1123Subdomain, endpoint["nodeName"u8].AsString());
            if (!endpoint["hostname"u8].IsNullOrUndefined)
                place["hostname"].Format(Format.Dns1123Label, endpoint["hostname"u8].AsString());
            Hints(place["hints"]["forZones"], endpoint["hints"u8]["forZones"u8], Format.LabelValue);
            Hints(place["hints"]["forNodes"], endpoint["hints"u8]["forNodes"u8], Format.Dns1123Subdomain);
            ObjectMetaValidation.Labels(place["deprecatedTopology"], endpoint["deprecatedTopology"u8]);
        }
    }
}
