namespace K3sFast.ApiMachinery;

/// <summary>Persistent volume claims: their number and size, in all and by storage class.</summary>
internal sealed class VolumeClaimQuota : QuotaEvaluator
{
    private const string ClassInfix = ".storageclass.storage.k8s.io/";
    private const string Claims = "persistentvolumeclaims";
    private const string Storage = "requests.storage";

    internal static VolumeClaimQuota Instance { get; } = new();

    public override string Group => "";

    public override string Resource => Claims;

    public override bool KnowsScopes => true;

    public override bool Handles(bool isCreate, string subresource, ApiNode obj, ApiNode old) => subresource switch
    {
        "" => true,
        "status" => !obj["status"u8]["allocatedResources"u8]["storage"u8].Utf8.SequenceEqual(old["status"u8]["allocatedResources"u8]["storage"u8].Utf8)
            || !Classes(obj).SetEquals(Classes(old)),
        _ => false,
    };

    public override bool Uses(string resourceName) =>
        resourceName is "count/persistentvolumeclaims" or Claims or Storage || resourceName.EndsWith(ClassInfix + Claims, StringComparison.Ordinal)
        || resourceName.EndsWith(ClassInfix + Storage, StringComparison.Ordinal);

    public override ResourceAmounts Usage(ApiNode obj, DateTimeOffset now)
    {
        var usage = One(Claims, "count/" + Claims);
        var annotated = obj["metadata"u8]["annotations"u8]["volume.beta.kubernetes.io/storage-class"u8];
        var storageClass = (annotated.IsDefined ? annotated : obj["spec"u8]["storageClassName"u8]).AsString();
        if (storageClass.Length > 0)
            usage[storageClass + ClassInfix + Claims] = Quantity.FromInt64(1);
        if (!Quantity.TryParse(obj["spec"u8]["resources"u8]["requests"u8]["storage"u8].Utf8, out var size))
            return usage;
        size = size.RoundedUp(0);
        // An expansion counts until it is given up.
        if (Quantity.TryParse(obj["status"u8]["allocatedResources"u8]["storage"u8].Utf8, out var allocated) && allocated > size)
            size = allocated.RoundedUp(0);
        usage[Storage] = size;
        if (storageClass.Length > 0)
            usage[storageClass + ClassInfix + Storage] = size;
        return usage;
    }

    public override bool IsInScope(QuotaScope scope, ApiNode obj)
    {
        if (scope.Name != "VolumeAttributesClass")
            return false;
        var classes = Classes(obj);
        return classes.Count == 0 ? scope.Admits("") : classes.Any(scope.Admits);
    }

    // The class that is wanted, the one that is there, and the one that is on its way.
    private static HashSet<string> Classes(ApiNode claim)
    {
        var classes = new HashSet<string>();
        foreach (var name in (ReadOnlySpan<ApiNode>)
            [
                claim["spec"u8]["volumeAttributesClassName"u8], claim["status"u8]["currentVolumeAttributesClassName"u8],
                claim["status"u8]["modifyVolumeStatus"u8]["targetVolumeAttributesClassName"u8],
            ])
        {
            if (!name.Utf8.IsEmpty)
                classes.Add(name.AsString());
        }
        return classes;
    }
}
