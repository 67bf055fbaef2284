namespace K3sFast.ApiMachinery.Tests;

/// <summary>What the OpenAPI documents cost while nobody asks for them, and once every one of them was asked for.</summary>
[Collection(nameof(OpenApiMemoryTests))]
[CollectionDefinition(nameof(OpenApiMemoryTests), DisableParallelization = true)]
public sealed class OpenApiMemoryTests
{
    // What a server may hold for schema and documents together.
    private const long MaxBytes = 8 << 20;

    [Fact]
    public void Documents_BeforeAndAfterTheyAreAskedFor_StayInTheirBudget()
    {
        var resources = Schema.BuiltIn.Resources.Where(static resource => resource.EnabledByDefault).ToList();
        // What other tests left behind is not to go between two looks; what goes all the same, such as pooled arrays that nobody used for a while, makes it less.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var documents = new OpenApiDocuments(resources);
        var unasked = GC.GetTotalMemory(forceFullCollection: true) - before;
        var packed = documents.Index.Packed.Length + documents.Version2.Packed.Length + documents.Version2Protobuf.Packed.Length;
        foreach (var name in documents.Names)
            packed += documents.FindVersion3(name)!.Packed.Length + documents.FindVersion3Protobuf(name)!.Packed.Length;
        var held = GC.GetTotalMemory(forceFullCollection: true) - before;
        TestContext.Current.TestOutputHelper?.WriteLine($"unasked {unasked} bytes, all made {held} bytes, of it packed {packed} bytes");

        Assert.InRange(unasked, long.MinValue, 64 * 1024);
        Assert.InRange(held, long.MinValue, MaxBytes);
        GC.KeepAlive(documents);
    }
}
