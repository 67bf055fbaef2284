namespace K3sFast.ApiMachinery;

/// <summary>One condition of a field selector.</summary>
/// <param name="Label">The label as given.</param>
/// <param name="Path">The member that it means.</param>
/// <param name="Equal">Must be equal, or must not be.</param>
/// <param name="Value">The value.</param>
public sealed record FieldTerm(string Label, string Path, bool Equal, string Value);

/// <summary>A parsed field selector.</summary>
public sealed class FieldSelector
{
    /// <summary>Matches everything.</summary>
    public static FieldSelector Everything { get; } = new();

    /// <summary>The conditions, all of which must hold.</summary>
    public IReadOnlyList<FieldTerm> Terms { get; init; } = [];

    /// <summary>Parses the text form (metadata.name=a,status.phase!=b).</summary>
    public static FieldSelector Parse(string text, ResourceInfo resource) => throw new NotImplementedException();
}
