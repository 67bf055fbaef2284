using System.Runtime.CompilerServices;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Asked by everything that calls itself for each level of an object: what the decoders let pass nests up to <see cref="DecodeOptions.DefaultMaxDepth"/>
/// deep, which fits a thread's usual stack of 8 MB. Where the stack is smaller the request is refused, and the process lives.
/// </summary>
public static class StackGuard
{
    /// <summary>Refuses to go deeper when little is left of the stack. Costs a comparison.</summary>
    /// <exception cref="ApiStatusException">400.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Enter()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            ThrowTooDeep();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void ThrowTooDeep() => throw ApiStatus.BadRequest("the object nests deeper than this server's stack allows").ToException();
}
