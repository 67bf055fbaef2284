using K3sFast.Interop.Namespaces;

namespace K3sFast.Interop;

/// <summary>Kernel settings below <c>/proc/sys</c>. Those of <c>net/</c> belong to the network namespace of the thread that opens the file.</summary>
public static class Sysctl
{
    /// <summary>Writes <paramref name="value"/> unless it is there already; false = the kernel has no such setting.</summary>
    /// <param name="name">With slashes: <c>net/ipv4/ip_forward</c>.</param>
    /// <param name="value">The value.</param>
    /// <param name="inside">Network namespace to set it in; null = the caller's.</param>
    /// <exception cref="IOException">Refused: what is set and why not.</exception>
    public static bool TryWrite(string name, string value, NetworkNamespace? inside = null) =>
        inside is null ? WriteHere(name, value) : inside.Run(() => WriteHere(name, value));

    /// <summary>Reads a setting without its line end; null = the kernel has no such setting.</summary>
    public static string? TryRead(string name, NetworkNamespace? inside = null) => inside is null ? ReadHere(name) : inside.Run(() => ReadHere(name));

    private static string? ReadHere(string name)
    {
        try
        {
            return File.ReadAllText("/proc/sys/" + name).TrimEnd('\n');
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    private static bool WriteHere(string name, string value)
    {
        var current = ReadHere(name);
        if (current is null) return false;
        // A read-only /proc/sys is fine as long as somebody set the value before.
        if (current == value) return true;
        try
        {
            File.WriteAllText("/proc/sys/" + name, value);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"cannot set {name.Replace('/', '.')} to {value} (it is {current}): {e.Message}", e);
        }
    }
}
