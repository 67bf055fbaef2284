using System.Diagnostics;
using System.Net;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using K3sFast.Interop.Bpf;
using K3sFast.Network.Proxy.Ebpf;

namespace K3sFast.Network.Tests.Proxy.Ebpf;

/// <summary>The object that clang made of our programs, and the reader of such objects.</summary>
public sealed class SocketObjectTests
{
    [Fact]
    public void Parse_OurPrograms_FindsMapsProgramsAndSettings()
    {
        var parsed = BpfObject.Parse(ReadObject());
        Assert.Equal(
            ["cgroup/connect4", "cgroup/connect6", "cgroup/getpeername4", "cgroup/getpeername6", "cgroup/recvmsg4", "cgroup/recvmsg6", "cgroup/sendmsg4", "cgroup/sendmsg6", "cgroup/sock_release"],
            parsed.Programs.Select(program => program.Section).Order(StringComparer.Ordinal));
        Assert.Equal(
            ["affinities", "counts", "flows", "frontends", "members", "namespaces", "node_addresses", "peers", "slots"], parsed.Maps.Select(map => map.Name).Order(StringComparer.Ordinal));
        Assert.Equal(Unsafe.SizeOf<SocketSettings>(), parsed.ReadOnlyData.Length);
        Assert.Equal("Apache-2.0", parsed.License);
        Assert.All(parsed.Programs, program => Assert.NotEmpty(program.Relocations));
    }

    [Fact]
    public void Entries_AgainstTheProgramsSource_HaveTheSameLayout()
    {
        var source = new StringBuilder($"#include \"{Path.Combine(Repository(), "native", "bpf", "sockets.c")}\"\n");
        void Size<T>(string name) => source.AppendLine($"_Static_assert(sizeof({name}) == {Unsafe.SizeOf<T>()}, \"{name}\");");
        Size<SocketEndpoint>("struct endpoint");
        Size<SocketFrontend>("struct frontend");
        Size<SlotKey>("struct slot_key");
        Size<MemberKey>("struct member_key");
        Size<SocketPeer>("struct peer");
        Size<SocketSettings>("struct settings");
        source.AppendLine("_Static_assert(USABLE == 1 && LINGERING == 2, \"numbers\");");
        void Field(string name, string field, int offset) => source.AppendLine($"#include <stddef.h>\n_Static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");");
        var endpoint = MemoryMarshal.AsBytes(new ReadOnlySpan<SocketEndpoint>([SocketEndpoint.Of(IPAddress.Parse("1.2.3.4"), 0x0506, 7)]));
        Assert.Equal([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 0], endpoint.ToArray());
        Field("struct endpoint", "port", 16);
        Field("struct endpoint", "protocol", 18);
        foreach (var (field, offset) in Offsets(new SocketFrontend(1, 2, 3, 4))) Field("struct frontend", s_frontendFields[field - 1], offset);
        foreach (var (field, offset) in Offsets(new SocketSettings(1, 2, 3, 4, 5))) Field("struct settings", s_settingsFields[field - 1], offset);
        Field("struct slot_key", "slot", 8);
        Field("struct member_key", "backend", 8);
        Field("struct peer", "backend", 20);
        Compile(source.ToString());
    }

    [Fact]
    public void TrafficEntries_AgainstTheProgramsSource_HaveTheSameLayout()
    {
        var source = new StringBuilder($"#include \"{Path.Combine(Repository(), "native", "bpf", "traffic.c")}\"\n#include <stddef.h>\n");
        void Size<T>(string name) => source.AppendLine($"_Static_assert(sizeof({name}) == {Unsafe.SizeOf<T>()}, \"{name}\");");
        Size<OutsideFrontend>("struct outside_frontend");
        Size<SourceKey>("struct source_key");
        Size<PodRange>("struct network");
        Size<TrafficFlow>("struct flow");
        Size<TrafficTranslation>("struct translation");
        Size<TrafficSettings>("struct settings");
        source.AppendLine("_Static_assert(MASQUERADES == 1 && HAS_SOURCES == 2 && IS_SILENT == 4, \"flags\");");
        source.AppendLine("_Static_assert(ANSWERED == 1 && CLIENT_ENDED == 8 && SERVER_ENDED == 16 && WAS_RESET == 32, \"states\");");
        source.AppendLine("_Static_assert(PEERS_FULL == 0 && FLOWS_BEGUN == 1 && FLOWS_FULL == 3 && AFFINITIES_FULL == 4, \"counts\");");
        void Field(string name, string field, int offset) => source.AppendLine($"_Static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");");
        Field("struct outside_frontend", "count", 24);
        Field("struct outside_frontend", "flags", 36);
        Field("struct source_key", "address", 12);
        Field("struct network", "is_known", 32);
        Field("struct flow", "source_port", 32);
        Field("struct flow", "protocol", 36);
        Field("struct translation", "flags", 20);
        Field("struct translation", "used_ns", 32);
        string[] settings = ["link_header", "mark", "unanswered_seconds", "established_seconds", "half_ended_seconds", "ended_seconds", "reset_seconds", "datagram_seconds", "datagram_stream_seconds"];
        for (var i = 0; i < settings.Length; i++) Field("struct settings", settings[i], i * sizeof(uint));
        Compile(source.ToString());
        Assert.Equal(new SourceKey(64 + 96 + 24, 7, K3sFast.Network.Proxy.Ebpf.SocketAddress.Of(IPAddress.Parse("198.51.100.0"))), SourceKey.Of(7, IPNetwork.Parse("198.51.100.0/24")));
        Assert.Equal(new SourceKey(64 + 48, 7, K3sFast.Network.Proxy.Ebpf.SocketAddress.Of(IPAddress.Parse("2001:db8:1::"))), SourceKey.Of(7, IPNetwork.Parse("2001:db8:1::/48")));
    }

    [Fact]
    public void Parse_DamagedObjects_AreRefusedAndNothingElse()
    {
        var original = ReadObject();
        var random = new Random(29);
        var refused = 0;
        for (var round = 0; round < 20_000; round++)
        {
            var damaged = (byte[])original.Clone();
            switch (random.Next(3))
            {
                case 0:
                    damaged = damaged[..random.Next(damaged.Length)];
                    break;
                case 1:
                    // Where the tables are: the header, and the section headers at the end.
                    var area = random.Next(2) == 0 ? 0 : damaged.Length - 1536;
                    for (var i = random.Next(1, 4); i > 0; i--) damaged[area + random.Next(area == 0 ? 64 : 1536)] = (byte)random.Next(256);
                    break;
                default:
                    for (var i = random.Next(1, 40); i > 0; i--) damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
                    break;
            }
            try
            {
                BpfObject.Parse(damaged);
            }
            catch (InvalidDataException)
            {
                refused++;
            }
        }
        Assert.InRange(refused, 5_000, 20_000);
    }

    [Fact]
    public void Parse_OtherFiles_AreRefused()
    {
        Assert.Throws<InvalidDataException>(() => BpfObject.Parse([]));
        Assert.Throws<InvalidDataException>(() => BpfObject.Parse(new byte[4096]));
        Assert.Throws<InvalidDataException>(() => BpfObject.Parse(File.ReadAllBytes("/proc/self/exe").AsSpan(0, 8192)));
    }

    private static readonly string[] s_frontendFields = ["service", "pool", "count", "affinity_seconds"];
    private static readonly string[] s_settingsFields = ["host_namespace", "is_scoped", "has_error_codes", "has_localhost_ports", "zero"];

    // Every field holds its own number: where it lies is where that number is.
    private static List<(int Field, int Offset)> Offsets<T>(T value) where T : unmanaged
    {
        var bytes = MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value));
        var found = new List<(int, int)>();
        for (var i = 0; i < bytes.Length; i++)
        {
            if (bytes[i] != 0) found.Add((bytes[i], i));
        }
        return found;
    }

    private static byte[] ReadObject()
    {
        using var stream = typeof(NetworkAgent).Assembly.GetManifestResourceStream("sockets.bpf.o")!;
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static string Repository()
    {
        var directory = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(directory, "K3sFast.sln"))) directory = Path.GetDirectoryName(directory)!;
        return directory;
    }

    private static void Compile(string source)
    {
        var start = new ProcessStartInfo("clang", $"-target bpf -idirafter /usr/include/{(RuntimeInformation.ProcessArchitecture == Architecture.X64 ? "x86_64" : "aarch64")}-linux-gnu -x c -fsyntax-only -")
        { RedirectStandardInput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        process.StandardInput.Write(source);
        process.StandardInput.Close();
        var errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
    }
}
