using System.Runtime.CompilerServices;

namespace K3sFast.FaultRig.Tests;

/// <summary>Invariants are on in all tests.</summary>
internal static class Suite
{
    [ModuleInitializer]
    internal static void Begin() => Invariant.IsOn = true;
}
