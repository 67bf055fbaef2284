using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Where a decoder is in the document, kept as steps and turned into text only when something is wrong there.</summary>
internal sealed class DecodePath
{
    private struct Step
    {
        public TypeSchema? Owner;
        public FieldSchema? Field;
        public int KeyStart;
        public int KeyLength;
        public int Index;
    }

    [ThreadStatic]
    private static DecodePath? t_spare;

    private Step[] _steps = new Step[32];
    private int _depth;

    public static DecodePath Rent()
    {
        var path = t_spare ?? new DecodePath();
        t_spare = null;
        path._depth = 0;
        return path;
    }

    public static void Return(DecodePath path) => t_spare = path;

    public int Depth => _depth;

    public void PushField(TypeSchema owner, FieldSchema field) => Next() = new Step { Owner = owner, Field = field, Index = -1 };

    public void PushKey(int start, int length) => Next() = new Step { KeyStart = start, KeyLength = length, Index = -1 };

    public void PushIndex(int index) => Next() = new Step { Index = index };

    public void Pop() => _depth--;

    /// <summary>The path as upstream's strict errors show it: spec.containers[0].name.</summary>
    public string Strict(ApiObject document, string member)
    {
        var text = new StringBuilder();
        for (var i = 0; i < _depth; i++)
        {
            ref var step = ref _steps[i];
            if (step.Index >= 0)
                text.Append(CultureInfo.InvariantCulture, $"[{step.Index}]");
            else
                text.Append(text.Length > 0 ? "." : "").Append(step.Field?.JsonName ?? Encoding.UTF8.GetString(document.Text(step.KeyStart, step.KeyLength)));
        }
        return text.Append(text.Length > 0 ? "." : "").Append(member).ToString();
    }

    /// <summary>The words "Go struct field PodSpec.spec.nodeName" (fields only, no indexes or keys), or "Go value" at the top.</summary>
    public string GoField()
    {
        var fields = new StringBuilder();
        TypeSchema? owner = null;
        for (var i = 0; i < _depth; i++)
        {
            ref var step = ref _steps[i];
            if (step.Field is null)
                continue;
            owner = step.Owner;
            fields.Append(fields.Length > 0 ? "." : "").Append(step.Field.InlinePrefix).Append(step.Field.JsonName);
        }
        return owner is null ? "Go value" : $"Go struct field {owner.Name}.{fields}";
    }

    private ref Step Next()
    {
        if (_depth == _steps.Length)
            Array.Resize(ref _steps, _depth * 2);
        return ref _steps[_depth++];
    }
}
