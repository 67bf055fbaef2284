using System.Collections.Frozen;

namespace K3sFast.ApiMachinery;

/// <summary>One column of a server-printed table.</summary>
/// <param name="Name">Heading; kubectl shows it in capitals.</param>
/// <param name="Type">OpenAPI type of the cells.</param>
/// <param name="Format">"name" for the column that names the object, else empty.</param>
/// <param name="Priority">0 = always shown, 1 = shown by `-o wide`.</param>
internal sealed record TableColumn(string Name, string Type, string Format, int Priority)
{
    /// <summary>What the column holds, in a few words.</summary>
    internal string Description => Name switch
    {
        "Name" => "Name of the object, unique in its namespace.",
        "Age" => "Time since the object was created.",
        "Created At" => "Time of creation, in UTC.",
        "Status" => "Where the object is in its life.",
        "Ready" => "How many of the wanted parts are ready.",
        "Containers" => "Names of the containers in the template.",
        "Images" => "Images of the containers in the template.",
        "Selector" => "Labels that select the object's pods.",
        _ => Name + " of the object.",
    };
}

/// <summary>The columns of each kind that has its own, by group and kind. Read once, on first use.</summary>
internal static partial class TableColumns
{
    private static readonly FrozenDictionary<(string Group, string Kind), TableColumn[]> s_byKind = Parse();

    /// <summary>Name and creation time: built-in kinds without columns of their own.</summary>
    internal static TableColumn[] Default { get; } = [new("Name", "string", "name", 0), new("Created At", "date", "", 0)];

    /// <summary>Name and age: custom resources that declare no columns.</summary>
    internal static TableColumn[] Custom { get; } = [new("Name", "string", "name", 0), new("Age", "date", "", 0)];

    // Events are the same objects in both groups.
    internal static TableColumn[]? Find(string group, string kind) => s_byKind.GetValueOrDefault((group == "events.k8s.io" ? "" : group, kind));

    private static FrozenDictionary<(string, string), TableColumn[]> Parse()
    {
        var byKind = new Dictionary<(string, string), TableColumn[]>();
        foreach (var line in Text.Split('\n'))
        {
            var cells = line.Split('|');
            byKind[(cells[0] == "-" ? "" : cells[0], cells[1])] = Array.ConvertAll(cells[2..], static cell =>
            {
                var parts = cell.Split(':');
                return new TableColumn(parts[0], parts[1], parts[2], parts[3] == "1" ? 1 : 0);
            });
        }
        return byKind.ToFrozenDictionary();
    }
}
