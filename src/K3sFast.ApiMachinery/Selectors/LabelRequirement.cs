using System.Buffers.Text;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>How a requirement compares.</summary>
public enum LabelOperator : byte { In, NotIn, Equals, DoubleEquals, NotEquals, Exists, DoesNotExist, GreaterThan, LessThan }

/// <summary>One condition on one label. Immutable.</summary>
public sealed class LabelRequirement
{
    private readonly byte[] _keyUtf8;
    private readonly byte[][] _valuesUtf8;
    private readonly long _bound;

    /// <summary>A condition that has been checked already; <see cref="LabelSelector.Parse"/> and <see cref="LabelSelector.FromNode"/> check.</summary>
    public LabelRequirement(string key, LabelOperator comparison, params IReadOnlyList<string> values)
    {
        Key = key;
        Operator = comparison;
        Values = values;
        _keyUtf8 = Encoding.UTF8.GetBytes(key);
        _valuesUtf8 = [.. values.Select(Encoding.UTF8.GetBytes)];
        if (comparison is LabelOperator.GreaterThan or LabelOperator.LessThan)
            long.TryParse(values[0], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _bound);
    }

    /// <summary>The label's name.</summary>
    public string Key { get; }

    /// <summary>How it compares.</summary>
    public LabelOperator Operator { get; }

    /// <summary>The values: one for equalities and bounds, none for existence.</summary>
    public IReadOnlyList<string> Values { get; }

    internal ReadOnlySpan<byte> KeyUtf8 => _keyUtf8;

    /// <summary>The text form, with values sorted as upstream prints them.</summary>
    public override string ToString() => Operator switch
    {
        LabelOperator.Exists => Key,
        LabelOperator.DoesNotExist => "!" + Key,
        LabelOperator.Equals => $"{Key}={Values[0]}",
        LabelOperator.DoubleEquals => $"{Key}=={Values[0]}",
        LabelOperator.NotEquals => $"{Key}!={Values[0]}",
        LabelOperator.GreaterThan => $"{Key}>{Values[0]}",
        LabelOperator.LessThan => $"{Key}<{Values[0]}",
        LabelOperator.In => $"{Key} in ({string.Join(',', Values.Order(StringComparer.Ordinal))})",
        _ => $"{Key} notin ({string.Join(',', Values.Order(StringComparer.Ordinal))})",
    };

    /// <summary>Whether the condition holds for a label that is there with this value, or is not there.</summary>
    internal bool Holds(bool exists, scoped LabelText value) => Operator switch
    {
        LabelOperator.In or LabelOperator.Equals or LabelOperator.DoubleEquals => exists && HasValue(value),
        LabelOperator.NotIn or LabelOperator.NotEquals => !exists || !HasValue(value),
        LabelOperator.Exists => exists,
        LabelOperator.DoesNotExist => !exists,
        LabelOperator.GreaterThan => exists && value.TryGetInt64(out var number) && number > _bound,
        LabelOperator.LessThan => exists && value.TryGetInt64(out var number) && number < _bound,
        _ => false,
    };

    private bool HasValue(scoped LabelText value)
    {
        foreach (var candidate in _valuesUtf8)
        {
            if (value.Equals(candidate))
                return true;
        }
        return false;
    }
}

/// <summary>The content of a JSON string as it stands between its quotes, compared without decoding it into memory.</summary>
internal readonly ref struct LabelText(ReadOnlySpan<byte> raw, bool isEscaped)
{
    private readonly ReadOnlySpan<byte> _raw = raw;
    private readonly bool _isEscaped = isEscaped;

    public bool Equals(ReadOnlySpan<byte> utf8) => _isEscaped ? EqualsSlow(utf8) : _raw.SequenceEqual(utf8);

    public bool TryGetInt64(out long value) => Utf8Parser.TryParse(_raw, out value, out var used) && used == _raw.Length;

    private bool EqualsSlow(ReadOnlySpan<byte> utf8)
    {
        var raw = _raw;
        Span<byte> encoded = stackalloc byte[4];
        while (raw.Length > 0)
        {
            int used = 1, length = 1;
            encoded[0] = raw[0];
            if (raw[0] == '\\')
            {
                if (raw.Length < 2)
                    return false;
                used = 2;
                encoded[0] = raw[1] switch
                {
                    (byte)'b' => (byte)'\b',
                    (byte)'f' => (byte)'\f',
                    (byte)'n' => (byte)'\n',
                    (byte)'r' => (byte)'\r',
                    (byte)'t' => (byte)'\t',
                    _ => raw[1],
                };
                if (raw[1] == 'u' && !TryUnit(raw, out used, out length, encoded))
                    return false;
            }
            if (!utf8.StartsWith(encoded[..length]))
                return false;
            utf8 = utf8[length..];
            raw = raw[used..];
        }
        return utf8.Length == 0;
    }

    // \uXXXX, or two of them for what lies beyond 16 bits.
    private static bool TryUnit(ReadOnlySpan<byte> raw, out int used, out int length, Span<byte> encoded)
    {
        used = 6;
        length = 0;
        if (raw.Length < 6 || !Utf8Parser.TryParse(raw.Slice(2, 4), out uint unit, out var digits, 'x') || digits != 4)
            return false;
        var rune = Rune.ReplacementChar;
        if (char.IsHighSurrogate((char)unit) && raw.Length >= 12 && Utf8Parser.TryParse(raw.Slice(8, 4), out uint low, out digits, 'x') && digits == 4
            && Rune.TryCreate((char)unit, (char)low, out var pair))
        {
            rune = pair;
            used = 12;
        }
        else if (Rune.TryCreate(unit, out var single))
        {
            rune = single;
        }
        length = rune.EncodeToUtf8(encoded);
        return true;
    }
}
