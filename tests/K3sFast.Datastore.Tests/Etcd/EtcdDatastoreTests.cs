using K3sFast.Datastore.Etcd;
using K3sFast.Tests.Databases;

namespace K3sFast.Datastore.Tests.Etcd;

/// <summary>The contract on a real etcd. The tests share one server: each finds it empty, at the revision that the one before left.</summary>
public sealed class EtcdContractTests(DatabaseServers servers) : SharedStoreContractTests
{
    protected override string? SkipReason => EtcdServer.SkipReason;

    // etcd's default of --max-request-bytes is 1.5 MiB.
    protected override int LargeValueBytes => 1024 * 1024;

    protected override async Task<IDatastore> OpenAsync()
    {
        var members = await servers.Etcd;
        return await EtcdDatastore.OpenAsync(new EtcdOptions { Endpoints = [.. members.Select(member => new Uri(member.Url))] });
    }

    [Fact]
    public async Task Append_TooLargeForEtcd_SaysSo()
    {
        var refused = await Assert.ThrowsAsync<DatastoreException>(async () => await Create("/v/huge", new string('x', 3 * 1024 * 1024)));
        Assert.Contains("--max-request-bytes", refused.Message, StringComparison.Ordinal);
        Assert.Empty(await Range("/v/"));
    }
}
