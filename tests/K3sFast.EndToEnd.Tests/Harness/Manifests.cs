namespace K3sFast.EndToEnd.Tests;

/// <summary>What the tests deploy most.</summary>
internal static class Manifests
{
    /// <summary>
    /// A pod that serves its own name on port 8080, as a Deployment named <paramref name="name"/>, and a Service. Without a probe it is ready when it runs, however
    /// slow the machine.
    /// </summary>
    internal static string Web(string name, int replicas = 1, bool isProbed = true) => $$$"""
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: {{{name}}}}
        spec:
          replicas: {{{replicas}}}
          selector: {matchLabels: {app: {{{name}}}}}
          template:
            metadata: {labels: {app: {{{name}}}}}
            spec:
              terminationGracePeriodSeconds: 1
              containers:
              - name: web
                image: busybox:1.35
                command: ["sh", "-c", "hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
                ports: [{containerPort: 8080}]
                {{{(isProbed ? "readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}" : "")}}}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: {{{name}}}}
        spec:
          selector: {app: {{{name}}}}
          ports: [{name: http, port: 80, targetPort: 8080}]
        ---

        """;

    /// <summary>A pod that waits for commands.</summary>
    internal static string Shell(string name, string extra = "") => $$$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{{name}}}, labels: {app: {{{name}}}}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - name: shell
            image: busybox:1.35
            command: ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]
        {{{extra}}}
        ---

        """;
}
