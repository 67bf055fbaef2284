using System.Text;
using K3sFast.Configuration;

namespace K3sFast.Containerd;

/// <summary>Writes containerd's config.toml. Version 2 of the format, which containerd 1.5 to 2.x read.</summary>
internal static class ContainerdConfig
{
    // The head of a k3s template that keeps the generated part and adds to it.
    private const string BaseAction = "{{ template \"base\" . }}";

    // Snapshotters and services that a node never uses, each costing start time or memory in containerd. The old runtime.v1.linux
    // is not among them: containerd 1.6 does not load CRI without it.
    private static readonly string[] s_disabled =
    [
        "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart", "io.containerd.internal.v1.tracing",
        "io.containerd.tracing.processor.v1.otlp",
        "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    ];

    /// <summary>The user's config.toml.tmpl where there is one (with the generated part in place of its base action), else the generated file.</summary>
    /// <exception cref="ConfigurationException">The template uses actions other than the base one.</exception>
    public static string Render(ContainerdOptions options)
    {
        var generated = Generate(options);
        var templatePath = options.Paths.ContainerdConfig + ".tmpl";
        if (!File.Exists(templatePath))
            return generated;
        var text = File.ReadAllText(templatePath).Replace(BaseAction, generated, StringComparison.Ordinal);
        if (text.Contains("{{", StringComparison.Ordinal))
            throw new ConfigurationException($"{templatePath}: of template actions only {BaseAction} is in this version of k3sfast; write the rest literally");
        return text;
    }

    internal static string Generate(ContainerdOptions options)
    {
        var paths = options.Paths;
        var disabled = s_disabled.Where(plugin => !plugin.EndsWith("." + options.Snapshotter, StringComparison.Ordinal));
        var text = new StringBuilder();
        text.Append($"""
            # Written by k3sfast at every start. To change it, write {paths.ContainerdConfig}.tmpl
            version = 2
            root = {Quote(paths.ContainerdRoot)}
            state = {Quote(paths.ContainerdState)}
            disabled_plugins = [{string.Join(", ", disabled.Select(Quote))}]

            [grpc]
              address = {Quote(paths.ContainerdSocket)}

            [plugins."io.containerd.internal.v1.opt"]
              path = {Quote(paths.ContainerdRoot)}

            [plugins."io.containerd.grpc.v1.cri"]
              stream_server_address = "127.0.0.1"
              stream_server_port = "0"
              sandbox_image = {Quote(options.PauseImage)}
              enable_unprivileged_ports = true
              enable_unprivileged_icmp = true
              netns_mounts_under_state_dir = true
              restrict_oom_score_adj = {Word(options.RestrictOomScore)}
              device_ownership_from_security_context = {Word(options.NonRootDevices)}

            [plugins."io.containerd.grpc.v1.cri".cni]
              bin_dir = {Quote(options.CniBinDir.Length > 0 ? options.CniBinDir : paths.CniBin)}
              conf_dir = {Quote(options.CniConfDir.Length > 0 ? options.CniConfDir : paths.CniConf)}

            [plugins."io.containerd.grpc.v1.cri".containerd]
              snapshotter = {Quote(options.Snapshotter)}
              disable_snapshot_annotations = true
              default_runtime_name = {Quote(options.DefaultRuntime)}

            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
              runtime_type = "io.containerd.runc.v2"

            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
              SystemdCgroup = false
              Root = {Quote(Path.Combine(paths.Run, "runc"))}

            [plugins."io.containerd.grpc.v1.cri".registry]
              config_path = {Quote(paths.RegistryHosts)}

            """);
        return text.ToString();
    }

    // TOML basic string (toml.io v1.0.0, "String").
    private static string Quote(string text) => "\"" + text.Replace(@"\", @"\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal) + "\"";

    private static string Word(bool value) => value ? "true" : "false";
}
