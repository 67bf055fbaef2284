namespace K3sFast.ApiMachinery;

/// <summary>Validation of whole objects in upstream's order and words; the answer is empty when nothing is wrong.</summary>
/// <remarks>Any thread. An object with nothing wrong costs one small list.</remarks>
public static partial class Validation
{
    /// <summary>Validates a new object, after defaulting, admission and <see cref="RestStrategy.PrepareForCreate"/>.</summary>
    public static FieldErrorList ValidateCreate(ApiNode obj, ResourceInfo resource)
    {
        var check = Check.Rent();
        var rules = KindRules.For(resource);
        ObjectMetaValidation.Create(check.Root["metadata"], obj["metadata"u8], resource, rules.NameFormat);
        rules.Create?.Invoke(check.Root, obj);
        return check.Finish();
    }

    /// <summary>Validates an update, after <see cref="RestStrategy.PrepareForUpdate"/>; subresource "" is the object itself.</summary>
    public static FieldErrorList ValidateUpdate(ApiNode obj, ApiNode old, ResourceInfo resource, string subresource)
    {
        var check = Check.Rent();
        var rules = KindRules.For(resource);
        ObjectMetaValidation.Update(check.Root["metadata"], obj["metadata"u8], old["metadata"u8]);
        switch (subresource)
        {
            case "":
                rules.Update?.Invoke(check.Root, obj, old);
                break;
            case "status":
                rules.UpdateStatus?.Invoke(check.Root, obj, old);
                break;
            default:
                rules.UpdateSubresource?.Invoke(check.Root, obj, old, subresource);
                break;
        }
        return check.Finish();
    }
}
