namespace K3sFast.ApiMachinery;

/// <summary>How a body is decoded.</summary>
/// <param name="MaxDepth">How deep objects and arrays may nest; deeper bodies are refused.</param>
/// <param name="MaxNodes">How many values a body may have; bodies with more are refused when the tree would grow.</param>
public readonly record struct DecodeOptions(int MaxDepth, int MaxNodes = int.MaxValue)
{
    /// <summary>Where upstream's readers stop; real objects stay below 50. What walks trees asks <see cref="StackGuard"/> whether its stack is enough.</summary>
    public const int DefaultMaxDepth = 10_000;

    // A value is 32 bytes of tree, so this bounds the tree of a body to 32 MB. Objects that can be stored have a tenth of it at most.
    private const int DefaultMaxNodes = 1024 * 1024;

    /// <summary>For bodies of requests.</summary>
    public static DecodeOptions Default => new(DefaultMaxDepth, DefaultMaxNodes);

    /// <summary>For documents of our own, and what is stored.</summary>
    public static DecodeOptions Free => new(DefaultMaxDepth);
}
