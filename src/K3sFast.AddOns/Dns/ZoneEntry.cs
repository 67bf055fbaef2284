namespace K3sFast.AddOns.Dns;

/// <summary>What one name owns, ready to be sent: record data in wire form. Immutable, so that readers need no lock.</summary>
internal sealed class ZoneEntry
{
    internal static ZoneEntry Empty { get; } = new();

    /// <summary>4 bytes each.</summary>
    internal byte[][] A { get; init; } = [];

    /// <summary>16 bytes each.</summary>
    internal byte[][] Aaaa { get; init; } = [];

    internal ZoneService[] Srv { get; init; } = [];

    /// <summary>Wire names.</summary>
    internal byte[][] Ptr { get; init; } = [];

    internal byte[][] Txt { get; init; } = [];

    /// <summary>The name that this one stands for (an ExternalName service), wire form.</summary>
    internal byte[]? Cname { get; init; }
}

/// <summary>An SRV record: its data, and the addresses of its target that spare the client a second question.</summary>
internal sealed record ZoneService(byte[] Data, byte[] Target, byte[][] A, byte[][] Aaaa);
