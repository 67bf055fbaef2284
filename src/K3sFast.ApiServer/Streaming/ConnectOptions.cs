using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>A stream's query as the object that admission sees: PodExecOptions, PodAttachOptions, PodPortForwardOptions and the three kinds of proxy options.</summary>
internal static class ConnectOptions
{
    /// <summary>The kind of a stream's options.</summary>
    internal static TypeSchema KindOf(string resource, string subresource)
    {
        var kind = (resource, subresource) switch
        {
            ("pods", "exec") => "PodExecOptions",
            ("pods", "attach") => "PodAttachOptions",
            ("pods", "portforward") => "PodPortForwardOptions",
            ("nodes", _) => "NodeProxyOptions",
            ("services", _) => "ServiceProxyOptions",
            _ => "PodProxyOptions",
        };
        return Schema.BuiltIn.FindType($"io.k8s.api.core.v1.{kind}") ?? throw new InvalidOperationException($"the schema has no {kind}");
    }

    /// <summary>The options of a request; the caller disposes them.</summary>
    internal static ApiObject Read(ApiCall call, TypeSchema kind, string subresource)
    {
        var options = ApiObject.Rent();
        var root = options.Root;
        root.Set("kind"u8, kind.Name);
        root.Set("apiVersion"u8, "v1"u8);
        var query = call.Info.Query;
        switch (subresource)
        {
            case "exec" or "attach":
                ReadStreams(root, query, subresource);
                break;
            case "portforward":
                ReadPorts(root, query);
                break;
            default:
                root.Set("path"u8, Encoding.UTF8.GetString(call.Info.Rest));
                break;
        }
        return options;
    }

    private static void ReadPorts(ApiNode root, ReadOnlySpan<byte> query)
    {
        using var number = ApiObject.Rent();
        foreach (var text in QueryReader.GetAll(query, "ports"u8))
        {
            if (!int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var port))
                continue;
            number.Root.Set("port"u8, port);
            root.GetOrAddArray("ports"u8).Append(number.Root["port"u8]);
        }
    }

    private static void ReadStreams(ApiNode root, ReadOnlySpan<byte> query, string subresource)
    {
        foreach (var name in (ReadOnlySpan<string>)["stdin", "stdout", "stderr", "tty"])
        {
            var utf8 = Encoding.UTF8.GetBytes(name);
            if (QueryReader.GetBool(query, utf8))
                root.Set(utf8, true);
        }
        if (QueryReader.GetString(query, "container"u8) is { Length: > 0 } container)
            root.Set("container"u8, container);
        if (subresource != "exec")
            return;
        var command = root.GetOrAddArray("command"u8);
        foreach (var word in QueryReader.GetAll(query, "command"u8))
            command.AppendString(Encoding.UTF8.GetBytes(word));
    }
}
