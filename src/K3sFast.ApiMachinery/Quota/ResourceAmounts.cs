using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Amounts by resource name, as ResourceList is in the API: {"cpu": "500m", "pods": "3"}. Names are in order.</summary>
/// <remarks>Not synchronized. The operations make new maps.</remarks>
public sealed class ResourceAmounts : SortedDictionary<string, Quantity>
{
    /// <summary>An empty map.</summary>
    public ResourceAmounts() : base(StringComparer.Ordinal)
    {
    }

    /// <summary>Reads a ResourceList; what is no quantity is left out.</summary>
    public static ResourceAmounts Read(ApiNode list)
    {
        var amounts = new ResourceAmounts();
        foreach (var member in list.Members)
        {
            if (Quantity.TryParse(member.Value.Utf8, out var quantity))
                amounts[Encoding.UTF8.GetString(member.Name)] = quantity;
        }
        return amounts;
    }

    /// <summary>Writes the amounts as member <paramref name="name"/>, in the place of what was there.</summary>
    public void WriteTo(ApiNode parent, ReadOnlySpan<byte> name)
    {
        parent.Remove(name);
        var list = parent.GetOrAddObject(name);
        foreach (var (resource, quantity) in this)
            list.Set(Encoding.UTF8.GetBytes(resource), quantity.ToString());
    }

    /// <summary>A copy.</summary>
    public ResourceAmounts Copy()
    {
        var copy = new ResourceAmounts();
        foreach (var (name, quantity) in this)
            copy[name] = quantity;
        return copy;
    }

    /// <summary>Adds each amount to the one of the same name.</summary>
    public void Add(ResourceAmounts other)
    {
        foreach (var (name, quantity) in other)
            this[name] = TryGetValue(name, out var own) ? own + quantity : quantity;
    }

    /// <summary>Takes the greater one of each name.</summary>
    public void Raise(ResourceAmounts other)
    {
        foreach (var (name, quantity) in other)
        {
            if (!TryGetValue(name, out var own) || quantity > own)
                this[name] = quantity;
        }
    }

    /// <summary>The difference, nothing below zero.</summary>
    public ResourceAmounts Less(ResourceAmounts other)
    {
        var result = new ResourceAmounts();
        foreach (var (name, quantity) in this)
        {
            var left = other.TryGetValue(name, out var taken) ? quantity - taken : quantity;
            result[name] = left.Sign > 0 ? left : default;
        }
        foreach (var name in other.Keys)
            result.TryAdd(name, default);
        return result;
    }

    /// <summary>Only the names of that set.</summary>
    public ResourceAmounts Only(IReadOnlyCollection<string> names)
    {
        var result = new ResourceAmounts();
        foreach (var (name, quantity) in this)
        {
            if (names.Contains(name))
                result[name] = quantity;
        }
        return result;
    }

    /// <summary>Without those that are zero.</summary>
    public ResourceAmounts WithoutZeros()
    {
        var result = new ResourceAmounts();
        foreach (var (name, quantity) in this)
        {
            if (quantity.Sign != 0)
                result[name] = quantity;
        }
        return result;
    }

    /// <summary>The same names with equal amounts.</summary>
    public bool SameAs(ResourceAmounts other)
    {
        if (Count != other.Count)
            return false;
        foreach (var (name, quantity) in this)
        {
            if (!other.TryGetValue(name, out var theirs) || theirs != quantity)
                return false;
        }
        return true;
    }

    /// <summary>"cpu=1,memory=2Gi", as refusals show it.</summary>
    public override string ToString() => string.Join(',', this.Select(static pair => $"{pair.Key}={pair.Value}"));
}
