using K3sFast.Interop;
using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Cni;

/// <summary>How fast a pod may receive and send: <c>kubernetes.io/ingress-bandwidth</c> and <c>egress-bandwidth</c>, as the runtime tells them. 0 = no limit.</summary>
/// <param name="IngressRate">To the pod, in bits per second.</param>
/// <param name="IngressBurst">Bits at once; 0 = nobody said.</param>
/// <param name="EgressRate">From the pod.</param>
/// <param name="EgressBurst">Bits at once; 0 = nobody said.</param>
internal readonly record struct PodBandwidth(ulong IngressRate, ulong IngressBurst, ulong EgressRate, ulong EgressBurst)
{
    internal bool IsLimited => IngressRate > 0 || EgressRate > 0;
}

/// <summary>
/// Holds pods to their bandwidth: a token bucket on the host's end of the pod's link for what the pod receives; what it sends takes the way through a
/// device of its own that has another bucket. Both are outside the pod's namespace, where the pod cannot change them.
/// </summary>
internal static class PodShaper
{
    // Runtimes that were told no burst say "as much as there is", which would let half a gigabyte through before the limit is felt.
    private const ulong NoBurst = uint.MaxValue;

    // A burst must hold a whole packet of the largest size that a veth pair carries in one piece (64 KiB, linux/netdevice.h), or it would never pass.
    private const ulong LeastBurstBytes = 64 * 1024;

    /// <summary>Limits a pod's link, which is there.</summary>
    /// <exception cref="KernelException">Refused, or the kernel cannot do it.</exception>
    internal static void Add(RouteSocket host, PodAttachment attachment, int linkIndex, int mtu)
    {
        var bandwidth = attachment.Bandwidth;
        using var batch = new NetlinkBatch();
        if (bandwidth.IngressRate > 0) batch.ReplaceTokenBucket(linkIndex, bandwidth.IngressRate / 8, BurstBytes(bandwidth.IngressRate, bandwidth.IngressBurst));
        if (bandwidth.EgressRate > 0)
        {
            batch.DeleteLink(attachment.ShaperName);
            batch.AddIntermediate(attachment.ShaperName, mtu);
            host.Execute(batch);
            batch.Clear();
            var shaper = host.FindLink(attachment.ShaperName) ?? throw new KernelException("get link " + attachment.ShaperName, Errno.ENODEV);
            batch.ReplaceTokenBucket(shaper.Index, bandwidth.EgressRate / 8, BurstBytes(bandwidth.EgressRate, bandwidth.EgressBurst));
            batch.RedirectIngress(linkIndex, shaper.Index);
        }
        host.Execute(batch);
    }

    /// <summary>Bytes that may go at once: what was asked for, or a tenth of a second's worth.</summary>
    internal static uint BurstBytes(ulong rate, ulong burst) =>
        (uint)Math.Clamp(burst is 0 or >= NoBurst ? rate / 80 : burst / 8, LeastBurstBytes, int.MaxValue);
}
