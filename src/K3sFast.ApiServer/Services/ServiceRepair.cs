using System.Net;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Keeps IPAddress objects and Services in step, at start and every three minutes: an address that a Service has and nobody owns is taken for it, one
/// whose Service is gone is given back.
/// </summary>
internal sealed class ServiceRepair(ResourceStorage services, ServiceAddresses addresses, NodePorts ports, TimeProvider clock, ILogger logger)
{
    // Upstream's figures: how often it looks, and how long an address may wait for its Service to be stored.
    private static readonly TimeSpan s_period = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan s_leakAge = TimeSpan.FromMinutes(1);

    /// <summary>Reads what stored Services hold, and repairs. Called before the first request.</summary>
    internal async Task StartAsync(CancellationToken cancel)
    {
        await ports.LoadAsync(HeldPorts(), cancel).ConfigureAwait(false);
        await RepairAsync(cancel).ConfigureAwait(false);
    }

    internal async Task FollowAsync(CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(s_period, clock, cancel).ConfigureAwait(false);
                await RepairAsync(cancel).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                return;
            }
            catch (Exception error)
            {
                Log.BackgroundFailed(logger, "keeping Services' addresses", error.Message);
            }
        }
    }

    private async Task RepairAsync(CancellationToken cancel)
    {
        // What another server has just stored is not to be taken for gone.
        await services.FreshenAsync(cancel).ConfigureAwait(false);
        var held = new Dictionary<string, (string Namespace, string Name)>(StringComparer.Ordinal);
        foreach (var stored in services.All(null))
        {
            using var document = services.Decode(stored);
            var spec = document.Root["spec"u8];
            if (ServiceFields.IsExternalName(spec))
                continue;
            foreach (var text in ServiceFields.Texts(spec["clusterIPs"u8]))
            {
                if (!IPAddress.TryParse(text, out var address))
                    continue;
                // Twice taken or out of range cannot be repaired, only told.
                if (!addresses.IsInRange(address) || !held.TryAdd(address.ToString(), (ObjectText.NamespaceOf(document.Root), ObjectText.NameOf(document.Root))))
                    Log.AddressConflict(logger, stored.Key, text);
            }
        }
        foreach (var (text, (ns, name)) in held)
        {
            if (!IsOwned(text, ns, name))
                await addresses.RepairAsync(IPAddress.Parse(text), ns, name, cancel).ConfigureAwait(false);
        }
        foreach (var leaked in FindLeaked(held))
            await addresses.ReleaseAsync(leaked).ConfigureAwait(false);
        await ports.RepairAsync(HeldPorts(), cancel).ConfigureAwait(false);
    }

    private List<long> HeldPorts()
    {
        var held = new List<long>();
        foreach (var stored in services.All(null))
        {
            using var document = services.Decode(stored);
            held.AddRange(NodePorts.Of(document.Root["spec"u8]));
        }
        return held;
    }

    private bool IsOwned(string text, string ns, string name)
    {
        using var stored = addresses.Storage.Get("", text);
        if (stored is null)
            return false;
        using var document = addresses.Storage.Decode(stored);
        return ServiceAddresses.BelongsTo(document.Root, ns, name);
    }

    private List<IPAddress> FindLeaked(Dictionary<string, (string Namespace, string Name)> held)
    {
        var leaked = new List<IPAddress>();
        var before = clock.GetUtcNow() - s_leakAge;
        foreach (var stored in addresses.Storage.All(""))
        {
            using var document = addresses.Storage.Decode(stored);
            var name = ObjectText.NameOf(document.Root);
            if (ServiceAddresses.IsManaged(document.Root) && !held.ContainsKey(name) && IPAddress.TryParse(name, out var address)
                && ObjectText.TryParseTime(document.Root["metadata"u8]["creationTimestamp"u8], out var created) && created < before)
                leaked.Add(address);
        }
        return leaked;
    }
}
