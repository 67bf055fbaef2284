using System.Diagnostics;
using System.Net;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Cluster addresses of Services: who creates the IPAddress object of that name has the address, so that any number of servers may allocate. The ranges
/// are those of the ServiceCIDR objects that are ready.
/// </summary>
/// <remarks>Any thread. Taking an address costs one write.</remarks>
internal sealed class ServiceAddresses(ResourceCatalog catalog, IReadOnlyList<IPNetwork> configured, Func<WriteFlow> writes, AddressMetrics? metrics = null)
{
    private const string Manager = "ipallocator.k8s.io";

    private readonly ResourceStorage _addresses = catalog.Storage("networking.k8s.io", "ipaddresses");
    private readonly ResourceStorage _ranges = catalog.Storage("networking.k8s.io", "servicecidrs");

    /// <summary>The families that Services may have, the default one first.</summary>
    internal IReadOnlyList<string> Families { get; } = [.. configured.Select(static network => new ServiceRange(network).Family)];

    internal ResourceStorage Storage => _addresses;

    /// <summary>Takes that address for a Service; null, or why not in upstream's words.</summary>
    internal async ValueTask<string?> TryTakeAsync(IPAddress address, string ns, string name, bool isDryRun, CancellationToken cancel)
    {
        // The first and the last address of a range are in no range.
        if (Ranges(mustBeReady: true).FirstOrDefault(range => range.IsUsable(address)) is not { } range)
            return "the provided network does not match the current range";
        if (isDryRun)
            return null;
        var started = Stopwatch.GetTimestamp();
        if (!await TryCreateAsync(address, range.Family, ns, name, cancel).ConfigureAwait(false))
        {
            metrics?.Failed(range.Network, isAskedFor: true);
            return "provided IP is already allocated";
        }
        metrics?.Took(range.Network, isAskedFor: true, started);
        return null;
    }

    /// <summary>Takes a free address of that family; null when all are taken.</summary>
    internal async ValueTask<IPAddress?> TakeNextAsync(string family, string ns, string name, bool isDryRun, CancellationToken cancel)
    {
        foreach (var range in Ranges(mustBeReady: true))
        {
            if (range.Family != family)
                continue;
            // A dry run takes nothing, and so cannot say which address it would have been.
            if (isDryRun)
                return range.Network.BaseAddress;
            var started = Stopwatch.GetTimestamp();
            foreach (var address in range.Candidates())
            {
                using (var taken = _addresses.Get("", address.ToString()))
                {
                    if (taken is not null)
                        continue;
                }
                if (!await TryCreateAsync(address, family, ns, name, cancel).ConfigureAwait(false))
                    continue;
                metrics?.Took(range.Network, isAskedFor: false, started);
                return address;
            }
            metrics?.Failed(range.Network, isAskedFor: false);
        }
        return null;
    }

    internal async ValueTask ReleaseAsync(IPAddress address)
    {
        using var current = _addresses.Get("", address.ToString());
        if (current is null)
            return;
        var context = new WriteContext(UserInfo.ApiServer, "", address.ToString(), false, CancellationToken.None);
        using var gone = await writes().DeleteNowAsync(_addresses, current, context).ConfigureAwait(false);
    }

    /// <summary>Gives the address to that Service whatever its object says now.</summary>
    internal async ValueTask RepairAsync(IPAddress address, string ns, string name, CancellationToken cancel)
    {
        await ReleaseAsync(address).ConfigureAwait(false);
        await TryCreateAsync(address, IsV6(address) ? "IPv6" : "IPv4", ns, name, cancel).ConfigureAwait(false);
    }

    /// <summary>How many addresses of each range are taken.</summary>
    internal List<(ServiceRange Range, ulong Taken)> Usage()
    {
        var ranges = Ranges(mustBeReady: false);
        var taken = new ulong[ranges.Count];
        foreach (var stored in _addresses.All(null))
        {
            if (IPAddress.TryParse(stored.Name(), out var address) && ranges.FindIndex(range => range.IsUsable(address)) is var i and >= 0)
                taken[i]++;
        }
        return [.. ranges.Zip(taken)];
    }

    internal bool IsInRange(IPAddress address) => Ranges(mustBeReady: false).Any(range => range.Network.Contains(address));

    /// <summary>True when the object says that the address is allocated by us, to that Service.</summary>
    internal static bool BelongsTo(ApiNode address, string ns, string name)
    {
        var parent = address["spec"u8]["parentRef"u8];
        return IsManaged(address) && parent["group"u8].Utf8.IsEmpty && parent["resource"u8].Equals("services"u8) && parent["namespace"u8].AsString() == ns
            && parent["name"u8].AsString() == name
            && address["metadata"u8]["labels"u8]["ipaddress.kubernetes.io/ip-family"u8].AsString() == (ObjectText.NameOf(address).Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4");
    }

    internal static bool IsManaged(ApiNode address) =>
        address["metadata"u8]["labels"u8]["ipaddress.kubernetes.io/managed-by"u8].Equals(Encoding.UTF8.GetBytes(Manager));

    private static bool IsV6(IPAddress address) => address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;

    private List<ServiceRange> Ranges(bool mustBeReady)
    {
        var ranges = new List<ServiceRange>();
        var isAny = false;
        foreach (var stored in _ranges.All(""))
        {
            isAny = true;
            using var document = _ranges.Decode(stored);
            if (mustBeReady && (ObjectText.IsDeleting(document.Root) || !IsReady(document.Root)))
                continue;
            foreach (var text in document.Root["spec"u8]["cidrs"u8].Elements)
            {
                if (IPNetwork.TryParse(text.AsString(), out var network))
                    ranges.Add(new ServiceRange(network));
            }
        }
        // Before the first object is written, what the server was told counts.
        return isAny ? ranges : [.. configured.Select(static network => new ServiceRange(network))];
    }

    private static bool IsReady(ApiNode range)
    {
        foreach (var condition in range["status"u8]["conditions"u8].Elements)
        {
            if (condition["type"u8].Equals("Ready"u8))
                return condition["status"u8].Equals("True"u8);
        }
        return true;
    }

    private async ValueTask<bool> TryCreateAsync(IPAddress address, string family, string ns, string name, CancellationToken cancel)
    {
        using var document = new ApiObject();
        var root = document.Root;
        root.Set("kind"u8, _addresses.Info.KindUtf8);
        root.Set("apiVersion"u8, _addresses.Info.ApiVersionUtf8);
        var metadata = root.GetOrAddObject("metadata"u8);
        metadata.Set("name"u8, address.ToString());
        var labels = metadata.GetOrAddObject("labels"u8);
        labels.Set("ipaddress.kubernetes.io/ip-family"u8, family);
        labels.Set("ipaddress.kubernetes.io/managed-by"u8, Manager);
        var parent = root.GetOrAddObject("spec"u8).GetOrAddObject("parentRef"u8);
        parent.Set("resource"u8, "services"u8);
        parent.Set("namespace"u8, ns);
        parent.Set("name"u8, name);
        try
        {
            var context = new WriteContext(UserInfo.ApiServer, "", address.ToString(), false, cancel);
            using var made = await writes().CreateAsync(_addresses, document, context).ConfigureAwait(false);
            return true;
        }
        catch (ApiStatusException taken) when (taken.Status.Reason == "AlreadyExists")
        {
            return false;
        }
    }
}
