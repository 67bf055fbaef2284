using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of the containers of a pod spec; the pod's own facts that the rules look at are in <see cref="PodFacts"/>.</summary>
internal static class ContainerValidation
{
    private static readonly string[] s_protocols = ["SCTP", "TCP", "UDP"];
    private static readonly string[] s_pullPolicies = ["Always", "IfNotPresent", "Never"];
    private static readonly string[] s_messagePolicies = ["File", "FallbackToLogsOnError"];
    private static readonly string[] s_restartPolicies = ["Always", "Never", "OnFailure"];

    internal static void Containers(At at, in PodFacts pod)
    {
        var containers = pod.Spec["containers"u8];
        if (containers.Count == 0)
        {
            at.Required();
            return;
        }
        int i = 0;
        foreach (var container in containers.Elements)
        {
            var place = at[i];
            Common(place, container, pod);
            if (IndexOfName(containers, container["name"u8].Utf8) < i)
                place["name"].Duplicate(container["name"u8]);
            Lifecycle(place["lifecycle"], container["lifecycle"u8], pod);
            Probes(place, container, pod);
            RestartPolicy(place, container);
            i++;
        }
        HostPortConflicts(at, containers);
    }

    internal static void InitContainers(At at, in PodFacts pod)
    {
        const string OnlySidecars = "may not be set for init containers without restartPolicy=Always";
        var containers = pod.Spec["initContainers"u8];
        int i = 0;
        foreach (var container in containers.Elements)
        {
            var place = at[i];
            var name = container["name"u8];
            Common(place, container, pod);
            RestartPolicy(place, container);
            if (!name.Utf8.IsEmpty && (IndexOfName(containers, name.Utf8) < i || ResourceValidation.HasNamed(pod.Spec["containers"u8], name.Utf8)))
                place["name"].Duplicate(name);
            if (container["restartPolicy"u8].Equals("Always"u8))
            {
                Lifecycle(place["lifecycle"], container["lifecycle"u8], pod);
                Probes(place, container, pod);
            }
            else
            {
                ForbidWhenSet(place, "lifecycle", container["lifecycle"u8], OnlySidecars);
                ForbidWhenSet(place, "livenessProbe", container["livenessProbe"u8], OnlySidecars);
                ForbidWhenSet(place, "readinessProbe", container["readinessProbe"u8], OnlySidecars);
                ForbidWhenSet(place, "startupProbe", container["startupProbe"u8], OnlySidecars);
            }
            i++;
        }
    }

    internal static void EphemeralContainers(At at, in PodFacts pod)
    {
        const string Never = "cannot be set for an Ephemeral Container";
        var containers = pod.Spec["ephemeralContainers"u8];
        int i = 0;
        foreach (var container in containers.Elements)
        {
            var place = at[i];
            var name = container["name"u8];
            Common(place, container, pod);
            bool isOther = ResourceValidation.HasNamed(pod.Spec["containers"u8], name.Utf8) || ResourceValidation.HasNamed(pod.Spec["initContainers"u8], name.Utf8);
            if (isOther || IndexOfName(containers, name.Utf8) < i)
                place["name"].Duplicate(name);
            var target = container["targetContainerName"u8];
            if (!target.Utf8.IsEmpty && !ResourceValidation.HasNamed(pod.Spec["containers"u8], target.Utf8)
                && !ResourceValidation.HasNamed(pod.Spec["initContainers"u8], target.Utf8))
                place["targetContainerName"].NotFound(target);
            foreach (var field in (ReadOnlySpan<string>)["ports", "resources", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy", "restartPolicy"])
            {
                var value = container[Encoding.ASCII.GetBytes(field)];
                if (!value.IsNullOrUndefined && !(value.Kind is NodeKind.Object or NodeKind.Array && value.Count == 0))
                    place[field].Forbidden(Never);
            }
            int m = 0;
            foreach (var mount in container["volumeMounts"u8].Elements)
            {
                if (!mount["subPath"u8].Utf8.IsEmpty)
                    place["volumeMounts"][m]["subPath"].Forbidden(Never);
                if (!mount["subPathExpr"u8].Utf8.IsEmpty)
                    place["volumeMounts"][m]["subPathExpr"].Forbidden(Never);
                m++;
            }
            i++;
        }
    }

    /// <summary>Image names: a pod, unlike a template, may not pad them.</summary>
    internal static void ImagesOfPod(At at, ApiNode containers)
    {
        int i = 0;
        foreach (var container in containers.Elements)
            ImageOfPod(at[i++]["image"], container["image"u8]);
    }

    internal static void ImageOfPod(At at, ApiNode image)
    {
        var name = image.Utf8;
        if (!name.IsEmpty && (char.IsWhiteSpace((char)name[0]) || char.IsWhiteSpace((char)name[^1])))
            at.Invalid(image, "must not have leading or trailing whitespace");
    }

    internal static void PullPolicy(At at, ApiNode policy) => at.RequiredOneOf(policy, s_pullPolicies);

    internal static void PortNumberOrName(At at, ApiNode port)
    {
        if (port.Kind == NodeKind.String)
            at.Format(Format.PortName, port);
        else
            at.InRange(port, 1, 65535, optional: false);
    }

    private static void Common(At at, ApiNode container, in PodFacts pod)
    {
        if (container["name"u8].Utf8.IsEmpty)
            at["name"].Required();
        else
            at["name"].Format(Format.Dns1123Label, container["name"u8]);
        at["image"].RequiredText(container["image"u8]);
        at["terminationMessagePolicy"].RequiredOneOf(container["terminationMessagePolicy"u8], s_messagePolicies);
        Ports(at["ports"], container["ports"u8]);
        EnvValidation.Variables(at["env"], container["env"u8]);
        EnvValidation.Sources(at["envFrom"], container["envFrom"u8]);
        VolumeMountValidation.Mounts(at["volumeMounts"], container, pod);
        VolumeMountValidation.Devices(at["volumeDevices"], container, pod);
        PullPolicy(at["imagePullPolicy"], container["imagePullPolicy"u8]);
        ResourceValidation.Requirements(at["resources"], container["resources"u8], pod.Spec["resourceClaims"u8]);
        ResizePolicy(at["resizePolicy"], container["resizePolicy"u8], pod);
        SecurityContextValidation.Container(at["securityContext"], container["securityContext"u8], pod.UsesHostUsers);
    }

    private static void Ports(At at, ApiNode ports)
    {
        int i = 0;
        foreach (var port in ports.Elements)
        {
            var place = at[i];
            var name = port["name"u8];
            if (!name.Utf8.IsEmpty)
            {
                if (!Formats.Is(Format.PortName, name.Utf8))
                    place["name"].Format(Format.PortName, name);
                else if (IndexOfName(ports, name.Utf8) < i)
                    place["name"].Duplicate(name);
            }
            if (port["containerPort"u8].AsInt64() == 0)
                place["containerPort"].Required();
            else
                place["containerPort"].InRange(port["containerPort"u8], 1, 65535);
            if (port["hostPort"u8].AsInt64() != 0)
                place["hostPort"].InRange(port["hostPort"u8], 1, 65535);
            place["protocol"].RequiredOneOf(port["protocol"u8], s_protocols);
            i++;
        }
    }

    // Two containers of one pod cannot hold the same port of the node.
    private static void HostPortConflicts(At at, ApiNode containers)
    {
        HashSet<string>? taken = null;
        int i = 0;
        foreach (var container in containers.Elements)
        {
            int p = 0;
            foreach (var port in container["ports"u8].Elements)
            {
                long hostPort = port["hostPort"u8].AsInt64();
                if (hostPort != 0)
                {
                    string key = $"{port["protocol"u8].AsString()}/{port["hostIP"u8].AsString()}/{hostPort}";
                    taken ??= [];
                    if (!taken.Add(key))
                        at.Check.Errors.Duplicate(at[i]["ports"][p]["hostPort"].ToString(), key);
                }
                p++;
            }
            i++;
        }
    }

    private static void RestartPolicy(At at, ApiNode container)
    {
        var rules = container["restartPolicyRules"u8];
        if (container["restartPolicy"u8].IsNullOrUndefined)
        {
            if (rules.Count > 0)
                at["restartPolicy"].Required("must specify restartPolicy when restart rules are used");
        }
        else
        {
            at["restartPolicy"].OneOf(container["restartPolicy"u8], s_restartPolicies);
        }
        if (rules.Count > 20)
            at["restartPolicyRules"].TooMany(rules.Count, 20);
        int i = 0;
        foreach (var rule in rules.Elements)
        {
            var place = at["restartPolicyRules"][i++];
            place["action"].OneOf(rule["action"u8], ["Restart", "RestartAllContainers"]);
            if (rule["exitCodes"u8].Kind != NodeKind.Object)
            {
                place["exitCodes"].Required("must be specified");
                continue;
            }
            place["exitCodes"]["operator"].OneOf(rule["exitCodes"u8]["operator"u8], ["In", "NotIn"]);
            if (rule["exitCodes"u8]["values"u8].Count > 255)
                place["exitCodes"]["values"].TooMany(rule["exitCodes"u8]["values"u8].Count, 255);
        }
    }

    private static void ResizePolicy(At at, ApiNode policies, in PodFacts pod)
    {
        int i = 0;
        foreach (var policy in policies.Elements)
        {
            var resource = policy["resourceName"u8];
            var restart = policy["restartPolicy"u8];
            int earlier = 0;
            foreach (var other in policies.Elements)
            {
                if (earlier++ == i)
                    break;
                if (other["resourceName"u8].Equals(resource.Utf8))
                {
                    at[i].Duplicate(resource);
                    break;
                }
            }
            at.RequiredOneOf(resource, ["cpu", "memory"]);
            at.RequiredOneOf(restart, ["NotRequired", "RestartContainer"]);
            if (pod.Spec["restartPolicy"u8].Equals("Never"u8) && !restart.Equals("NotRequired"u8))
                at.Invalid(restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
            i++;
        }
    }

    private static void Lifecycle(At at, ApiNode lifecycle, in PodFacts pod)
    {
        if (lifecycle.Kind != NodeKind.Object)
            return;
        if (lifecycle["postStart"u8].Kind == NodeKind.Object)
            ProbeValidation.Handler(at["postStart"], lifecycle["postStart"u8], pod.GracePeriodSeconds);
        if (lifecycle["preStop"u8].Kind == NodeKind.Object)
            ProbeValidation.Handler(at["preStop"], lifecycle["preStop"u8], pod.GracePeriodSeconds);
    }

    private static void Probes(At at, ApiNode container, in PodFacts pod)
    {
        ProbeValidation.Liveness(at["livenessProbe"], container["livenessProbe"u8], pod.GracePeriodSeconds);
        ProbeValidation.Readiness(at["readinessProbe"], container["readinessProbe"u8], pod.GracePeriodSeconds);
        ProbeValidation.Liveness(at["startupProbe"], container["startupProbe"u8], pod.GracePeriodSeconds);
    }

    private static void ForbidWhenSet(At at, string field, ApiNode value, string detail)
    {
        if (!value.IsNullOrUndefined)
            at[field].Forbidden(detail);
    }

    private static int IndexOfName(ApiNode list, ReadOnlySpan<byte> name) => list.PlaceOf("name"u8, name, out _) is var place and >= 0 ? place : int.MaxValue;
}
