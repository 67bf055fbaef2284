using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using K3sFast.Network.Cni;
using K3sFast.Network.Overlay;
using K3sFast.Network.Tests.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Cni;

/// <summary>Calls that no runtime would make: whatever comes in, the answer is a result or an error of the CNI specification.</summary>
public sealed class CniFuzzTests
{
    private const int Rounds = 20_000;

    private static readonly byte[][] s_corpus =
    [
        Body("ADD", "c1", "/run/netns/x", "eth0", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
            """{"cniVersion":"1.0.0","name":"k3sfast","type":"k3sfast","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"192.0.2.1"}],"bandwidth":{"ingressRate":1000,"ingressBurst":4294967295}}}"""),
        Body("DEL", "c1", "", "eth0", "", """{"cniVersion":"0.4.0","prevResult":{"ips":[{"address":"10.42.0.2/32"}]}}"""),
        Body("GC", "", "", "", "", """{"cniVersion":"1.1.0","name":"k3sfast","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]}"""),
        Body("CHECK", "c1", "/proc/self/ns/net", "eth0", "", "{}"),
    ];

    [Fact]
    public void Parse_MutatedCalls_AreReadOrRefusedBySpecification()
    {
        var random = new Random(7);
        for (var round = 0; round < Rounds; round++)
        {
            var body = Mutate(random, s_corpus[random.Next(s_corpus.Length)]);
            try
            {
                var request = CniRequest.Parse(body);
                request.CheckNames();
                var output = new System.Buffers.ArrayBufferWriter<byte>();
                CniResult.WriteError(output, request.CniVersion, new CniException(CniException.Internal, request.Command, request.Arguments));
            }
            catch (CniException)
            {
                // Refused, as it should be.
            }
            catch (Exception e)
            {
                Assert.Fail($"round {round}: {e.GetType().Name} {e.Message} on {Convert.ToHexString(body)}");
            }
        }
    }

    [Fact]
    public void Store_MutatedFiles_AreReadOrSetAside()
    {
        var folder = Directory.CreateTempSubdirectory("store-fuzz-").FullName;
        try
        {
            var store = new AttachmentStore(folder, []);
            store.Put(new PodAttachment("c1", "eth0", [System.Net.IPAddress.Parse("10.42.0.2"), System.Net.IPAddress.Parse("fd00::2")], [new PortMapping(6, null, 80, 8080)])
            {
                Bandwidth = new PodBandwidth(1, 2, 3, 4),
            });
            var path = Assert.Single(Directory.GetFiles(folder));
            var good = File.ReadAllBytes(path);
            Assert.Equal(new PodBandwidth(1, 2, 3, 4), Assert.Single(new AttachmentStore(folder, []).List()).Bandwidth);
            var random = new Random(8);
            for (var round = 0; round < 1000; round++)
            {
                File.WriteAllBytes(path, Mutate(random, good));
                var broken = new List<string>();
                Assert.Equal(1, new AttachmentStore(folder, broken).List().Count + broken.Count);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task Server_Garbage_AnswersTheNextCallAllTheSame()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var path = Path.Combine(node.Directory, "fuzz.sock");
        using var stop = new CancellationTokenSource();
        var server = new CniServer(path, node.Handler, NullLogger.Instance);
        using var listener = server.Listen();
        var serving = server.ServeAsync(listener, stop.Token);
        var random = new Random(9);
        for (var round = 0; round < 300; round++)
        {
            var call = Mutate(random, Frame(s_corpus[random.Next(s_corpus.Length)]));
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path));
            try
            {
                await socket.SendAsync(call);
                socket.Shutdown(SocketShutdown.Send);
                await socket.ReceiveAsync(new byte[4096]);
            }
            catch (SocketException)
            {
                // Broken off in the middle.
            }
        }
        using var good = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await good.ConnectAsync(new UnixDomainSocketEndPoint(path));
        await good.SendAsync(Frame(s_corpus[3]));
        var buffer = new byte[4096];
        var length = await good.ReceiveAsync(buffer);
        Assert.Contains("\"code\":3", Encoding.UTF8.GetString(buffer, 4, length - 4), StringComparison.Ordinal);
        await stop.CancelAsync();
        await serving;
    }

    /// <summary>The plugin itself, which reads its environment and what the runtime pipes to it, without an agent behind it.</summary>
    [Fact]
    public void Plugin_MutatedConfigurationAndEnvironment_AnswersByTheSpecification()
    {
        var folder = Directory.CreateTempSubdirectory("plugin-fuzz-").FullName;
        try
        {
            CniInstaller.InstallPlugin(folder);
            var random = new Random(10);
            for (var round = 0; round < 250; round++)
            {
                var call = Encoding.Latin1.GetString(Mutate(random, s_corpus[random.Next(s_corpus.Length)])).Split('\0');
                var start = new ProcessStartInfo(Path.Combine(folder, random.Next(8) == 0 ? "loopback" : "k3sfast")) { RedirectStandardInput = true, RedirectStandardOutput = true };
                if (!File.Exists(start.FileName)) start.FileName = Path.Combine(folder, "k3sfast");
                start.Environment.Clear();
                string[] names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
                for (var i = 0; i < Math.Min(names.Length, call.Length); i++) start.Environment[names[i]] = call[i];
                if (random.Next(20) == 0) start.Environment["CNI_ARGS"] = new string('x', random.Next(1 << 15));
                using var process = Start(start);
                try
                {
                    // A socket that nobody listens on, unless the configuration says another.
                    process.StandardInput.Write(call[^1].Replace("\"type\"", $"\"socketPath\":\"{folder}/none.sock\",\"type\"", StringComparison.Ordinal));
                    process.StandardInput.Close();
                }
                catch (IOException)
                {
                    // It had seen enough.
                }
                var output = process.StandardOutput.ReadToEnd();
                process.WaitForExit();
                var words = $"round {round}: exit {process.ExitCode}, {output}";
                Assert.True(process.ExitCode is 0 or 1, words);
                if (process.ExitCode == 0) continue;
                using var error = System.Text.Json.JsonDocument.Parse(output);
                Assert.True(error.RootElement.GetProperty("code").GetInt32() > 0, words);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // Written a moment ago: busy as long as a process that another test starts holds our descriptor of it, between fork and exec.
    private static Process Start(ProcessStartInfo start)
    {
        const int TextFileBusy = 26;
        for (var since = Stopwatch.StartNew(); ; Thread.Yield())
        {
            try
            {
                return Process.Start(start)!;
            }
            catch (System.ComponentModel.Win32Exception busy) when (busy.NativeErrorCode == TextFileBusy && since.Elapsed < TimeSpan.FromSeconds(60))
            {
                // Soon over.
            }
        }
    }

    /// <summary>What administrators give (flannel-cni-conf) and what other nodes say of themselves.</summary>
    [Fact]
    public void Texts_OfOthersMutated_AreReadOrPassedOver()
    {
        var random = new Random(14);
        byte[][] corpus =
        [
            """{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}"""u8.ToArray(), """{"PublicKey":"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="}"""u8.ToArray(), "192.0.2.1"u8.ToArray(), "2001:db8::1%7"u8.ToArray(), "10.42.1.0/24"u8.ToArray(), "null"u8.ToArray(),
        ];
        var vxlan = new VxlanBackend(null!, null, new OverlayOptions { Backend = "vxlan" }, [], "self", isIPv6: false);
        for (var round = 0; round < Rounds; round++)
        {
            var texts = Enumerable.Range(0, 4).Select(_ => Encoding.UTF8.GetString(Mutate(random, corpus[random.Next(corpus.Length)]))).ToArray();
            var node = new k8s.Models.V1Node
            {
                Metadata = new k8s.Models.V1ObjectMeta
                {
                    Name = "n",
                    Annotations = new Dictionary<string, string>
                    {
                        ["flannel.alpha.coreos.com/backend-type"] = "vxlan", ["flannel.alpha.coreos.com/public-ip"] = texts[0], ["flannel.alpha.coreos.com/public-ip-overwrite"] = texts[1],
                        ["flannel.alpha.coreos.com/public-ipv6"] = texts[1], ["flannel.alpha.coreos.com/backend-data"] = texts[2], ["flannel.alpha.coreos.com/backend-v6-data"] = texts[2],
                    },
                },
                Spec = new k8s.Models.V1NodeSpec { PodCIDRs = [texts[3]] },
            };
            vxlan.ReadAddress(texts[2]);
            WireGuardBackend.ReadKey(texts[2]);
            if (FlannelAnnotations.CidrsOf(node) is not { } cidrs) continue;
            foreach (var isIPv6 in (bool[])[false, true])
            {
                FlannelAnnotations.Read(node, cidrs, isIPv6);
                FlannelAnnotations.OverwriteOf(node, isIPv6);
            }
        }
    }

    [Fact]
    public void NetworkList_Mutated_IsInstalledWhateverItIs()
    {
        var folder = Directory.CreateTempSubdirectory("list-fuzz-").FullName;
        try
        {
            var list = """{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"flannel","delegate":{"isDefaultGateway":true}},{"type":"portmap","capabilities":{"portMappings":true}}]}"""u8.ToArray();
            var random = new Random(15);
            var template = Path.Combine(folder, "list");
            for (var round = 0; round < 1500; round++)
            {
                File.WriteAllBytes(template, Mutate(random, list));
                CniInstaller.LinkPlugins(folder, template, [folder]);
                CniInstaller.InstallConfiguration(Path.Combine(folder, "net.d"), "/run/cni.sock", template);
                Assert.NotNull(Assert.Single(Directory.GetFiles(Path.Combine(folder, "net.d"))));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static byte[] Body(params string[] texts) => Encoding.UTF8.GetBytes(string.Join('\0', texts));

    private static byte[] Frame(byte[] body) => [.. "K3SFCNI1"u8, .. BitConverter.GetBytes(body.Length), .. body];

    /// <summary>A few bytes changed, taken out, or put twice.</summary>
    private static byte[] Mutate(Random random, byte[] original)
    {
        var bytes = original.ToList();
        for (var changes = random.Next(1, 6); changes > 0 && bytes.Count > 0; changes--)
        {
            var at = random.Next(bytes.Count);
            switch (random.Next(5))
            {
                case 0: bytes[at] = (byte)random.Next(256); break;
                case 1: bytes.RemoveRange(at, Math.Min(random.Next(1, 20), bytes.Count - at)); break;
                case 2: bytes.InsertRange(at, bytes.GetRange(at, Math.Min(random.Next(1, 20), bytes.Count - at))); break;
                case 3: bytes.RemoveRange(at, bytes.Count - at); break;
                default: bytes.InsertRange(at, Encoding.UTF8.GetBytes(((string[])["null", "-1", "99999999999999999999", "{}", "[]", "\"\"", "1e400", "true"])[random.Next(8)])); break;
            }
        }
        return [.. bytes];
    }
}
