using System.Net;

namespace K3sFast.Interop.Ipvs;

/// <summary>A virtual server.</summary>
/// <param name="Protocol">IP protocol number.</param>
/// <param name="Address">Where clients reach it.</param>
/// <param name="Scheduler">The kernel's name of how destinations are chosen.</param>
/// <param name="Persistence">A client stays with its destination for so long; zero = not at all.</param>
/// <param name="IsSourceHashed">The scheduler's first flag: fall back to another destination, or hash ports as well.</param>
public sealed record IpvsServer(byte Protocol, IPEndPoint Address, string Scheduler, TimeSpan Persistence = default, bool IsSourceHashed = false);

/// <summary>Where a virtual server sends connections, translated.</summary>
/// <param name="Address">Where to.</param>
/// <param name="Weight">How much of it; 0 = only connections that are there already.</param>
/// <param name="ActiveConnections">Connections that are there; told, not set.</param>
public readonly record struct IpvsDestination(IPEndPoint Address, int Weight = 1, int ActiveConnections = 0);
