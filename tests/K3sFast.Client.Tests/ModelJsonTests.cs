using System.Text;
using System.Text.Json;
using k8s.Models;

namespace K3sFast.Client.Tests;

public sealed class ModelJsonTests
{
    [Fact]
    public void Owners_OfFields_AreNeitherReadNorWritten()
    {
        var pod = JsonSerializer.Deserialize(
            """{"metadata":{"name":"p","managedFields":[{"manager":"m","operation":"Update","fieldsV1":{"f:spec":{}}}],"labels":{"a":"b"}}}""", ModelJson.TypeInfo<V1Pod>())!;
        Assert.Null(pod.Metadata.ManagedFields);
        Assert.Equal("b", pod.Metadata.Labels["a"]);
        pod.Metadata.ManagedFields = [new V1ManagedFieldsEntry { Manager = "m" }];
        Assert.DoesNotContain("managedFields", Encoding.UTF8.GetString(ModelJson.Serialize(pod)));
    }
}
