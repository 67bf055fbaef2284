namespace K3sFast.ApiMachinery;

/// <summary>A parsed label selector.</summary>
public sealed class LabelSelector
{
    /// <summary>Matches everything.</summary>
    public static LabelSelector Everything { get; } = new();

    /// <summary>Parses the text form (a=b,c in (d,e),!f).</summary>
    public static LabelSelector Parse(string text) => throw new NotImplementedException();

    /// <summary>True if the labels, given as a JSON object (or nothing), satisfy every requirement. Allocates nothing.</summary>
    public bool Matches(ReadOnlySpan<byte> labelsJsonObject) => throw new NotImplementedException();

    /// <summary>True if the labels object node satisfies every requirement.</summary>
    public bool Matches(ApiNode labels) => throw new NotImplementedException();
}
