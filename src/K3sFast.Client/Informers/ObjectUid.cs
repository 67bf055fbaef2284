namespace K3sFast.Client;

/// <summary>
/// A metadata.uid for those who keep very many: 24 bytes where the string takes 96. What is no UUID in the usual spelling stays the text that it is.
/// </summary>
public readonly record struct ObjectUid
{
    private readonly Guid _value;
    private readonly string? _text;

    /// <summary>The uid of a text; null is "".</summary>
    public ObjectUid(string? uid)
    {
        if (uid is { Length: 36 } && !uid.AsSpan().ContainsAnyInRange('A', 'F') && Guid.TryParseExact(uid, "D", out _value)) return;
        _text = uid ?? "";
    }

    /// <summary>The text. Makes a string.</summary>
    public override string ToString() => _text ?? _value.ToString("D");
}
