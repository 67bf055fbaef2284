namespace K3sFast.ApiMachinery;

/// <summary>How a body is decoded.</summary>
/// <param name="MaxDepth">How deep objects and arrays may nest; deeper bodies are refused.</param>
public readonly record struct DecodeOptions(int MaxDepth)
{
    /// <summary>Bounds the stack that a hostile body can make us use; upstream's scanner stops at 10,000, real objects stay below 50.</summary>
    public const int DefaultMaxDepth = 1000;

    /// <summary>The ordinary options.</summary>
    public static DecodeOptions Default => new(DefaultMaxDepth);

    /// <summary>For patch bodies and other free documents. The same; says what the call is for.</summary>
    public static DecodeOptions Free => new(DefaultMaxDepth);
}
