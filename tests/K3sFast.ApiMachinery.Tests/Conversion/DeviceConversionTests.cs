using System.Text;

namespace K3sFast.ApiMachinery.Tests;

public sealed class DeviceConversionTests
{
    private const string Claim = """{"metadata":{"name":"c"},"spec":{"devices":{"requests":[{"name":"a","deviceClassName":"gpu","allocationMode":"ExactCount","count":2},{"name":"b","firstAvailable":[{"name":"x","deviceClassName":"gpu"}]}]}}}""";
    private const string Slice = """{"metadata":{"name":"s"},"spec":{"driver":"d.x","nodeName":"n","pool":{"name":"p"},"devices":[{"name":"a","basic":{"attributes":{"model":{"string":"x"}},"capacity":{"memory":{"value":"1Gi"}}}}]}}""";

    [Fact]
    public void FromFirstBeta_Request_IsOneOfTwoForms() => Assert.Equal(
        """{"metadata":{"name":"c"},"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"gpu","allocationMode":"ExactCount","count":2}},{"name":"b","firstAvailable":[{"name":"x","deviceClassName":"gpu"}]}]}}}""",
        Convert(Claim, static root => DeviceConversion.FromFirstBeta(root, "resourceclaims")));

    [Fact]
    public void FromFirstBeta_Device_HasItsPartsItself() => Assert.Equal(
        """{"metadata":{"name":"s"},"spec":{"driver":"d.x","nodeName":"n","pool":{"name":"p"},"devices":[{"name":"a","attributes":{"model":{"string":"x"}},"capacity":{"memory":{"value":"1Gi"}}}]}}""",
        Convert(Slice, static root => DeviceConversion.FromFirstBeta(root, "resourceslices")));

    [Theory]
    [InlineData("resourceclaims", Claim)]
    [InlineData("resourceslices", Slice)]
    public void ToFirstBeta_OfWhatFromFirstBetaMade_IsTheSameAgain(string resource, string json) => Assert.Equal(json, Convert(json, root =>
    {
        DeviceConversion.FromFirstBeta(root, resource);
        DeviceConversion.ToFirstBeta(root, resource);
    }));

    private static string Convert(string json, Action<ApiNode> change)
    {
        using var document = JsonCodec.Decode(Encoding.UTF8.GetBytes(json), null, DecodeOptions.Free, null);
        change(document.Root);
        return document.Root.ToString();
    }
}
