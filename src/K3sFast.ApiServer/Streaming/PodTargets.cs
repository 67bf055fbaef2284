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
        string ns = call.Info.NamespaceText, name = call.Info.NameText;
        using var stored = pods.Get(ns, name) ?? throw ApiStatus.NotFound("", "pods", name).ToException();
        using var pod = pods.Decode(stored);
        var spec = pod.Root["spec"u8];
        var node = spec["nodeName"u8].AsString();
        if (subresource == "portforward")
        {
            Require(node, name);
            return new PodTarget(node, $"/portForward/{ns}/{name}{PortQuery(call)}");
        }
        var query = subresource == "log" ? LogQuery(call) : StreamQuery(call, subresource);
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
        var message = $"a container name must be specified for pod {pod}, choose one of: [{Names(spec["containers"u8])}]";
        if (spec["initContainers"u8].Count > 0)
            message += $" or one of the init containers: [{Names(spec["initContainers"u8])}]";
        throw ApiStatus.BadRequest(message).ToException();
    }

    private static string Names(ApiNode containers)
    {
        var names = new List<string>();
        foreach (var container in containers.Elements)
            names.Add(container["name"u8].AsString());
        return string.Join(' ', names);
    }

    private static string LogQuery(ApiCall call)
    {
        var errors = new FieldErrorList();
        var tail = call.QueryInt64("tailLines"u8);
        var limit = call.QueryInt64("limitBytes"u8);
        var seconds = call.QueryInt64("sinceSeconds"u8);
        var time = call.QueryString("sinceTime"u8) ?? "";
        if (tail < 0)
            errors.Invalid("tailLines", tail.Value, "must be greater than or equal to 0");
        if (limit < 1)
            errors.Invalid("limitBytes", limit.Value, "must be greater than 0");
        if (seconds is not null && time.Length > 0)
            errors.Forbidden("sinceTime", "at most one of `sinceTime` or `sinceSeconds` may be specified");
        else if (seconds < 1)
            errors.Invalid("sinceSeconds", seconds.Value, "must be greater than 0");
        if (errors.Count > 0)
            throw ApiStatus.Invalid("", "PodLogOptions", call.Info.NameText, errors).ToException();
        var query = new QueryBuilder();
        query.Flag("follow", call.QueryBool("follow"u8), "true");
        query.Flag("previous", call.QueryBool("previous"u8), "true");
        query.Flag("timestamps", call.QueryBool("timestamps"u8), "true");
        query.Number("sinceSeconds", seconds);
        query.Text("sinceTime", time);
        query.Number("tailLines", tail);
        query.Number("limitBytes", limit);
        query.Text("stream", call.QueryString("stream"u8) ?? "");
        return query.ToString();
    }

    private static string StreamQuery(ApiCall call, string subresource)
    {
        bool stdin = call.QueryBool("stdin"u8), stdout = call.QueryBool("stdout"u8), stderr = call.QueryBool("stderr"u8), tty = call.QueryBool("tty"u8);
        var commands = QueryReader.GetAll(call.Info.Query, "command"u8);
        if (!stdin && !stdout && !stderr)
            throw ApiStatus.BadRequest("you must specify at least 1 of stdin, stdout, stderr").ToException();
        if (subresource == "exec" && commands.Count == 0)
        {
            var errors = new FieldErrorList();
            errors.Required("command");
            throw ApiStatus.Invalid("", "PodExecOptions", call.Info.NameText, errors).ToException();
        }
        var query = new QueryBuilder();
        query.Flag("input", stdin, "1");
        query.Flag("output", stdout, "1");
        // A terminal has one output.
        query.Flag("error", stderr && !tty, "1");
        query.Flag("tty", tty, "1");
        if (subresource == "exec")
        {
            foreach (var word in commands)
                query.Always("command", word);
        }
        return query.ToString();
    }

    private static string PortQuery(ApiCall call)
    {
        var query = new QueryBuilder();
        foreach (var ports in QueryReader.GetAll(call.Info.Query, "ports"u8))
            query.Text("port", ports);
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
