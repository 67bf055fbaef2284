using System.Buffers.Binary;
using System.Net;
using K3sFast.Interop.NfTables;

namespace K3sFast.Network.Tests.Proxy;

/// <summary>A packet, the first of its connection, and what became of it.</summary>
internal sealed record Packet(string Source, string Destination, byte Protocol, ushort Port, string InputLink = "eth0", string OutputLink = "eth0")
{
    internal string Source { get; set; } = Source;
    internal string Destination { get; set; } = Destination;
    internal ushort Port { get; set; } = Port;
    internal uint Mark { get; set; }
    internal bool IsSpoofed { get; init; }
    internal bool IsTranslated { get; set; }
    internal bool IsMasqueraded { get; set; }
    internal uint State { get; init; } = NftConntrack.New;
}

/// <summary>
/// Runs packets through rules as the kernel would: a second opinion on what the specs say, without a kernel. Only what our rules use.
/// </summary>
internal sealed class PacketTrace(NftFamily family, IReadOnlyCollection<NftFragment> fragments, string[] localAddresses, int random = 0)
{
    private readonly Dictionary<string, NftChain> _chains = fragments.SelectMany(fragment => fragment.Chains).ToDictionary(chain => chain.Name);
    private readonly ILookup<string, NftElement> _elements = fragments.SelectMany(fragment => fragment.Elements).ToLookup(entry => entry.Set, entry => entry.Element);
    private readonly Dictionary<string, HashSet<NftData>> _remembered = [];

    private enum Outcome
    {
        Next,
        Break,
        Return,
        Accept,
        Drop,
        Reject,
    }

    /// <summary>"to address:port" (with " masqueraded"), "drop" or "reject".</summary>
    internal string Send(Packet packet, bool isFromHere = false)
    {
        var isOver = Run(packet, isFromHere ? [NftHook.Output] : [NftHook.Prerouting]);
        if (isOver is not null) return isOver;
        if (!isFromHere)
        {
            isOver = Run(packet, IsLocal(packet.Destination) ? [NftHook.Input] : [NftHook.Forward]);
            if (isOver is not null) return isOver;
        }
        if (!IsLocal(packet.Destination) || isFromHere) Run(packet, [NftHook.Postrouting]);
        return $"to {packet.Destination}:{packet.Port}{(packet.IsMasqueraded ? " masqueraded" : "")}";
    }

    private string? Run(Packet packet, NftHook[] hooks)
    {
        foreach (var chain in _chains.Values.Where(chain => chain.Base is not null && hooks.Contains(chain.Base.Hook)).OrderBy(chain => chain.Base!.Priority))
        {
            switch (Walk(chain.Name, packet))
            {
                case Outcome.Drop: return "drop";
                case Outcome.Reject: return "reject";
                default: break;
            }
        }
        return null;
    }

    private Outcome Walk(string name, Packet packet)
    {
        foreach (var rule in _chains[name].Rules)
        {
            var outcome = Walk(rule, packet);
            if (outcome is Outcome.Next or Outcome.Break) continue;
            return outcome == Outcome.Return ? Outcome.Next : outcome;
        }
        return Outcome.Next;
    }

    private Outcome Walk(NftRule rule, Packet packet)
    {
        // 16 registers of 4 bytes, as the kernel's.
        var registers = new byte[64];
        foreach (var expression in rule.Expressions)
        {
            var outcome = Step(expression, packet, registers);
            if (outcome != Outcome.Next) return outcome;
        }
        return Outcome.Next;
    }

    private Outcome Step(NftExpression expression, Packet packet, byte[] registers)
    {
        Span<byte> At(int register, int length) => registers.AsSpan(register * 4, length);
        void Load(int register, ReadOnlySpan<byte> value)
        {
            At(register, (value.Length + 3) & ~3).Clear();
            value.CopyTo(At(register, value.Length));
        }
        switch (expression)
        {
            case NftMeta { Key: NftMetaKey.Mark } meta:
                Load(meta.Register, BitConverter.GetBytes(packet.Mark));
                return Outcome.Next;
            case NftMeta { Key: NftMetaKey.TransportProtocol } meta:
                Load(meta.Register, [packet.Protocol]);
                return Outcome.Next;
            case NftMeta meta:
                var name = new byte[16];
                System.Text.Encoding.ASCII.GetBytes(meta.Key == NftMetaKey.InputName ? packet.InputLink : packet.OutputLink, name);
                Load(meta.Register, name);
                return Outcome.Next;
            case NftMetaSet set:
                packet.Mark = BitConverter.ToUInt32(At(set.Register, 4));
                return Outcome.Next;
            case NftPayload payload:
                Load(payload.Register, Header(payload, packet));
                return Outcome.Next;
            case NftCompare compare:
                return At(compare.Register, compare.Value.Bytes.Length).SequenceEqual(compare.Value.Bytes) != compare.IsInverted ? Outcome.Next : Outcome.Break;
            case NftBitwise bitwise:
                var target = At(bitwise.Register, bitwise.Mask.Bytes.Length);
                for (var i = 0; i < target.Length; i++) target[i] = (byte)((target[i] & bitwise.Mask.Bytes[i]) ^ bitwise.Xor.Bytes[i]);
                return Outcome.Next;
            case NftImmediate immediate:
                Load(immediate.Register, immediate.Value.Bytes);
                return Outcome.Next;
            case NftDecide decide:
                return Decide(decide.Verdict, packet);
            case NftLookup lookup:
                return Look(lookup, packet, registers);
            case NftRemember remember:
                if (!_remembered.TryGetValue(remember.Set, out var clients)) _remembered[remember.Set] = clients = [];
                clients.Add(new NftData(At(remember.Register, family == NftFamily.IPv6 ? 16 : 4).ToArray()));
                return Outcome.Next;
            case NftConntrack conntrack:
                Load(conntrack.Register, BitConverter.GetBytes(conntrack.Key == NftConntrackKey.State ? packet.State : 0));
                return Outcome.Next;
            case NftRandom number:
                Load(number.Register, BitConverter.GetBytes((uint)(random % number.Modulus)));
                return Outcome.Next;
            case NftAddressKind kind:
                Load(kind.Register, BitConverter.GetBytes(IsLocal(kind.IsSource ? packet.Source : packet.Destination) ? NftAddressKind.Local : 1));
                return Outcome.Next;
            case NftWayBack back:
                Load(back.Register, BitConverter.GetBytes(packet.IsSpoofed ? 0u : 7u));
                return Outcome.Next;
            case NftTranslate translate:
                packet.Destination = new IPAddress(At(translate.AddressRegister, family == NftFamily.IPv6 ? 16 : 4)).ToString();
                if (translate.PortRegister is { } port) packet.Port = BinaryPrimitives.ReadUInt16BigEndian(At(port, 2));
                packet.IsTranslated = true;
                return Outcome.Accept;
            case NftMasquerade:
                packet.IsMasqueraded = true;
                return Outcome.Accept;
            case NftReject:
                return Outcome.Reject;
            default:
                throw new NotSupportedException(expression.GetType().Name);
        }
    }

    private Outcome Look(NftLookup lookup, Packet packet, byte[] registers)
    {
        var elements = lookup.Anonymous?.Elements ?? [.. _elements[lookup.Set], .. _remembered.GetValueOrDefault(lookup.Set, []).Select(key => new NftElement(key))];
        foreach (var element in elements)
        {
            if (!registers.AsSpan(lookup.Register * 4, element.Key.Bytes.Length).SequenceEqual(element.Key.Bytes)) continue;
            if (lookup.IsInverted) return Outcome.Break;
            if (lookup.IsVerdictMap) return Decide(element.Verdict!.Value, packet);
            if (lookup.DataRegister is { } data) element.Data.Bytes.CopyTo(registers.AsSpan(data * 4));
            return Outcome.Next;
        }
        return lookup.IsInverted ? Outcome.Next : Outcome.Break;
    }

    private Outcome Decide(NftVerdict verdict, Packet packet) => verdict.Code switch
    {
        NftVerdictCode.Drop => Outcome.Drop,
        NftVerdictCode.Accept => Outcome.Accept,
        NftVerdictCode.Return => Outcome.Return,
        NftVerdictCode.Jump => Walk(verdict.Chain!, packet),
        // Goto: the chain's end is the end of the calling chain as well.
        _ => Walk(verdict.Chain!, packet) is var outcome && outcome == Outcome.Next ? Outcome.Return : outcome,
    };

    private byte[] Header(NftPayload payload, Packet packet)
    {
        if (payload.Base == NftPayloadBase.Transport)
        {
            Assert.Equal((2, 2), (payload.Offset, payload.Length));
            return [(byte)(packet.Port >> 8), (byte)packet.Port];
        }
        var isSource = payload.Offset == (family == NftFamily.IPv6 ? 8 : 12);
        return IPAddress.Parse(isSource ? packet.Source : packet.Destination).GetAddressBytes();
    }

    private bool IsLocal(string address) => IPAddress.IsLoopback(IPAddress.Parse(address)) || localAddresses.Contains(address);
}
