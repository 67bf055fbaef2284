using System.Runtime.InteropServices;
using K3sFast.Interop;
using K3sFast.Interop.Bpf;
using K3sFast.Interop.Mounts;
using K3sFast.Interop.Namespaces;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>This machine cannot run the programs; the message lists what is missing.</summary>
public sealed class EbpfUnavailableException(string missing, Exception? cause = null) : Exception(missing, cause);

/// <summary>
/// The socket programs and their maps in the kernel. Both are pinned: they carry on without us, and the next run finds maps of the same layout with
/// everything in them and puts its own programs in the place of those that run, at one instant each.
/// </summary>
internal sealed class SocketPrograms : IDisposable
{
    private const string BpfMount = "/sys/fs/bpf", Root = $"{BpfMount}/k3sfast", LinkPrefix = "link_";

    private readonly string _directory, _cgroup;
    private readonly List<BpfProgram> _programs = [];
    private readonly Dictionary<uint, BpfLink> _links = [];
    private readonly List<(string Name, BpfProgram Program)> _named = [];

    private SocketPrograms(string directory, string cgroup, ProgramMaps maps) => (_directory, _cgroup, Maps) = (directory, cgroup, maps);

    internal ProgramMaps Maps { get; }
    internal BpfMap Frontends => Maps["frontends"];
    internal BpfMap Slots => Maps["slots"];
    internal BpfMap Members => Maps["members"];
    internal BpfMap NodeAddresses => Maps["node_addresses"];
    internal BpfMap Namespaces => Maps["namespaces"];
    internal BpfMap Peers => Maps["peers"];

    /// <summary>False: this kernel cannot tell a process why it is refused; it gets EPERM.</summary>
    internal bool HasErrorCodes { get; private set; } = true;

    /// <summary>Where the pins of a node are, by the number of its network namespace.</summary>
    internal static string DirectoryOf(string node) => $"{Root}/{node}";

    /// <summary>Loads programs and opens or makes maps; nothing that runs is touched before <see cref="Attach"/>.</summary>
    /// <exception cref="EbpfUnavailableException">Not possible on this machine.</exception>
    internal static SocketPrograms Load(string directory, SocketSettings settings, Func<BpfMapSpec, BpfMapSpec>? resize = null)
    {
        var missing = new List<string>();
        var cgroup = FindCgroup();
        if (cgroup is null) missing.Add("a mounted cgroup v2 file system");
        if (MountBpf() is { } reason) missing.Add(reason);
        if (missing.Count > 0) throw new EbpfUnavailableException(string.Join("; ", missing));
        var loaded = new SocketPrograms(directory, cgroup!, new ProgramMaps(directory, resize));
        try
        {
            loaded.Load(settings);
            return loaded;
        }
        catch (Exception e) when (e is KernelException or IOException or UnauthorizedAccessException)
        {
            loaded.Dispose();
            throw new EbpfUnavailableException(Explain(e), e);
        }
    }

    /// <summary>True if an earlier run left programs that carry Services.</summary>
    internal static bool Exist(string directory) => Directory.Exists(directory) && Directory.EnumerateFiles(directory, LinkPrefix + "*").Any();

    /// <summary>Takes programs and maps of a node out of the kernel, once nobody has them open; true = there were some.</summary>
    internal static bool Remove(string directory)
    {
        if (!Directory.Exists(directory)) return false;
        // Links first: no program then looks into half of its maps.
        foreach (var path in Directory.EnumerateFiles(directory).OrderByDescending(path => Path.GetFileName(path).StartsWith(LinkPrefix, StringComparison.Ordinal))) File.Delete(path);
        Directory.Delete(directory);
        var parent = Path.GetDirectoryName(directory)!;
        if (!Directory.EnumerateFileSystemEntries(parent).Any()) Directory.Delete(parent);
        return true;
    }

    /// <summary>
    /// Takes out of the kernel what nodes left whose network namespace is gone for sure: nobody is served by it, and every socket call on the machine passes it.
    /// </summary>
    /// <returns>How many nodes' programs were removed.</returns>
    internal static int RemoveOrphans()
    {
        try
        {
            if (!Directory.Exists(Root)) return 0;
            var own = NamespacePaths.NameOf(NamespacePaths.Own);
            var orphans = Directory.GetDirectories(Root).Where(path => Path.GetFileName(path) is var name && name != own && name.All(char.IsAsciiDigit)).ToList();
            // Twice: a namespace may change hands while it is looked for.
            for (var look = 0; look < 2 && orphans.Count > 0; look++)
            {
                if (NamespaceCensus.Take() is not { } living) return 0;
                orphans.RemoveAll(path => living.Contains(Path.GetFileName(path)));
            }
            return orphans.Count(Remove);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another node does the same now, or it may not be looked at.
            return 0;
        }
    }

    /// <summary>Lets the programs work, or puts them in the place of those of an earlier run. The maps must be filled.</summary>
    /// <exception cref="KernelException">Refused.</exception>
    internal void Attach()
    {
        Maps.Pin();
        foreach (var (name, program) in _named)
        {
            var path = Path.Combine(_directory, LinkPrefix + name);
            if (BpfLink.OpenPinned(path) is { } link)
            {
                if (link.IsAttached)
                {
                    link.Replace(program);
                    Keep(program, link);
                    continue;
                }
                link.Dispose();
                File.Delete(path);
            }
            link = BpfLink.Attach(program, _cgroup);
            Keep(program, link);
            link.Pin(path);
        }
    }

    /// <summary>False = somebody detached a program, or took away its pin.</summary>
    internal bool AreAttached()
    {
        foreach (var (name, program) in _named)
        {
            if (!_links.TryGetValue(program.AttachType, out var link) || !link.IsAttached || !File.Exists(Path.Combine(_directory, LinkPrefix + name))) return false;
        }
        return true;
    }

    /// <summary>Closes what is open; what is pinned goes on.</summary>
    public void Dispose()
    {
        foreach (var link in _links.Values) link.Dispose();
        foreach (var program in _programs) program.Dispose();
        Maps.Dispose();
    }

    private void Keep(BpfProgram program, BpfLink link)
    {
        _links.GetValueOrDefault(program.AttachType)?.Dispose();
        _links[program.AttachType] = link;
    }

    private void Load(SocketSettings settings)
    {
        var source = ProgramMaps.ReadObject("sockets.bpf.o");
        if (source.ReadOnlyData.Length != Marshal.SizeOf<SocketSettings>()) throw new InvalidDataException("the programs' settings are not ours");
        Maps.Open(source);
        try
        {
            LoadPrograms(source, settings with { HasErrorCodes = 1 });
        }
        catch (KernelException e) when (e.Errno is Errno.EINVAL or Errno.EACCES)
        {
            // The helper came with Linux 5.18. If it is not that, the second try says what it is.
            HasErrorCodes = false;
            LoadPrograms(source, settings with { HasErrorCodes = 0 });
        }
    }

    private void LoadPrograms(BpfObject source, SocketSettings settings)
    {
        _named.Clear();
        using var constants = BpfMap.CreateConstants(MemoryMarshal.AsBytes(new ReadOnlySpan<SocketSettings>(in settings)));
        foreach (var spec in source.Programs)
        {
            var program = BpfProgram.Load(spec, source, Maps.All, constants);
            _programs.Add(program);
            _named.Add((spec.Name, program));
        }
    }

    // The tree of version 2, on a hybrid machine beside those of version 1: every process is in it somewhere.
    private static string? FindCgroup()
    {
        var mounts = MountPoint.ReadAll("cgroup2");
        return mounts.FirstOrDefault(path => path is "/sys/fs/cgroup" or "/sys/fs/cgroup/unified") ?? mounts.FirstOrDefault();
    }

    private static string? MountBpf()
    {
        try
        {
            if (!MountPoint.ReadAll("bpf").Contains(BpfMount)) MountPoint.MountBpf(BpfMount);
            return null;
        }
        catch (IOException e)
        {
            return $"a BPF file system ({e.Message})";
        }
    }

    internal static string Explain(Exception e) => e switch
    {
        KernelException { Errno: Errno.EPERM } => $"the right to load programs, CAP_BPF and CAP_NET_ADMIN ({e.Message})",
        KernelException { Errno: Errno.ENOSYS } => $"a kernel with CONFIG_BPF_SYSCALL ({e.Message})",
        KernelException => $"a kernel of 5.9 or later with CONFIG_CGROUP_BPF ({e.Message})",
        _ => e.Message,
    };
}
