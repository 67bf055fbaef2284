using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>
/// Amounts of resources as whole numbers: CPU in thousandths, everything else in units (bytes). The common ones are fields; extended
/// resources and huge pages are in <see cref="Scalars"/>. Mutable, one thread.
/// </summary>
internal sealed class ResourceAmounts
{
    internal long MilliCpu { get; set; }

    internal long Memory { get; set; }

    internal long EphemeralStorage { get; set; }

    /// <summary>Null while there are none.</summary>
    internal Dictionary<string, long>? Scalars { get; private set; }

    internal static ResourceAmounts Of(IDictionary<string, ResourceQuantity>? quantities)
    {
        var amounts = new ResourceAmounts();
        if (quantities is null) return amounts;
        foreach (var (name, quantity) in quantities) amounts.Set(name, Amount(name, quantity));
        return amounts;
    }

    /// <summary>A quantity in the unit that its resource is counted in, rounded up.</summary>
    internal static long Amount(string name, ResourceQuantity quantity)
    {
        var value = quantity.ToDecimal();
        if (name == "cpu") value *= 1000;
        return value >= long.MaxValue ? long.MaxValue : (long)decimal.Ceiling(value);
    }

    internal long Get(string name) => name switch
    {
        "cpu" => MilliCpu,
        "memory" => Memory,
        "ephemeral-storage" => EphemeralStorage,
        _ => Scalars is null ? 0 : Scalars.GetValueOrDefault(name),
    };

    internal void Set(string name, long amount)
    {
        switch (name)
        {
            case "cpu":
                MilliCpu = amount;
                break;
            case "memory":
                Memory = amount;
                break;
            case "ephemeral-storage":
                EphemeralStorage = amount;
                break;
            case "pods":
                // Counted by pods, not by requests.
                break;
            default:
                (Scalars ??= [])[name] = amount;
                break;
        }
    }

    internal void Add(ResourceAmounts other, int sign = 1)
    {
        MilliCpu += sign * other.MilliCpu;
        Memory += sign * other.Memory;
        EphemeralStorage += sign * other.EphemeralStorage;
        if (other.Scalars is null) return;
        Scalars ??= [];
        foreach (var (name, amount) in other.Scalars) Scalars[name] = Scalars.GetValueOrDefault(name) + (sign * amount);
    }

    /// <summary>Raises each amount to the other's where that is more.</summary>
    internal void Raise(ResourceAmounts other)
    {
        MilliCpu = Math.Max(MilliCpu, other.MilliCpu);
        Memory = Math.Max(Memory, other.Memory);
        EphemeralStorage = Math.Max(EphemeralStorage, other.EphemeralStorage);
        if (other.Scalars is null) return;
        Scalars ??= [];
        foreach (var (name, amount) in other.Scalars) Scalars[name] = Math.Max(Scalars.GetValueOrDefault(name), amount);
    }

    internal ResourceAmounts Copy()
    {
        var copy = new ResourceAmounts();
        copy.Add(this);
        return copy;
    }

    internal bool SameAs(ResourceAmounts other)
    {
        if (MilliCpu != other.MilliCpu || Memory != other.Memory || EphemeralStorage != other.EphemeralStorage) return false;
        if ((Scalars?.Count ?? 0) != (other.Scalars?.Count ?? 0)) return false;
        foreach (var (name, amount) in Scalars ?? [])
        {
            if (other.Get(name) != amount) return false;
        }
        return true;
    }
}
