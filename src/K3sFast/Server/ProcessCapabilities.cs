using System.Globalization;

namespace K3sFast.Server;

/// <summary>What the kernel lets this process do.</summary>
internal static class ProcessCapabilities
{
    // linux/capability.h
    private const int CapSysResource = 24;

    /// <summary>False in many sandboxes: then oom_score_adj cannot be lowered, and runc must not try.</summary>
    public static bool HasSysResource()
    {
        foreach (var line in File.ReadLines("/proc/self/status"))
        {
            if (line.StartsWith("CapEff:", StringComparison.Ordinal))
                return (ulong.Parse(line.AsSpan(7).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture) >> CapSysResource & 1) != 0;
        }
        return true;
    }
}
