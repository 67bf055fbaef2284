namespace K3sFast.ApiServer.Tests.Conformity;

/// <summary>Status, reason, message, causes and warnings of every request in the files beside this class are upstream's.</summary>
public sealed class ConformityTests(ConformityRun run) : IClassFixture<ConformityRun>
{
    public static IEnumerable<TheoryDataRow<string, int>> Rows() =>
        ConformityRun.Cases.Select(static c => new TheoryDataRow<string, int>(c.File, c.Line) { TestDisplayName = c.ToString() });

    [Theory]
    [MemberData(nameof(Rows))]
    public void Request_InItsFile_IsAnsweredAsUpstreamDoes(string file, int line)
    {
        var item = ConformityRun.Cases.First(c => c.File == file && c.Line == line);
        var differences = run.DifferencesOf(item);
        if (differences.Count > 0 && item.Pending is { } reason)
            Assert.Skip(reason);
        Assert.True(differences.Count == 0, $"{item}\n  {string.Join("\n  ", differences)}");
    }
}
