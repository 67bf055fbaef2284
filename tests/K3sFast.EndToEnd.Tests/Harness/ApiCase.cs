using System.Globalization;
using System.Reflection;

namespace K3sFast.EndToEnd.Tests;

/// <summary>The test asks a node for something: it does not run where there are API servers alone.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class NeedsNodeAttribute : Attribute;

/// <summary>A test of the API (one row of it, if it has rows), to be run on another cluster than the one that its class shares.</summary>
internal sealed record ApiCase(string Name, MethodInfo Test, object?[] Row)
{
    // The rows of one test differ for kubectl, and hardly for the servers.
    private const int OfRowsOneIn = 4;

    /// <summary>The cases of a test class that need no node, in the order in which they are written; of a test with rows, some.</summary>
    internal static IEnumerable<ApiCase> Of(Type tests) =>
        from test in tests.GetMethods(BindingFlags.Instance | BindingFlags.Public | BindingFlags.DeclaredOnly)
        where test.IsDefined(typeof(FactAttribute)) && !test.IsDefined(typeof(NeedsNodeAttribute))
        let rows = test.GetCustomAttributes<InlineDataAttribute>().Select(static row => row.Data).DefaultIfEmpty([])
        from row in rows.Index()
        where row.Index % OfRowsOneIn == 0
        select new ApiCase(string.Create(CultureInfo.InvariantCulture, $"{tests.Name}.{test.Name}{(row.Item.Length > 0 ? $" {row.Index + 1}" : "")}"), test, row.Item);

    /// <summary>Runs the case as xUnit would, in a namespace of its own that is filled before the test begins.</summary>
    internal async Task RunAsync(Cluster cluster)
    {
        var test = (ClusterTest)Activator.CreateInstance(Test.DeclaringType!, cluster)!;
        try
        {
            await test.InitializeAsync();
            await (Task)Test.Invoke(test, BindingFlags.DoNotWrapExceptions, null, Row, CultureInfo.InvariantCulture)!;
        }
        finally
        {
            await test.DisposeAsync();
        }
    }
}
