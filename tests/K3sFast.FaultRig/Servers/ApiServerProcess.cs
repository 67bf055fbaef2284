using System.Diagnostics;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;
using K3sFast.Tests.Ports;

namespace K3sFast.FaultRig.Servers;

/// <summary>The product's whole server without its node (<c>k3sfast server --disable-agent</c>), on a loopback port, its data in a folder that faults reach.</summary>
internal sealed partial class ApiServerProcess : IAsyncDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(120);

    private readonly string _binary;
    private readonly string _dataDirectory;
    private readonly string _arguments;
    private readonly string _folder;
    private readonly LoopbackPort _port = new();
    private HttpClient? _client;
    private Process? _process;

    /// <summary>A server that is not started yet; <paramref name="arguments"/> = more flags, as a shell reads them.</summary>
    public ApiServerProcess(string binary, string dataDirectory, string nodeName = "rig", string arguments = "")
    {
        (_binary, _dataDirectory, _arguments) = (binary, dataDirectory, $"--node-name {nodeName} {arguments}");
        _folder = Directory.CreateTempSubdirectory("k3sfast-faultrig-").FullName;
    }

    /// <summary>A client with the administrator's certificate of the present life.</summary>
    public HttpClient Client => _client ?? throw new HttpRequestException("the server has not started yet");

    public bool HasEnded => _process!.HasExited;

    public string LogTail => File.Exists($"{_folder}/log") ? string.Join('\n', File.ReadLines($"{_folder}/log").TakeLast(15)) : "";

    /// <summary>Starts it and waits until it is ready; false = it ended instead.</summary>
    public async Task<bool> StartAsync()
    {
        File.Delete($"{_folder}/k3s.yaml");
        string command = $"exec {_binary} server --disable-agent --data-dir {_dataDirectory} --write-kubeconfig {_folder}/k3s.yaml --https-listen-port {_port.Number} --node-ip 127.0.0.1 {_arguments} >>{_folder}/log 2>&1 </dev/null";
        _process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", command]))!;
        var since = Stopwatch.StartNew();
        while (since.Elapsed < s_deadline && !_process.HasExited)
        {
            await Task.Delay(20).ConfigureAwait(false);
            if (!File.Exists($"{_folder}/k3s.yaml")) continue;
            try
            {
                var client = Connect(await File.ReadAllTextAsync($"{_folder}/k3s.yaml").ConfigureAwait(false));
                using var answer = await client.GetAsync("/readyz").ConfigureAwait(false);
                if (answer.IsSuccessStatusCode)
                {
                    Interlocked.Exchange(ref _client, client);
                    return true;
                }
            }
            catch (Exception error) when (error is HttpRequestException or TaskCanceledException or FormatException or InvalidOperationException)
            {
                // Not yet.
            }
        }
        return false;
    }

    public async Task KillAsync()
    {
        if (!_process!.HasExited) _process.Kill();
        await _process.WaitForExitAsync().WaitAsync(s_deadline).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is not null) await KillAsync().ConfigureAwait(false);
        Directory.Delete(_folder, recursive: true);
        _port.Dispose();
    }

    private HttpClient Connect(string kubeconfig)
    {
        string Data(string name) => Encoding.ASCII.GetString(Convert.FromBase64String(DataField().Matches(kubeconfig).First(match => match.Groups[1].Value == name).Groups[2].Value));
        using var pem = X509Certificate2.CreateFromPem(Data("client-certificate-data"), Data("client-key-data"));
        var certificate = X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
        var handler = new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(5) };
        handler.SslOptions.ClientCertificates = [certificate];
        // The rig speaks to the process that it started itself, on loopback.
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        return new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{_port.Number}"), Timeout = TimeSpan.FromSeconds(20), DefaultRequestVersion = HttpVersion.Version20 };
    }

    [GeneratedRegex("""([a-z-]+-data):\s*([A-Za-z0-9+/=]+)""")]
    private static partial Regex DataField();
}
