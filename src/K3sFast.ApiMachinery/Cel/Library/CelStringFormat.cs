using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>"...".format([...]): %s, %d, %f, %e, %b, %x, %X and %o with precision, at run time and checked before where both sides are literals.</summary>
internal static class CelStringFormat
{
    private const int DefaultPrecision = 6;

    // A precision that anybody means; more would let a few characters make megabytes.
    private const int MaxPrecision = 1000;

    private delegate string? Clause(char verb, int precision, int index, out string problem);

    internal static CelValue Format(string format, CelList args)
    {
        string? text = Walk(format, args.Count, (char verb, int precision, int index, out string problem) => One(args[index], verb, precision, out problem), out _, out string problem);
        return text is null ? CelValue.Error(problem) : CelValue.Of(text);
    }

    /// <summary>Reports what of a literal format does not fit the types of its arguments.</summary>
    internal static void CheckLiteral(CelExpr.Call call, string format, CelExpr.ListOf args, CelIssues issues)
    {
        int wrong = call.Offset;
        string? Judge(char verb, int precision, int index, out string problem)
        {
            var type = args.Elements[index].Type;
            problem = "";
            if (type.IsDyn || Allows(verb, type.Kind))
                return "";
            wrong = args.Elements[index].Offset;
            problem = "error during formatting: " + Complaint(verb, type.Name);
            return null;
        }
        if (Walk(format, args.Elements.Length, Judge, out int used, out string problem) is null)
            issues.Report(wrong, problem);
        else if (args.Elements.Length > used)
            issues.Report(call.Offset, string.Create(CultureInfo.InvariantCulture, $"too many arguments supplied to string.format (expected {used}, got {args.Elements.Length})"));
    }

    private static string? Walk(string format, int count, Clause clause, out int used, out string problem)
    {
        var text = new StringBuilder();
        used = 0;
        problem = "";
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                text.Append(format[i]);
                continue;
            }
            if (i + 1 < format.Length && format[i + 1] == '%')
            {
                text.Append('%');
                i++;
                continue;
            }
            if (used >= count)
            {
                problem = string.Create(CultureInfo.InvariantCulture, $"index {used} out of range");
                return null;
            }
            if (++i >= format.Length)
            {
                problem = "unexpected end of string";
                return null;
            }
            if (!TryPrecision(format, ref i, out int precision, out problem))
                return null;
            if ("sdfebxXo".IndexOf(format[i], StringComparison.Ordinal) < 0)
            {
                problem = $"could not parse formatting clause: unrecognized formatting clause \"{format[i]}\"";
                return null;
            }
            if (clause(format[i], precision, used++, out problem) is not { } formatted)
                return null;
            text.Append(formatted);
        }
        return text.ToString();
    }

    private static bool TryPrecision(string format, ref int at, out int precision, out string problem)
    {
        precision = DefaultPrecision;
        problem = "";
        if (format[at] != '.')
            return true;
        int start = ++at;
        while (at < format.Length && char.IsAsciiDigit(format[at]))
            at++;
        const string Head = "could not parse formatting clause: error while parsing precision: ";
        if (at == format.Length)
            problem = Head + "could not find end of precision specifier";
        else if (at == start)
            problem = Head + "error while converting precision to integer: strconv.Atoi: parsing \"\": invalid syntax";
        else if (!int.TryParse(format.AsSpan(start, at - start), NumberStyles.None, CultureInfo.InvariantCulture, out precision) || precision > MaxPrecision)
            problem = Head + string.Create(CultureInfo.InvariantCulture, $"precision must be at most {MaxPrecision}");
        return problem.Length == 0;
    }

    private static bool Allows(char verb, CelKind kind) => verb switch
    {
        's' => kind is not (CelKind.Struct or CelKind.Opaque or CelKind.Error),
        'd' or 'o' => kind is CelKind.Int or CelKind.Uint,
        'f' or 'e' => kind is CelKind.Double or CelKind.String,
        'b' => kind is CelKind.Int or CelKind.Uint or CelKind.Bool,
        _ => kind is CelKind.Int or CelKind.Uint or CelKind.String or CelKind.Bytes,
    };

    private static string Complaint(char verb, string type) => verb switch
    {
        's' => $"string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {type}",
        'd' => $"decimal clause can only be used on integers, was given {type}",
        'o' => $"octal clause can only be used on integers, was given {type}",
        'f' => $"fixed-point clause can only be used on doubles, was given {type}",
        'e' => $"scientific clause can only be used on doubles, was given {type}",
        'b' => $"only integers and bools can be formatted as binary, was given {type}",
        _ => $"only integers, byte buffers, and strings can be formatted as hex, was given {type}",
    };

    private static string? One(CelValue value, char verb, int precision, out string problem)
    {
        problem = "";
        bool isNoNumber = value.Kind == CelKind.String && value.AsString is not ("NaN" or "Infinity" or "-Infinity");
        if (!Allows(verb, value.Kind) || verb is 'f' or 'e' && isNoNumber)
        {
            problem = "error during formatting: " + Complaint(verb, value.TypeName);
            return null;
        }
        switch (verb)
        {
            case 's':
                return Text(value, isNested: false, ref problem);
            case 'd':
                return CelText.Of(value);
            case 'f' or 'e':
                return Real(value, verb, precision);
            case 'b':
                return value.Kind == CelKind.Bool ? value.AsBool ? "1" : "0" : Base(value, 2);
            case 'o':
                return Base(value, 8);
            default:
                string hex = value.Kind switch
                {
                    CelKind.String => Convert.ToHexStringLower(Encoding.UTF8.GetBytes(value.AsString)),
                    CelKind.Bytes => Convert.ToHexStringLower(value.AsBytes),
                    _ => Base(value, 16),
                };
                return verb == 'X' ? hex.ToUpperInvariant() : hex;
        }
    }

    private static string Base(CelValue value, int radix)
    {
        bool isNegative = value.Kind == CelKind.Int && value.AsInt < 0;
        ulong magnitude = isNegative ? (ulong)-(Int128)value.AsInt : value.AsUint;
        string digits = radix == 16 ? magnitude.ToString("x", CultureInfo.InvariantCulture) : "";
        for (; radix < 16; magnitude /= (ulong)radix)
        {
            digits = (char)('0' + (magnitude % (ulong)radix)) + digits;
            if (magnitude < (ulong)radix)
                break;
        }
        return isNegative ? "-" + digits : digits;
    }

    private static string Real(CelValue value, char verb, int precision)
    {
        double number = value.Kind == CelKind.Double ? value.AsDouble : value.AsString switch { "NaN" => double.NaN, "Infinity" => double.PositiveInfinity, _ => double.NegativeInfinity };
        if (!double.IsFinite(number))
            return double.IsNaN(number) ? "NaN" : number > 0 ? "∞" : "-∞";
        if (verb == 'f')
            return number.ToString("N" + precision.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        string text = number.ToString("0." + new string('0', precision) + "e+00", CultureInfo.InvariantCulture);
        int split = text.IndexOf('e', StringComparison.Ordinal);
        return $"{text[..split]}\u202f×\u202f10{Raised(text[(split + 1)..])}";
    }

    // The exponent in superscript digits, as the printer of upstream's locale writes it.
    private static string Raised(string exponent)
    {
        var text = new StringBuilder();
        foreach (char digit in exponent)
            text.Append(digit switch { '-' => "⁻", '+' => "", '1' => "¹", '2' => "²", '3' => "³", _ => ((char)('⁰' + digit - '0')).ToString() });
        return text.ToString();
    }

    private static string? Text(CelValue value, bool isNested, ref string problem)
    {
        switch (value.Kind)
        {
            case CelKind.Null:
                return "null";
            case CelKind.String:
                return isNested ? GoText.Quote(value.AsString) : value.AsString;
            case CelKind.Bytes:
                string bytes = Encoding.UTF8.GetString(value.AsBytes);
                return isNested ? "b" + GoText.Quote(bytes) : bytes;
            case CelKind.Timestamp when isNested:
                return $"timestamp({GoText.Quote(CelText.Of(value)!)})";
            case CelKind.Duration when isNested:
                return $"duration({GoText.Quote(CelText.Of(value)!)})";
            case CelKind.Double when isNested:
                return double.IsFinite(value.AsDouble) ? value.AsDouble.ToString("F6", CultureInfo.InvariantCulture) : $"\"{CelText.General(value.AsDouble)}\"";
            case CelKind.List:
                return ListText(value.AsList, ref problem);
            case CelKind.Map:
                return MapText(value.AsMap, ref problem);
            case CelKind.Struct or CelKind.Opaque:
                problem = $"error during formatting: no formatting function for {value.TypeName}";
                return null;
            default:
                return CelText.Of(value);
        }
    }

    private static string? ListText(CelList list, ref string problem)
    {
        var parts = new List<string>(list.Count);
        for (int i = 0; i < list.Count; i++)
        {
            if (Text(list[i], isNested: true, ref problem) is not { } part)
                return null;
            parts.Add(part);
        }
        return $"[{string.Join(", ", parts)}]";
    }

    private static string? MapText(CelMap map, ref string problem)
    {
        var parts = new List<(string Key, string Value)>(map.Count);
        foreach (var key in map.Keys)
        {
            map.TryGet(key, out var value);
            if (key.Kind is not (CelKind.String or CelKind.Bool or CelKind.Int or CelKind.Uint))
            {
                problem = $"error during formatting: no formatting function for map key of type {key.TypeName}";
                return null;
            }
            if (Text(key, isNested: true, ref problem) is not { } name || Text(value, isNested: true, ref problem) is not { } text)
                return null;
            parts.Add((name, text));
        }
        return $"{{{string.Join(", ", parts.OrderBy(static part => part.Key, StringComparer.Ordinal).Select(static part => $"{part.Key}:{part.Value}"))}}}";
    }
}
