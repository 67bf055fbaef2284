using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>A pod's container and the kubelet path that serves it.</summary>
internal readonly record struct PodTarget(string Node, string PathAndQuery);

/// <summary>log, exec, attach and portforward requests translated to the kubelet's paths, with upstream's checks and words.</summary>
internal sealed class PodTargets(ResourceStorage pods)
{
    /// <summary>The target of a request; an empty node for logs of a pod that has none.</summary>
    internal PodTarget Resolve(ApiCall call, string subresource)
    {
        // What is asked is judged before the pod is looked for.
        var query = subresource switch
        {
            "log" => LogQuery(call),
            "portforward" => PortQuery(call),
            _ => StreamQuery(call, subresource),
        };
        string ns = call.Info.NamespaceText, name = call.Info.NameText;
        using var stored = pods.Get(ns, name) ?? throw ApiStatus.NotFound("", "pods", name).ToException();
        using var pod = pods.Decode(stored);
        var spec = pod.Root["spec"u8];
        var node = spec["nodeName"u8].AsString();
        if (subresource == "portforward")
        {
            Require(node, name);
            return new PodTarget(node, $"/portForward/{ns}/{name}{query}");
        }
        var container = ContainerOf(call, spec, name);
        if (subresource == "log")
            return new PodTarget(node, $"/containerLogs/{ns}/{name}/{container}{query}");
        Require(node, name);
        return new PodTarget(node, $"/{subresource}/{ns}/{name}/{container}{query}");
    }

    private static void Require(string node, string pod)
    {
        if (node.Length == 0)
            throw ApiStatus.BadRequest($"pod {pod} does not have a host assigned").ToException();
    }

    private static string ContainerOf(ApiCall call, ApiNode spec, string pod)
    {
        var wanted = call.QueryString("container"u8) ?? "";
        if (wanted.Length > 0)
        {
            foreach (var list in (ReadOnlySpan<string>)["containers", "initContainers", "ephemeralContainers"])
            {
                foreach (var container in spec[Encoding.UTF8.GetBytes(list)].Elements)
                {
                    if (container["name"u8].AsString() == wanted)
                        return wanted;
                }
            }
            throw ApiStatus.BadRequest($"container {wanted} is not valid for pod {pod}").ToException();
        }
        switch (spec["containers"u8].Count)
        {
            case 1: return spec["containers"u8][0]["name"u8].AsString();
            case 0: throw ApiStatus.BadRequest($"a container name must be specified for pod {pod}").ToException();
        }
        var names = new List<string>();
        foreach (var list in (ReadOnlySpan<string>)["initContainers", "containers", "ephemeralContainers"])
        {
            foreach (var container in spec[Encoding.UTF8.GetBytes(list)].Elements)
                names.Add(container["name"u8].AsString());
        }
        throw ApiStatus.BadRequest($"a container name must be specified for pod {pod}, choose one of: [{string.Join(' ', names)}]").ToException();
    }

    private static string LogQuery(ApiCall call)
    {
        var errors = new FieldErrorList();
        var tail = Number(call, "tailLines"u8);
        var limit = Number(call, "limitBytes"u8);
        var seconds = Number(call, "sinceSeconds"u8);
        var time = Time(call);
        if (tail < 0)
            errors.Invalid("tailLines", tail.Value, "must be greater than or equal to 0");
        if (limit < 1)
            errors.Invalid("limitBytes", limit.Value, "must be greater than 0");
        if (seconds is not null && time is not null)
            errors.Forbidden("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified");
        else if (seconds < 1)
            errors.Invalid("sinceSeconds", seconds.Value, "must be greater than 0");
        // Choosing one of the two streams is a feature that is off unless it is asked for.
        if (call.QueryString("stream"u8) is not null)
            errors.Forbidden("stream", "may not be specified");
        if (errors.Count > 0)
            throw ApiStatus.Invalid("", "PodLogOptions", call.Info.NameText, errors).ToException();
        var query = new QueryBuilder();
        query.Flag("follow", call.QueryBool("follow"u8), "true");
        query.Flag("previous", call.QueryBool("previous"u8), "true");
        query.Flag("timestamps", call.QueryBool("timestamps"u8), "true");
        query.Number("sinceSeconds", seconds);
        query.Text("sinceTime", time ?? "");
        query.Number("tailLines", tail);
        query.Number("limitBytes", limit);
        return query.ToString();
    }

    private static long? Number(ApiCall call, ReadOnlySpan<byte> name)
    {
        // Unlike elsewhere a number that is there and empty is none.
        if (call.QueryString(name) is "")
            throw ApiStatus.BadRequest("strconv.ParseInt: parsing \"\": invalid syntax").ToException();
        return call.QueryInt64(name);
    }

    // RFC 3339, handed on in whole seconds; an empty one is the beginning of time.
    private static string? Time(ApiCall call)
    {
        var text = call.QueryString("sinceTime"u8);
        if (text is null)
            return null;
        if (text is "" or "null")
            return "0001-01-01T00:00:00Z";
        if (text.Length < 20 || text[10] != 'T' || !DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time))
        {
            throw ApiStatus.BadRequest(
                $"parsing time {GoText.Quote(text)} as \"2006-01-02T15:04:05Z07:00\": cannot parse {GoText.Quote(text)} as \"2006\"").ToException();
        }
        return time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
    }

    // Whether these make sense is the kubelet's to say.
    private static string StreamQuery(ApiCall call, string subresource)
    {
        var query = new QueryBuilder();
        query.Flag("input", call.QueryBool("stdin"u8), "1");
        query.Flag("output", call.QueryBool("stdout"u8), "1");
        query.Flag("error", call.QueryBool("stderr"u8), "1");
        query.Flag("tty", call.QueryBool("tty"u8), "1");
        if (subresource == "exec")
        {
            foreach (var word in QueryReader.GetAll(call.Info.Query, "command"u8))
                query.Always("command", word);
        }
        return query.ToString();
    }

    private static string PortQuery(ApiCall call)
    {
        var ports = new List<string>();
        foreach (var list in QueryReader.GetAll(call.Info.Query, "ports"u8))
        {
            foreach (var port in list.Split(','))
            {
                if (!ushort.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                {
                    var isRange = port.Length > 0 && port.AsSpan().IndexOfAnyExceptInRange('0', '9') < 0;
                    throw ApiStatus.BadRequest(
                        $"cannot convert to []int32: strconv.ParseUint: parsing {GoText.Quote(port)}: {(isRange ? "value out of range" : "invalid syntax")}").ToException();
                }
                ports.Add(number.ToString(CultureInfo.InvariantCulture));
            }
        }
        var query = new QueryBuilder();
        query.Text("port", string.Join(',', ports));
        return query.ToString();
    }

    private struct QueryBuilder
    {
        private StringBuilder? _text;

        internal void Flag(string name, bool isSet, string value)
        {
            if (isSet)
                Always(name, value);
        }

        internal void Number(string name, long? value)
        {
            if (value is { } number)
                Always(name, number.ToString(CultureInfo.InvariantCulture));
        }

        internal void Text(string name, string value)
        {
            if (value.Length > 0)
                Always(name, value);
        }

        internal void Always(string name, string value) =>
            (_text ??= new StringBuilder()).Append(_text.Length == 0 ? '?' : '&').Append(name).Append('=').Append(Uri.EscapeDataString(value));

        public override readonly string ToString() => _text?.ToString() ?? "";
    }
}
