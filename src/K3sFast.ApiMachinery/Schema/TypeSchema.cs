using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// One type of the API: its fields in the order of JSON output, with lookup by UTF-8 name. Immutable; the fields of a built-in type are read from the
/// table when they are first asked for. Types that are made at run time (custom resources) give their fields to the constructor.
/// </summary>
/// <remarks>Any thread. Lookup is O(1) and allocates nothing.</remarks>
public sealed class TypeSchema
{
    private readonly Func<FieldSchema[]> _load;
    private Layout? _layout;
    private WireLayout? _wire;

    /// <summary>A type with the fields as declared, inlined ones included.</summary>
    public TypeSchema(string fullName, FieldSchema[] declared)
    {
        FullName = fullName;
        _load = () => declared;
    }

    internal TypeSchema(string fullName, Func<FieldSchema[]> load)
    {
        FullName = fullName;
        _load = load;
    }

    /// <summary>The full name, for example io.k8s.api.core.v1.Pod.</summary>
    public string FullName { get; }

    /// <summary>The last part of the full name, for example Pod.</summary>
    public string Name => FullName[(FullName.LastIndexOf('.') + 1)..];

    /// <summary>The API group when this is a top-level kind; "" otherwise and for the core group.</summary>
    public string Group { get; init; } = "";

    /// <summary>The API version when this is a top-level kind; "" otherwise.</summary>
    public string Version { get; init; } = "";

    /// <summary>The kind when this is a top-level kind; "" otherwise.</summary>
    public string Kind { get; init; } = "";

    /// <summary>group/version, or the version alone for the core group; "" when this is no top-level kind.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>True if kube-apiserver's OpenAPI v3 names the type.</summary>
    public bool InOpenApi { get; init; }

    /// <summary>atomic when the whole struct is replaced together; null otherwise.</summary>
    public string? MapType { get; init; }

    /// <summary>The unions of the type as upstream's OpenAPI extension value (JSON); null when there are none.</summary>
    public string? Unions { get; init; }

    /// <summary>Unknown fields are kept as they are (custom resources with preserve-unknown-fields).</summary>
    public bool PreserveUnknown { get; init; }

    /// <summary>The fields as JSON has them, inlined ones flattened, in the order of JSON output.</summary>
    public ReadOnlySpan<FieldSchema> Fields => GetLayout().Fields;

    /// <summary>The fields as declared: an inlined field stands for its type's fields. This is the shape on the protobuf wire.</summary>
    public ReadOnlySpan<FieldSchema> Declared => GetLayout().Declared;

    /// <summary>The field of that JSON name (case-sensitive).</summary>
    public bool TryGetField(ReadOnlySpan<byte> jsonName, [NotNullWhen(true)] out FieldSchema? field)
    {
        var layout = GetLayout();
        for (var slot = Hash(jsonName) & layout.Mask; layout.Slots[slot] is { } candidate; slot = (slot + 1) & layout.Mask)
        {
            if (candidate.JsonNameUtf8.SequenceEqual(jsonName))
            {
                field = candidate;
                return true;
            }
        }
        field = null;
        return false;
    }

    /// <summary>The field of that JSON name, or null.</summary>
    public FieldSchema? FindField(string jsonName) => TryGetField(Encoding.UTF8.GetBytes(jsonName), out var field) ? field : null;

    /// <inheritdoc/>
    public override string ToString() => FullName;

    /// <summary>Declared fields that are on the wire, in ascending number order, which is the order of writing.</summary>
    internal ReadOnlySpan<FieldSchema> ByProtoNumber => GetLayout().ByProtoNumber;

    /// <summary>How the fields stand on the protobuf wire.</summary>
    internal WireLayout Wire => _wire ??= new WireLayout(this);

    private Layout GetLayout() => _layout ?? Load();

    // Two threads may both read the table; the first result stays, so that a field has one identity.
    private Layout Load()
    {
        var loaded = new Layout(_load());
        return Interlocked.CompareExchange(ref _layout, loaded, null) ?? loaded;
    }

    private static int Hash(ReadOnlySpan<byte> name) =>
        name.Length == 0 ? 0 : (name.Length * 7) ^ (name[0] * 31) ^ (name[^1] * 101) ^ (name[name.Length / 2] * 17) ^ (name[name.Length / 4] * 61);

    private sealed class Layout
    {
        public readonly FieldSchema[] Declared;
        public readonly FieldSchema[] Fields;
        public readonly FieldSchema[] ByProtoNumber;
        public readonly FieldSchema?[] Slots;
        public readonly int Mask;

        public Layout(FieldSchema[] declared)
        {
            Declared = declared;
            Fields = Flatten(declared);
            ByProtoNumber = [.. declared.Where(field => field.ProtoNumber > 0).OrderBy(field => field.ProtoNumber)];
            var size = 4;
            while (size < Fields.Length * 3)
                size *= 2;
            Slots = new FieldSchema?[size];
            Mask = size - 1;
            foreach (var field in Fields)
            {
                var slot = Hash(field.JsonNameUtf8) & Mask;
                while (Slots[slot] is not null)
                    slot = (slot + 1) & Mask;
                Slots[slot] = field;
            }
        }

        // As encoding/json: flattened in place, and a name that the outer struct declares itself hides the inlined one.
        private static FieldSchema[] Flatten(FieldSchema[] declared)
        {
            var fields = new List<FieldSchema>(declared.Length);
            foreach (var field in declared)
            {
                if (!field.Inline)
                {
                    fields.Add(field);
                    continue;
                }
                foreach (var inlined in field.Element!.Fields)
                {
                    if (!declared.Any(own => !own.Inline && own.JsonName == inlined.JsonName))
                        fields.Add(inlined.InlinedThrough(field));
                }
            }
            for (var i = 0; i < fields.Count; i++)
                fields[i].Place(i);
            return [.. fields];
        }
    }
}
