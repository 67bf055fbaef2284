using System.Text;
using K3sFast.Client;
using K3sFast.Client.Testing;
using K3sFast.Kubelet.Status;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Kubelet.Tests.Status;

public sealed class StatusManagerTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    [Theory]
    [InlineData(422, "Invalid", 200)]
    [InlineData(403, "Forbidden", 200)]
    [InlineData(403, "Forbidden", 403)]
    [InlineData(422, "Invalid", 404)]
    public async Task Set_AnotherPodHasTheName_GivesUp(int refusal, string reason, int whenRead)
    {
        var writes = 0;
        var api = new InMemoryApi
        {
            Intercept = request =>
            {
                if (request.Method == "GET") return Answer(whenRead, whenRead == 200 ? """{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"default","uid":"new"}}""" : Refused(whenRead, "Forbidden"));
                Interlocked.Increment(ref writes);
                return Answer(refusal, Refused(refusal, reason));
            },
        };
        var manager = new StatusManager(api.Client, TimeProvider.System, NullLogger.Instance, TestContext.Current.CancellationToken);
        manager.Set(Pod("old"), "old", new V1PodStatus { Phase = "Failed", Conditions = [], ContainerStatuses = [] });
        await manager.FlushAsync("old", default).WaitAsync(s_deadline, TestContext.Current.CancellationToken);
        Assert.Equal(1, writes);
    }

    [Fact]
    public async Task Set_RefusedForThatVeryPod_TriesAgain()
    {
        var writes = 0;
        var api = new InMemoryApi
        {
            Intercept = request =>
            {
                const string Now = """{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"default","uid":"old"}}""";
                if (request.Method == "GET") return Answer(200, Now);
                return Interlocked.Increment(ref writes) < 3 ? Answer(403, Refused(403, "Forbidden")) : Answer(200, Now);
            },
        };
        var manager = new StatusManager(api.Client, TimeProvider.System, NullLogger.Instance, TestContext.Current.CancellationToken);
        manager.Set(Pod("old"), "old", new V1PodStatus { Phase = "Failed", Conditions = [], ContainerStatuses = [] });
        await manager.FlushAsync("old", default).WaitAsync(s_deadline, TestContext.Current.CancellationToken);
        Assert.Equal(3, writes);
    }

    private static V1Pod Pod(string uid) => new() { Metadata = new V1ObjectMeta { Name = "p", NamespaceProperty = "default", Uid = uid }, Spec = new V1PodSpec() };

    private static ApiResponse Answer(int code, string json) => new(code, Encoding.UTF8.GetBytes(json));

    private static string Refused(int code, string reason) => $$"""{"kind":"Status","apiVersion":"v1","status":"Failure","code":{{code}},"reason":"{{reason}}","message":"no"}""";
}
