using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>The first element of each text in one field of a long array, made in one walk and thrown away with the next change of the document.</summary>
internal sealed class ElementIndex
{
    private readonly Dictionary<string, (int Place, int Element)> _firsts = new(StringComparer.Ordinal);

    internal ElementIndex(ApiNode array, ReadOnlySpan<byte> field)
    {
        int place = 0;
        foreach (var element in array.Elements)
            _firsts.TryAdd(element[field].AsString(), (place++, element.Index));
    }

    /// <summary>Place and node of the first element with that text; -1 when there is none.</summary>
    internal (int Place, int Element) Find(ReadOnlySpan<byte> text) =>
        _firsts.TryGetValue(Encoding.UTF8.GetString(text), out var found) ? found : (-1, 0);
}
