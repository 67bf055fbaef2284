using System.Text;

namespace K3sFast.ApiMachinery;

internal static partial class TableRows
{
    private static void Service(ref TableCells cells, ApiNode service)
    {
        var spec = service["spec"u8];
        cells.Name(service);
        cells.Text(spec["type"u8]);
        cells.TextOr(FirstOf(spec["clusterIPs"u8]), "<none>"u8);
        cells.Text(ExternalAddress(spec, service["status"u8]));
        var ports = new List<string>();
        foreach (var port in spec["ports"u8].Elements)
        {
            long nodePort = port["nodePort"u8].AsInt64();
            string number = nodePort > 0 ? $"{port["port"u8].AsInt64()}:{nodePort}" : $"{port["port"u8].AsInt64()}";
            ports.Add($"{number}/{port["protocol"u8].AsString()}");
        }
        cells.Text(ports.Count == 0 ? "<none>" : string.Join(',', ports));
        cells.Age(service);
        cells.Text(FormatLabels(spec["selector"u8]));
    }

    private static string ExternalAddress(ApiNode spec, ApiNode status)
    {
        string external = Join(spec["externalIPs"u8]);
        switch (spec["type"u8].AsString())
        {
            case "ClusterIP" or "NodePort":
                return external.Length > 0 ? external : "<none>";
            case "LoadBalancer":
                string assigned = LoadBalancerAddresses(status);
                return external.Length == 0 ? (assigned.Length > 0 ? assigned : "<pending>") : assigned.Length == 0 ? external : $"{assigned},{external}";
            case "ExternalName":
                return spec["externalName"u8].AsString();
            default:
                return "<unknown>";
        }
    }

    private static string LoadBalancerAddresses(ApiNode status)
    {
        var addresses = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var ingress in status["loadBalancer"u8]["ingress"u8].Elements)
        {
            var address = ingress["ip"u8].Utf8.IsEmpty ? ingress["hostname"u8] : ingress["ip"u8];
            if (!address.Utf8.IsEmpty)
                addresses.Add(address.AsString());
        }
        return string.Join(',', addresses);
    }

    private static void Endpoints(ref TableCells cells, ApiNode endpoints)
    {
        var shown = new List<string>();
        int count = 0;
        foreach (var subset in endpoints["subsets"u8].Elements)
        {
            int ports = Math.Max(1, subset["ports"u8].Count);
            count += subset["addresses"u8].Count * ports;
            if (subset["ports"u8].Count == 0)
                AddAddresses(shown, subset["addresses"u8], default);
            foreach (var port in subset["ports"u8].Elements)
                AddAddresses(shown, subset["addresses"u8], port["port"u8]);
        }
        cells.Name(endpoints);
        string text = string.Join(',', shown);
        cells.Text(endpoints["subsets"u8].Count == 0 ? "<none>" : count > 3 ? $"{text} + {count - 3} more..." : text);
        cells.Age(endpoints);
    }

    private static void AddAddresses(List<string> shown, ApiNode addresses, ApiNode port)
    {
        foreach (var address in addresses.Elements)
        {
            if (shown.Count == 3)
                return;
            string ip = address["ip"u8].AsString();
            shown.Add(!port.IsDefined ? ip : ip.Contains(':') ? $"[{ip}]:{port.AsInt64()}" : $"{ip}:{port.AsInt64()}");
        }
    }

    private static void EndpointSlice(ref TableCells cells, ApiNode slice)
    {
        var ports = new List<string>();
        foreach (var port in slice["ports"u8].Elements)
            ports.Add(!port["port"u8].IsNullOrUndefined ? port["port"u8].AsString() : !port["name"u8].IsNullOrUndefined ? port["name"u8].AsString() : "*");
        var addresses = new List<string>();
        foreach (var endpoint in slice["endpoints"u8].Elements)
            foreach (var address in endpoint["addresses"u8].Elements)
                addresses.Add(address.AsString());
        cells.Name(slice);
        cells.Text(slice["addressType"u8]);
        cells.Text(FirstThree(ports, "<unset>"));
        cells.Text(FirstThree(addresses, "<unset>"));
        cells.Age(slice);
    }

    private static string FirstThree(List<string> texts, string whenEmpty) => texts.Count switch
    {
        0 => whenEmpty,
        <= 3 => string.Join(',', texts),
        _ => $"{texts[0]},{texts[1]},{texts[2]} + {texts.Count - 3} more...",
    };

    private static void Node(ref TableCells cells, ApiNode node)
    {
        var info = node["status"u8]["nodeInfo"u8];
        var ready = Condition(node, "Ready"u8);
        string status = !ready.IsDefined ? "Unknown" : ready["status"u8].Equals("True"u8) ? "Ready" : "NotReady";
        cells.Name(node);
        cells.Text(node["spec"u8]["unschedulable"u8].AsBool() ? status + ",SchedulingDisabled" : status);
        cells.Text(NodeRoles(node["metadata"u8]["labels"u8]));
        cells.Age(node);
        cells.Text(info["kubeletVersion"u8]);
        cells.TextOr(NodeAddress(node, "InternalIP"u8), "<none>"u8);
        cells.TextOr(NodeAddress(node, "ExternalIP"u8), "<none>"u8);
        cells.TextOr(info["osImage"u8], "<unknown>"u8);
        string kernel = info["kernelVersion"u8].Utf8.IsEmpty ? "<unknown>" : info["kernelVersion"u8].AsString();
        cells.Text(info["architecture"u8].Utf8.IsEmpty ? kernel : $"{kernel} ({info["architecture"u8].AsString()})");
        cells.TextOr(info["containerRuntimeVersion"u8], "<unknown>"u8);
    }

    private static string NodeRoles(ApiNode labels)
    {
        const string Prefix = "node-role.kubernetes.io/";
        var roles = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var label in labels.Members)
        {
            string key = Encoding.UTF8.GetString(label.Name);
            if (key.StartsWith(Prefix, StringComparison.Ordinal) && key.Length > Prefix.Length)
                roles.Add(key[Prefix.Length..]);
            else if (key == "kubernetes.io/role" && !label.Value.Utf8.IsEmpty)
                roles.Add(label.Value.AsString());
        }
        return roles.Count == 0 ? "<none>" : string.Join(',', roles);
    }

    private static ApiNode NodeAddress(ApiNode node, ReadOnlySpan<byte> type)
    {
        foreach (var address in node["status"u8]["addresses"u8].Elements)
            if (address["type"u8].Equals(type))
                return address["address"u8];
        return default;
    }

    private static void Namespace(ref TableCells cells, ApiNode ns)
    {
        cells.Name(ns);
        cells.Text(ns["status"u8]["phase"u8]);
        cells.Age(ns);
    }

    private static void ConfigMap(ref TableCells cells, ApiNode map)
    {
        cells.Name(map);
        cells.Number(map["data"u8].Count + map["binaryData"u8].Count);
        cells.Age(map);
    }

    private static void Secret(ref TableCells cells, ApiNode secret)
    {
        cells.Name(secret);
        cells.Text(secret["type"u8]);
        cells.Number(secret["data"u8].Count);
        cells.Age(secret);
    }

    /// <summary>Events of both groups: events.k8s.io has the same facts under other names.</summary>
    private static void Event(ref TableCells cells, ApiNode obj)
    {
        var involved = Either(obj, "involvedObject"u8, "regarding"u8);
        var first = Either(obj, "firstTimestamp"u8, "deprecatedFirstTimestamp"u8);
        var last = Either(obj, "lastTimestamp"u8, "deprecatedLastTimestamp"u8);
        var count = Either(obj, "count"u8, "deprecatedCount"u8);
        var source = Either(obj, "source"u8, "deprecatedSource"u8);
        var series = obj["series"u8];
        string firstSeen = cells.AgeOf(first.IsNullOrUndefined ? obj["eventTime"u8] : first);
        string lastSeen = last.IsNullOrUndefined ? firstSeen : cells.AgeOf(last);
        long number = count.AsInt64();
        if (series.Kind == NodeKind.Object)
        {
            lastSeen = cells.AgeOf(series["lastObservedTime"u8]);
            number = series["count"u8].AsInt64();
        }
        else if (number == 0)
        {
            number = 1;
        }
        string kind = involved["kind"u8].AsString().ToLowerInvariant();
        string component = FirstNonEmpty(source["component"u8], Either(obj, "reportingComponent"u8, "reportingController"u8));
        string host = FirstNonEmpty(source["host"u8], obj["reportingInstance"u8]);
        cells.Text(lastSeen);
        cells.Text(obj["type"u8]);
        cells.Text(obj["reason"u8]);
        cells.Text(involved["name"u8].Utf8.IsEmpty ? kind : $"{kind}/{involved["name"u8].AsString()}");
        cells.Text(involved["fieldPath"u8]);
        cells.Text(host.Length == 0 ? component : $"{component}, {host}");
        cells.Text(Either(obj, "message"u8, "note"u8).AsString().Trim());
        cells.Text(firstSeen);
        cells.Number(number);
        cells.Name(obj);
    }

    private static ApiNode Either(ApiNode obj, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second) =>
        obj[first].IsNullOrUndefined ? obj[second] : obj[first];

    private static string FirstNonEmpty(ApiNode first, ApiNode second) => first.Utf8.IsEmpty ? second.AsString() : first.AsString();

    private static void PersistentVolume(ref TableCells cells, ApiNode volume)
    {
        var spec = volume["spec"u8];
        var claim = spec["claimRef"u8];
        cells.Name(volume);
        cells.Text(spec["capacity"u8]["storage"u8]);
        cells.Text(AccessModes(spec["accessModes"u8]));
        cells.Text(spec["persistentVolumeReclaimPolicy"u8]);
        cells.Text(PhaseOf(volume));
        cells.Text(claim.Kind == NodeKind.Object ? $"{claim["namespace"u8].AsString()}/{claim["name"u8].AsString()}" : "");
        cells.Text(StorageClassOf(volume));
        cells.TextOr(spec["volumeAttributesClassName"u8], "<unset>"u8);
        cells.Text(volume["status"u8]["reason"u8]);
        cells.Age(volume);
        cells.TextOr(spec["volumeMode"u8], "<unset>"u8);
    }

    private static void PersistentVolumeClaim(ref TableCells cells, ApiNode claim)
    {
        var spec = claim["spec"u8];
        var status = claim["status"u8];
        bool isBound = !spec["volumeName"u8].Utf8.IsEmpty;
        cells.Name(claim);
        cells.Text(PhaseOf(claim));
        cells.Text(spec["volumeName"u8]);
        cells.Text(isBound ? status["capacity"u8]["storage"u8] : default);
        cells.Text(isBound ? AccessModes(status["accessModes"u8]) : "");
        cells.Text(StorageClassOf(claim));
        cells.TextOr(spec["volumeAttributesClassName"u8], "<unset>"u8);
        cells.Age(claim);
        cells.TextOr(spec["volumeMode"u8], "<unset>"u8);
    }

    private static ReadOnlySpan<byte> PhaseOf(ApiNode obj) =>
        obj["metadata"u8]["deletionTimestamp"u8].IsNullOrUndefined ? obj["status"u8]["phase"u8].Utf8 : "Terminating"u8;

    private static ApiNode StorageClassOf(ApiNode obj)
    {
        var beta = obj["metadata"u8]["annotations"u8]["volume.beta.kubernetes.io/storage-class"u8];
        return beta.IsDefined ? beta : obj["spec"u8]["storageClassName"u8];
    }

    private static string AccessModes(ApiNode modes)
    {
        var shown = new List<string>(4);
        foreach (var (name, text) in new[] { ("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP") })
            foreach (var mode in modes.Elements)
                if (mode.AsString() == name && !shown.Contains(text))
                    shown.Add(text);
        return string.Join(',', shown);
    }

    private static void ResourceQuota(ref TableCells cells, ApiNode quota)
    {
        var hard = quota["status"u8]["hard"u8];
        var used = quota["status"u8]["used"u8];
        var names = new List<string>();
        foreach (var member in hard.Members)
            names.Add(Encoding.UTF8.GetString(member.Name));
        names.Sort(StringComparer.Ordinal);
        var requests = new List<string>();
        var limits = new List<string>();
        foreach (var name in names)
        {
            var key = Encoding.UTF8.GetBytes(name);
            string usedText = used[key].IsNullOrUndefined ? "0" : used[key].AsString();
            (name.StartsWith("limits.", StringComparison.Ordinal) ? limits : requests).Add($"{name}: {usedText}/{hard[key].AsString()}");
        }
        cells.Name(quota);
        cells.Text(string.Join(", ", requests));
        cells.Text(string.Join(", ", limits));
        cells.Age(quota);
    }

    private static void ComponentStatus(ref TableCells cells, ApiNode component)
    {
        string status = "Unknown";
        ApiNode message = default, error = default;
        foreach (var condition in component["conditions"u8].Elements)
        {
            if (!condition["type"u8].Equals("Healthy"u8))
                continue;
            status = condition["status"u8].Equals("True"u8) ? "Healthy" : "Unhealthy";
            message = condition["message"u8];
            error = condition["error"u8];
            break;
        }
        cells.Name(component);
        cells.Text(status);
        cells.Text(message);
        cells.Text(error);
    }
}
