using System.Globalization;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

public sealed class IndexedRowTests
{
    [Theory]
    // Thick, so that they are counted; thin, and with one that is two keys', so that they are compared.
    [InlineData("", "")]
    [InlineData("7", "7")]
    [InlineData("9 2 4 3 1", "1 2 3 4 9")]
    [InlineData("1000 2 4 3 1", "1 2 3 4 1000")]
    [InlineData("9223372036854775807 1", "1 9223372036854775807")]
    [InlineData("4 2 4 3 1", "1 2 3 4 4")]
    public void Rows_InAnyOrder_AreReadInThatOfTheirIds(string ids, string expected)
    {
        var rows = ids.Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Select(static (id, rank) => new IndexedRow(long.Parse(id, CultureInfo.InvariantCulture), rank, (uint)rank)).ToList();
        var ordered = StateScan.InOrderOfIds(rows);
        Assert.Equal(expected, string.Join(' ', ordered.Select(static row => row.Id)));
        Assert.Equal(rows.Select(static row => row.Rank), ordered.Select(static row => row.Rank).Order());
        Assert.All(ordered, row => Assert.Equal(rows[row.Rank], row));
    }
}
