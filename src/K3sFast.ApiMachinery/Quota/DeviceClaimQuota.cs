namespace K3sFast.ApiMachinery;

/// <summary>Resource claims: their number, and the devices that they ask for by device class.</summary>
internal sealed class DeviceClaimQuota : QuotaEvaluator
{
    private const string ClassSuffix = ".deviceclass.resource.k8s.io/devices";

    // What a request for all devices counts as: no allocation has more results.
    private const long AllDevices = 32;

    internal static DeviceClaimQuota Instance { get; } = new();

    public override string Group => "resource.k8s.io";

    public override string Resource => "resourceclaims";

    public override bool Handles(bool isCreate, string subresource, ApiNode obj, ApiNode old) => subresource.Length == 0;

    public override bool Uses(string resourceName) =>
        resourceName == "count/resourceclaims.resource.k8s.io" || resourceName.EndsWith(ClassSuffix, StringComparison.Ordinal);

    public override ResourceAmounts Usage(ApiNode obj, DateTimeOffset now)
    {
        var usage = One("count/resourceclaims.resource.k8s.io");
        foreach (var request in obj["spec"u8]["devices"u8]["requests"u8].Elements)
        {
            // Of alternatives the most expensive one counts.
            var most = new ResourceAmounts();
            if (request["firstAvailable"u8].Count > 0)
            {
                foreach (var alternative in request["firstAvailable"u8].Elements)
                    most.Raise(Of(alternative));
            }
            else if (!request["exactly"u8].IsNullOrUndefined)
            {
                most = Of(request["exactly"u8]);
            }
            usage.Add(most);
        }
        return usage;
    }

    private static ResourceAmounts Of(ApiNode request)
    {
        var count = request["allocationMode"u8].AsString() switch { "ExactCount" => request["count"u8].AsInt64(), "All" => AllDevices, _ => 0 };
        return new ResourceAmounts { [request["deviceClassName"u8].AsString() + ClassSuffix] = Quantity.FromInt64(count) };
    }
}
