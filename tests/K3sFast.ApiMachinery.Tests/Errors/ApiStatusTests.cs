using System.Text;

namespace K3sFast.ApiMachinery.Tests;

public sealed class ApiStatusTests
{
    private static string Json(ApiStatus status) => Encoding.UTF8.GetString(status.ToJson());

    [Fact]
    public void WriteJson_NotFound_IsUpstreamsBytes() => Assert.Equal(
        """{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps \"web\" not found","reason":"NotFound","details":{"name":"web","group":"apps","kind":"deployments"},"code":404}""",
        Json(ApiStatus.NotFound("apps", "deployments", "web")));

    [Fact]
    public void WriteJson_Invalid_HasCauses()
    {
        var errors = new FieldErrorList();
        errors.Required("spec.containers");
        errors.NotSupported("spec.dnsPolicy", "x", "A", "B");
        errors.Invalid("metadata.name", "a_b", "bad");
        errors.Invalid("spec.n", 5, "too big");
        errors.Duplicate("spec.containers[1].name", "a");
        errors.Forbidden("spec.x", "no");
        errors.TooLong("spec.y", 1);
        errors.NotFound("spec.z", "q");
        errors.TooMany("spec.m", 3, 2);
        var json = Json(ApiStatus.Invalid("", "Pod", "web", errors));

        Assert.Equal(
            """Pod "web" is invalid: [spec.containers: Required value, spec.dnsPolicy: Unsupported value: "x": supported values: "A", "B", metadata.name: Invalid value: "a_b": bad, spec.n: Invalid value: 5: too big, spec.containers[1].name: Duplicate value: "a", spec.x: Forbidden: no, spec.y: Too long: may not be more than 1 byte, spec.z: Not found: "q", spec.m: Too many: 3: must have at most 2 items]""",
            ApiStatus.Invalid("", "Pod", "web", errors).Message);
        Assert.Contains("""{"reason":"FieldValueRequired","message":"Required value","field":"spec.containers"}""", json, StringComparison.Ordinal);
        Assert.Contains("""{"reason":"FieldValueNotSupported","message":"Unsupported value: \"x\": supported values: \"A\", \"B\"","field":"spec.dnsPolicy"}""", json, StringComparison.Ordinal);
        Assert.EndsWith("\"code\":422}", json, StringComparison.Ordinal);
    }

    [Fact]
    public void Invalid_OneError_HasNoBrackets()
    {
        var errors = new FieldErrorList();
        errors.Required("spec.containers", "say it");

        Assert.Equal("Pod \"web\" is invalid: spec.containers: Required value: say it", ApiStatus.Invalid("", "Pod", "web", errors).Message);
    }

    [Fact]
    public void Words_OfTheRest_AreUpstreams()
    {
        Assert.Equal("Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your changes to the latest version and try again", ApiStatus.Conflict("", "pods", "a").Message);
        Assert.Equal("pods \"a\" already exists", ApiStatus.AlreadyExists("", "pods", "a").Message);
        Assert.Equal("pods is forbidden: why", ApiStatus.Forbidden("", "pods", "", "why").Message);
        Assert.Equal("delete is not supported on resources of kind \"bindings\"", ApiStatus.MethodNotSupported("", "bindings", "delete").Message);
        Assert.Equal("""{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Internal error occurred: x","reason":"InternalError","details":{"causes":[{"message":"x"}]},"code":500}""", Json(ApiStatus.InternalError("x")));
        Assert.Equal("""{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server rejected our request due to an error in our request","reason":"Invalid","details":{},"code":422}""", Json(ApiStatus.Unprocessable()));
        Assert.Equal("""{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","kind":"pods","uid":"u"}}""", Json(ApiStatus.Deleted("", "pods", "a", "u")));
    }
}
