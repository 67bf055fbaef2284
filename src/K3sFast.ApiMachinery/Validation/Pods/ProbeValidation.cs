namespace K3sFast.ApiMachinery;

/// <summary>Validation of probes and of the handlers that probes and lifecycle hooks share.</summary>
internal static class ProbeValidation
{
    /// <summary>A liveness or startup probe: one success must be enough.</summary>
    internal static void Liveness(At at, ApiNode probe, long? gracePeriodSeconds)
    {
        if (probe.Kind != NodeKind.Object)
            return;
        Probe(at, probe, gracePeriodSeconds);
        if (probe["successThreshold"u8].AsInt64() != 1)
            at["successThreshold"].Invalid(probe["successThreshold"u8].AsInt64(), "must be 1");
    }

    internal static void Readiness(At at, ApiNode probe, long? gracePeriodSeconds)
    {
        if (probe.Kind != NodeKind.Object)
            return;
        Probe(at, probe, gracePeriodSeconds);
        if (!probe["terminationGracePeriodSeconds"u8].IsNullOrUndefined)
            at["terminationGracePeriodSeconds"].Invalid(probe["terminationGracePeriodSeconds"u8], "must not be set for readinessProbes");
    }

    /// <summary>Exactly one way to act.</summary>
    internal static void Handler(At at, ApiNode handler, long? gracePeriodSeconds)
    {
        int count = 0;
        if (IsFirst(at, "exec", handler["exec"u8], ref count) && handler["exec"u8]["command"u8].Count == 0)
            at["exec"]["command"].Required();
        if (IsFirst(at, "httpGet", handler["httpGet"u8], ref count))
            HttpGet(at["httpGet"], handler["httpGet"u8]);
        if (IsFirst(at, "tcpSocket", handler["tcpSocket"u8], ref count))
            ContainerValidation.PortNumberOrName(at["tcpSocket"]["port"], handler["tcpSocket"u8]["port"u8]);
        if (IsFirst(at, "grpc", handler["grpc"u8], ref count))
            at["grpc"]["port"].InRange(handler["grpc"u8]["port"u8], 1, 65535, optional: false);
        if (IsFirst(at, "sleep", handler["sleep"u8], ref count) && gracePeriodSeconds is { } grace)
        {
            long seconds = handler["sleep"u8]["seconds"u8].AsInt64();
            if (seconds < 0 || seconds > grace)
                at["sleep"].Invalid(seconds, $"must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        }
        if (count == 0)
            at.Required("must specify a handler type");
    }

    private static void Probe(At at, ApiNode probe, long? gracePeriodSeconds)
    {
        Handler(at, probe, gracePeriodSeconds);
        at["initialDelaySeconds"].NonNegative(probe["initialDelaySeconds"u8]);
        at["timeoutSeconds"].NonNegative(probe["timeoutSeconds"u8]);
        at["periodSeconds"].NonNegative(probe["periodSeconds"u8]);
        at["successThreshold"].NonNegative(probe["successThreshold"u8]);
        at["failureThreshold"].NonNegative(probe["failureThreshold"u8]);
        if (probe["terminationGracePeriodSeconds"u8].TryGetInt64(out long seconds) && seconds <= 0)
            at["terminationGracePeriodSeconds"].Invalid(seconds, "must be greater than 0");
    }

    private static bool IsFirst(At at, string field, ApiNode handler, ref int count)
    {
        if (handler.Kind != NodeKind.Object)
            return false;
        if (count++ == 0)
            return true;
        at[field].Forbidden("may not specify more than 1 handler type");
        return false;
    }

    private static void HttpGet(At at, ApiNode action)
    {
        at["path"].RequiredText(action["path"u8]);
        ContainerValidation.PortNumberOrName(at["port"], action["port"u8]);
        at["scheme"].OneOf(action["scheme"u8], ["HTTP", "HTTPS"]);
        foreach (var header in action["httpHeaders"u8].Elements)
            at["httpHeaders"].Format(Format.HttpHeaderName, header["name"u8]);
    }
}
