namespace K3sFast.ApiMachinery;

/// <summary>A resource quantity (500m, 1Gi, 2e3).</summary>
public readonly struct Quantity : IComparable<Quantity>, IEquatable<Quantity>
{
    /// <summary>Parses the text form.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out Quantity value) => throw new NotImplementedException();

    /// <summary>Parses the text form.</summary>
    public static Quantity Parse(string text) => throw new NotImplementedException();

    /// <inheritdoc/>
    public int CompareTo(Quantity other) => throw new NotImplementedException();

    /// <inheritdoc/>
    public bool Equals(Quantity other) => CompareTo(other) == 0;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Quantity other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => throw new NotImplementedException();

    /// <summary>The canonical form.</summary>
    public override string ToString() => throw new NotImplementedException();
}
