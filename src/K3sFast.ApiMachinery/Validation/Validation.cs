namespace K3sFast.ApiMachinery;

/// <summary>Validation of whole objects in upstream's order and words; the answer is empty when nothing is wrong.</summary>
/// <remarks>Any thread. An object with nothing wrong costs one small list.</remarks>
public static partial class Validation
{
    /// <summary>Validates a new object, after defaulting, admission and <see cref="RestStrategy.PrepareForCreate"/>.</summary>
    /// <param name="obj">The object, in the stored version.</param>
    /// <param name="resource">The resource in that version.</param>
    /// <param name="requested">The version that the client wrote, where it is another one than the stored: events are judged by it.</param>
    public static FieldErrorList ValidateCreate(ApiNode obj, ResourceInfo resource, ResourceInfo? requested = null)
    {
        try
        {
            return Create(obj, resource, requested);
        }
        catch (TooManyFieldErrorsException many)
        {
            return many.Errors;
        }
    }

    /// <summary>Validates an update, after <see cref="RestStrategy.PrepareForUpdate"/>; subresource "" is the object itself.</summary>
    /// <param name="obj">The new object, in the stored version.</param>
    /// <param name="old">The stored object.</param>
    /// <param name="resource">The resource in that version.</param>
    /// <param name="subresource">Empty, or the subresource's name.</param>
    /// <param name="requested">The version that the client wrote, where it is another one than the stored.</param>
    public static FieldErrorList ValidateUpdate(ApiNode obj, ApiNode old, ResourceInfo resource, string subresource, ResourceInfo? requested = null)
    {
        try
        {
            return Update(obj, old, resource, subresource, requested);
        }
        catch (TooManyFieldErrorsException many)
        {
            return many.Errors;
        }
    }

    private static FieldErrorList Create(ApiNode obj, ResourceInfo resource, ResourceInfo? requested)
    {
        var check = Check.Rent();
        if (resource.Resource == "events")
        {
            EventValidation.Create(check.Root, obj, resource, isStrict: (requested ?? resource).Group.Length > 0);
            return check.Finish();
        }
        var rules = KindRules.For(resource);
        ObjectMetaValidation.Create(check.Root["metadata"], obj["metadata"u8], resource, rules.NameFormat);
        rules.Create?.Invoke(check.Root, obj);
        return check.Finish();
    }

    private static FieldErrorList Update(ApiNode obj, ApiNode old, ResourceInfo resource, string subresource, ResourceInfo? requested)
    {
        var check = Check.Rent();
        if (resource.Resource == "events")
        {
            EventValidation.Update(check.Root, obj, old, isStrict: (requested ?? resource).Group.Length > 0);
            return check.Finish();
        }
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
