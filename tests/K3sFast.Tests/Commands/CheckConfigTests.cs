using K3sFast.Commands;
using K3sFast.Host;

namespace K3sFast.Tests.Commands;

public sealed class CheckConfigTests
{
    [Fact]
    public void Write_PartsMissing_NamesExactlyThoseAndWhatTheyAreFor()
    {
        using var machine = new TemporaryFolder();
        Put(machine, "proc/sys/kernel/osrelease", "6.1.0-test\n");
        Put(machine, "proc/self/status", "Name:\tx\nCapEff:\t000001ffffffefff\n");
        Put(machine, "proc/swaps", "Filename\nswapfile file\n");
        Put(machine, "proc/sys/kernel/keys/root_maxkeys", "1000000\n");
        Put(machine, "sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
        var whole = HostChecks.All(new KernelConfig("", []), machine.Path).Where(static check => check.Name.StartsWith("CONFIG_", StringComparison.Ordinal)).Select(static check => check.Name).ToList();
        Put(machine, "boot/config-6.1.0-test", string.Join('\n', whole.Where(static name => name is not ("CONFIG_VETH" or "CONFIG_IFB" or "CONFIG_IP_VS")).Select(static name => name == "CONFIG_VXLAN" ? name + "=m" : name + "=y")));

        var config = KernelConfig.Read(machine.Path);
        var output = new StringWriter();
        var code = CheckConfigCommand.Write(HostChecks.All(config, machine.Path), config, hasColours: false, output);
        var text = output.ToString();

        Assert.Equal(2, code);
        Assert.EndsWith("STATUS: 2 (fail)\n", text, StringComparison.Ordinal);
        Assert.Contains($"info: reading kernel config from {config.Path} ...\n", text, StringComparison.Ordinal);
        Assert.Contains("- CONFIG_VETH: missing (fail: needed for pods' links)\n", text, StringComparison.Ordinal);
        Assert.Contains("- CAP_NET_ADMIN: not held (fail: needed for links, routes and rules)\n", text, StringComparison.Ordinal);
        Assert.Contains("- CONFIG_IFB: missing (needed for bandwidth of pods)\n", text, StringComparison.Ordinal);
        Assert.Contains("- CONFIG_IP_VS: missing (needed for proxy-mode=ipvs)\n", text, StringComparison.Ordinal);
        Assert.Contains("- CONFIG_VXLAN: enabled (as module)\n", text, StringComparison.Ordinal);
        Assert.Contains("- swap: should be disabled", text, StringComparison.Ordinal);
        Assert.Contains("- cgroup hierarchy: cgroups V2 mounted, without cpuset\n", text, StringComparison.Ordinal);
        Assert.Equal(5, text.Split('\n').Count(static line => line.Contains("missing", StringComparison.Ordinal) || line.Contains("not held", StringComparison.Ordinal) || line.Contains("should be", StringComparison.Ordinal)));
        Assert.Equal(
            "this machine lacks what a node needs: CAP_NET_ADMIN (links, routes and rules), CONFIG_VETH (pods' links); k3sfast check-config tells more",
            HostChecks.Missing(HostChecks.All(config, machine.Path)));
    }

    [Fact]
    public void Write_NothingMissing_Passes()
    {
        using var machine = new TemporaryFolder();
        Put(machine, "sys/fs/cgroup/cgroup.controllers", "cpu cpuset io memory pids\n");
        Put(machine, "proc/self/status", "CapEff:\t000001ffffffffff\n");
        var config = KernelConfig.Read(machine.Path);
        var output = new StringWriter();
        Assert.Equal(0, CheckConfigCommand.Write(HostChecks.All(config, machine.Path), config, hasColours: true, output));
        Assert.Contains("warning: the kernel's configuration could not be found\n", output.ToString(), StringComparison.Ordinal);
        Assert.EndsWith("STATUS: \e[32mpass\e[0m\n", output.ToString(), StringComparison.Ordinal);
        Assert.Null(HostChecks.Missing(HostChecks.All(config, machine.Path)));
    }

    [Fact]
    public async Task Run_ThisMachine_TellsAStatus()
    {
        using var output = new StringWriter();
        var code = await CommandLine.RunAsync("k3sfast", ["check-config"], static _ => null, output, TextWriter.Null);
        Assert.Contains(code == 0 ? "STATUS: pass" : $"STATUS: {code} (fail)", output.ToString(), StringComparison.Ordinal);
        Assert.Contains("- CONFIG_NF_TABLES: ", output.ToString(), StringComparison.Ordinal);
    }

    private static void Put(TemporaryFolder machine, string path, string content)
    {
        var file = Path.Combine(machine.Path, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, content);
    }
}
