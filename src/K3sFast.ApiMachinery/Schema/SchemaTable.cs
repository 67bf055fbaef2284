using System.Globalization;
using System.Reflection;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Reads the embedded tables. The bytes of types.table stay where the loader mapped them; nothing of a type is read before its first use.</summary>
internal sealed unsafe class SchemaTable
{
    private const string TypePrefix = "io.k8s.";

    private readonly byte* _table;
    private readonly Dictionary<string, TypeSchema> _typesByName = new(1024);
    private readonly Dictionary<string, TypeSchema> _typesByKind = new(1024);
    private readonly Dictionary<string, string> _words = [];

    private SchemaTable(byte* table) => _table = table;

    public static Schema LoadBuiltIn()
    {
        // Safe because: an embedded resource is a view of the mapped image, which is never unmapped for this assembly.
        var stream = (UnmanagedMemoryStream)OpenResource("types.table");
        var table = new SchemaTable(stream.PositionPointer);
        table.IndexTypes(new ReadOnlySpan<byte>(stream.PositionPointer, checked((int)stream.Length)));
        return new Schema(table._typesByName, table._typesByKind, LoadResources());
    }

    private void IndexTypes(ReadOnlySpan<byte> table)
    {
        var position = 0;
        while (position < table.Length)
        {
            var end = position + table[position..].IndexOf((byte)'\n');
            var header = Encoding.UTF8.GetString(table[(position + 1)..end]).Split('\t');
            var next = table[end..].IndexOf("\n="u8);
            var nextType = next < 0 ? table.Length : end + next + 1;
            AddType(header, end + 1, nextType - end - 1);
            position = nextType;
        }
    }

    private void AddType(string[] header, int start, int length)
    {
        var kinds = Cell(header, 1);
        string group = "", version = "", kind = "";
        if (kinds.Length > 0)
        {
            var parts = kinds.Split(' ')[0].Split('/');
            (group, version, kind) = parts.Length == 3 ? (parts[0], parts[1], parts[2]) : ("", "v1", parts[^1]);
        }
        var type = new TypeSchema(TypePrefix + header[0], () => ReadFields(start, length))
        {
            Group = group,
            Version = version,
            Kind = kind,
            InOpenApi = Cell(header, 2).Contains('o'),
            MapType = NullIfEmpty(Cell(header, 3)),
            Unions = NullIfEmpty(Cell(header, 4)),
        };
        _typesByName.Add(type.FullName, type);
        foreach (var name in kinds.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            _typesByKind.Add(name, type);
    }

    private FieldSchema[] ReadFields(int start, int length)
    {
        var lines = Encoding.UTF8.GetString(new ReadOnlySpan<byte>(_table + start, length)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return Array.ConvertAll(lines, line => ReadField(line.Split('\t')));
    }

    private FieldSchema ReadField(string[] cells)
    {
        var shape = cells[1].AsSpan();
        var cardinality = shape.StartsWith("[]") ? FieldCardinality.List : shape.StartsWith("{}") ? FieldCardinality.Map : FieldCardinality.One;
        if (cardinality != FieldCardinality.One)
            shape = shape[2..];
        var (kind, element) = ReadShape(shape);
        var flags = cells[3];
        string patch = "", mergeKey = "", listType = "", listMapKeys = "", mapType = "", defaultValue = "", values = "", union = "", format = "", goName = "";
        foreach (var cell in cells.AsSpan(4))
        {
            var equals = cell.IndexOf('=', StringComparison.Ordinal);
            var value = cell[(equals + 1)..];
            switch (cell.AsSpan(0, equals))
            {
                case "ps": patch = value; break;
                case "pk": mergeKey = Word(value); break;
                case "lt": listType = Word(value); break;
                case "lk": listMapKeys = value; break;
                case "mt": mapType = Word(value); break;
                case "d": defaultValue = Word(value); break;
                case "e": values = value; break;
                case "u": union = value; break;
                case "f": format = Word(value); break;
                case "g": goName = Word(value); break;
                default: throw new InvalidDataException($"types.table: unknown cell {cell}");
            }
        }
        return new FieldSchema(cells[0], element is null ? null : () => _typesByName[element])
        {
            Kind = kind,
            Cardinality = cardinality,
            ProtoNumber = cells[2].Length == 0 ? 0 : int.Parse(cells[2], CultureInfo.InvariantCulture),
            Required = flags.Contains('R'),
            OmitEmpty = flags.Contains('O'),
            OmitZero = flags.Contains('Z'),
            Pointer = flags.Contains('P'),
            Inline = flags.Contains('I'),
            PatchMerge = patch.Contains("merge", StringComparison.Ordinal),
            PatchReplace = patch == "replace",
            PatchRetainKeys = patch.Contains("retainKeys", StringComparison.Ordinal),
            PatchMergeKey = NullIfEmpty(mergeKey),
            ListType = NullIfEmpty(listType),
            ListMapKeys = Split(listMapKeys, ','),
            MapType = NullIfEmpty(mapType),
            Default = NullIfEmpty(defaultValue),
            Enum = Split(values, '|'),
            Union = NullIfEmpty(union),
            Format = NullIfEmpty(format),
            ExplicitGoName = NullIfEmpty(goName),
        };
    }

    private static (FieldKind Kind, string? Element) ReadShape(ReadOnlySpan<char> shape)
    {
        const string JsonSchema = TypePrefix + "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        if (shape.Length > 1)
            return (FieldKind.Message, string.Concat(TypePrefix, shape));
        return shape[0] switch
        {
            's' => (FieldKind.String, null),
            'b' => (FieldKind.Boolean, null),
            'i' => (FieldKind.Int32, null),
            'l' => (FieldKind.Int64, null),
            'd' => (FieldKind.Double, null),
            'y' => (FieldKind.Bytes, null),
            'T' => (FieldKind.Time, null),
            'M' => (FieldKind.MicroTime, null),
            'D' => (FieldKind.Duration, null),
            'Q' => (FieldKind.Quantity, null),
            'X' => (FieldKind.IntOrString, null),
            'R' => (FieldKind.RawExtension, null),
            'F' => (FieldKind.FieldsV1, null),
            'J' => (FieldKind.Any, null),
            'W' => (FieldKind.StringList, null),
            'A' => (FieldKind.SchemaOrArray, JsonSchema),
            'B' => (FieldKind.SchemaOrBool, JsonSchema),
            'C' => (FieldKind.SchemaOrStringArray, JsonSchema),
            _ => throw new InvalidDataException($"types.table: unknown shape {shape}"),
        };
    }

    private static ResourceInfo[] LoadResources()
    {
        using var reader = new StreamReader(OpenResource("resources.table"));
        var header = reader.ReadLine()!.Split('\t');
        var columns = new Dictionary<string, int>(header.Length);
        for (var i = 0; i < header.Length; i++)
            columns.Add(header[i], i);
        var resources = new List<ResourceInfo>(128);
        while (reader.ReadLine() is { } line)
            resources.Add(ReadResource(columns, line.Split('\t')));
        return [.. resources];
    }

    private static ResourceInfo ReadResource(Dictionary<string, int> columns, string[] row)
    {
        var verbs = Split(Get("verbs"), ',');
        return new ResourceInfo
        {
            Group = Get("group"),
            Version = Get("version"),
            Resource = Get("resource"),
            Kind = Get("kind"),
            Singular = Get("singular"),
            ListKind = verbs.Contains("list") ? Get("kind") + "List" : "",
            Namespaced = Get("namespaced") == "true",
            ShortNames = Split(Get("short_names"), ','),
            Categories = Split(Get("categories"), ','),
            Verbs = verbs,
            Subresources = Array.ConvertAll(Split(Get("subresources"), ' '), ReadSubresource),
            StorageVersion = Get("storage_version"),
            IsStorageVersion = Get("is_storage_version") == "true",
            IsPreferredVersion = Get("is_preferred_version") == "true",
            EnabledByDefault = Get("default_enabled") == "true",
            FeatureGate = Get("feature_gate"),
            EtcdPrefix = Get("etcd_prefix"),
            StorageVersionHash = Get("storage_version_hash"),
            GroupPriority = int.Parse(Get("group_priority"), CultureInfo.InvariantCulture),
            VersionPriority = int.Parse(Get("version_priority"), CultureInfo.InvariantCulture),
            Server = Get("server"),
            SelectableFields = Array.ConvertAll(Split(Get("field_selectors"), ','), static pair =>
            {
                var equals = pair.IndexOf('=', StringComparison.Ordinal);
                return new SelectableField(pair[..equals], pair[(equals + 1)..]);
            }),
        };

        string Get(string column) => row[columns[column]];
    }

    // name:Kind:group/version:verb,verb
    private static SubresourceInfo ReadSubresource(string text)
    {
        var parts = text.Split(':');
        var slash = parts[2].IndexOf('/', StringComparison.Ordinal);
        var group = slash < 0 ? "" : parts[2][..slash];
        return new SubresourceInfo(parts[0], parts[1], group, parts[2][(slash + 1)..], Split(parts[3], ','));
    }

    private static Stream OpenResource(string name) =>
        typeof(SchemaTable).Assembly.GetManifestResourceStream(name) ?? throw new InvalidOperationException($"resource {name} is not in the assembly");

    // The same few words stand in thousands of cells: keep one string of each.
    private string Word(string word)
    {
        if (word.Length == 0)
            return "";
        lock (_words)
            return _words.TryGetValue(word, out var known) ? known : _words[word] = word;
    }

    private static string[] Split(string text, char separator) => text.Length == 0 ? [] : text.Split(separator);

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;

    private static string Cell(string[] cells, int index) => index < cells.Length ? cells[index] : "";
}
