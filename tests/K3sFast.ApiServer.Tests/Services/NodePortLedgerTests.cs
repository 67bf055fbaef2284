using System.Text;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.ApiServer.Tests.Services;

/// <summary>Node ports out of one pot, however many servers draw.</summary>
public sealed class NodePortLedgerTests : IAsyncLifetime, IDatastoreVisitor
{
    private const string Key = "/registry/ranges/servicenodeports";

    private readonly string _folder = Directory.CreateTempSubdirectory("ledger-").FullName;
    private SqliteDatastore _store = null!;
    private string _value = "";
    private long _revision;

    public ValueTask InitializeAsync()
    {
        _store = SqliteDatastore.Open(new() { Path = Path.Combine(_folder, "state.db") });
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task TakeNext_ServersAtOnce_NeverTheSamePort()
    {
        var servers = Enumerable.Range(0, 3).Select(_ => Ports()).ToArray();
        var taken = await Task.WhenAll(Enumerable.Range(0, 60).Select(i => Task.Run(async () => await servers[i % 3].TakeNextAsync(isDryRun: false, default))));
        Assert.Equal(60, taken.Distinct().Count());
        Assert.All(taken, port => Assert.InRange(port!.Value, 30000, 30099));
    }

    [Fact]
    public async Task TryTake_PortOfAnotherServer_IsRefusedUntilItIsGivenBack()
    {
        NodePorts first = Ports(), second = Ports();
        Assert.Null(await first.TryTakeAsync(30007, isDryRun: false, default));
        Assert.Equal("provided port is already allocated", await second.TryTakeAsync(30007, isDryRun: false, default));
        Assert.Null(await second.TryTakeAsync(30008, isDryRun: true, default));
        Assert.Null(await first.TryTakeAsync(30008, isDryRun: false, default));
        await first.ReleaseAsync([30007]);
        Assert.Null(await second.TryTakeAsync(30007, isDryRun: false, default));
        Assert.Contains("not in the valid range", await second.TryTakeAsync(1, isDryRun: false, default), StringComparison.Ordinal);
    }

    /// <summary>Bit 0 is the first port: ports 30000, 30003 and 30008 are 1 0000 1001, in bytes 01 09.</summary>
    [Fact]
    public async Task Stored_Form_IsUpstreamsRangeAllocation()
    {
        var ports = Ports();
        foreach (var port in new[] { 30000, 30003, 30008 })
            await ports.TryTakeAsync(port, isDryRun: false, default);
        await ReadAsync();
        Assert.Equal("""{"kind":"RangeAllocation","apiVersion":"v1","metadata":{},"range":"30000-30099","data":"AQk="}""", _value);
    }

    [Fact]
    public async Task Stored_ByKubeApiserverInProtobuf_IsRead()
    {
        // Unknown{typeMeta{v1, RangeAllocation}, raw{metadata{}, range, data}} behind the four bytes of the envelope.
        byte[] raw = [0x0a, 0, 0x12, 11, .. "30000-30099"u8, 0x1a, 2, 0x01, 0x09];
        byte[] type = [0x0a, 2, .. "v1"u8, 0x12, 15, .. "RangeAllocation"u8];
        byte[] value = [.. "k8s\0"u8, 0x0a, (byte)type.Length, .. type, 0x12, (byte)raw.Length, .. raw];
        await _store.AppendAsync(AppendRequest.Create(Key, value));
        foreach (var port in new[] { 30000, 30003, 30008 })
            Assert.Equal("provided port is already allocated", await Ports().TryTakeAsync(port, isDryRun: false, default));
        Assert.Null(await Ports().TryTakeAsync(30001, isDryRun: false, default));
    }

    [Fact]
    public async Task Repair_PortsThatNoServiceHolds_AreGivenBackTheSecondTime()
    {
        var ports = Ports();
        await ports.TryTakeAsync(30001, isDryRun: false, default);
        await ports.TryTakeAsync(30002, isDryRun: false, default);
        await ports.RepairAsync([30001, 30005], default);
        Assert.NotNull(await ports.TryTakeAsync(30002, isDryRun: true, default));
        await ports.RepairAsync([30001, 30005], default);
        Assert.Null(await ports.TryTakeAsync(30002, isDryRun: true, default));
        Assert.NotNull(await ports.TryTakeAsync(30005, isDryRun: true, default));
    }

    void IDatastoreVisitor.OnEntry(in DatastoreEntry entry) => (_value, _revision) = (Encoding.UTF8.GetString(entry.Value), entry.Revision);

    private async Task ReadAsync()
    {
        await _store.RangeAsync(new RangeRequest(Key), this);
        Assert.True(_revision > 0);
    }

    private NodePorts Ports() => new(30000, 30099, new NodePortLedger(_store, 30000, 30099));
}
