namespace K3sFast.ApiMachinery;

/// <summary>Validation of whole objects in upstream's order and words; the answer is empty when nothing is wrong.</summary>
public static partial class Validation
{
    /// <summary>Validates a new object, after defaulting, admission and <see cref="RestStrategy.PrepareForCreate"/>.</summary>
    public static FieldErrorList ValidateCreate(ApiNode obj, ResourceInfo resource) => throw new NotImplementedException();

    /// <summary>Validates an update, after <see cref="RestStrategy.PrepareForUpdate"/>; subresource "" is the object itself.</summary>
    public static FieldErrorList ValidateUpdate(ApiNode obj, ApiNode old, ResourceInfo resource, string subresource) => throw new NotImplementedException();
}
