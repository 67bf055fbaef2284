using System.Runtime.CompilerServices;
using K3sFast.Datastore;

namespace K3sFast.WatchCache.Tests;

/// <summary>Invariants are on in all tests.</summary>
internal static class Suite
{
    [ModuleInitializer]
    internal static void Begin() => Invariant.IsOn = true;
}
