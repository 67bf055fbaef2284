using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>The schemas that a document's paths reach, in the order of their names.</summary>
internal sealed class SchemaSet
{
    // A null value is a schema without fields of its own.
    private readonly SortedDictionary<string, TypeSchema?> _types = new(StringComparer.Ordinal);

    internal int Count => _types.Count;

    internal void Reach(ApiPath path)
    {
        foreach (var operation in path.Operations)
        {
            Reach(operation.Answer);
            if (operation.Body is { } body)
                Reach(body);
        }
    }

    internal void Write(Utf8JsonWriter json, SchemaWriter writer)
    {
        foreach (var (name, type) in _types)
        {
            if (type is null)
                writer.WriteSpecial(name);
            else
                writer.WriteType(type);
            json.Flush();
        }
    }

    private void Reach(string name)
    {
        if (name == ApiOperation.Text)
            return;
        if (Schema.BuiltIn.FindType(name) is { } type)
            Reach(type);
        else
            _types.TryAdd(name, null);
    }

    private void Reach(TypeSchema type)
    {
        if (SchemaWriter.IsSpecial(type))
        {
            _types.TryAdd(type.FullName, null);
            return;
        }
        if (!_types.TryAdd(type.FullName, type))
            return;
        foreach (var field in type.Fields)
        {
            if (SchemaWriter.SpecialName(field.Kind) is { } special)
                _types.TryAdd(special, null);
            if (field.Element is { } element)
                Reach(element);
        }
    }
}
