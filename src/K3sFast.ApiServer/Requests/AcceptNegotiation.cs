using System.Globalization;

namespace K3sFast.ApiServer;

/// <summary>
/// An Accept header (RFC 9110 §12.5.1) as upstream reads it: clauses by falling weight, then exact types before wildcards; a weight of zero is last,
/// not excluded. Parameters choose the projection: <c>application/json;as=Table;v=v1;g=meta.k8s.io</c>.
/// </summary>
internal static class AcceptNegotiation
{
    // Real clients send at most four clauses; what is behind the sixteenth is not looked at.
    private const int MaxClauses = 16;

    /// <summary>True if a clause names one of the types, or anything at all.</summary>
    internal static bool NamesAny(ReadOnlySpan<char> header, ReadOnlySpan<string> types)
    {
        foreach (var range in header.Split(','))
        {
            var clause = header[range];
            var semicolon = clause.IndexOf(';');
            var type = (semicolon < 0 ? clause : clause[..semicolon]).Trim(' ');
            if (type is "*/*")
                return true;
            foreach (var known in types)
            {
                if (type.SequenceEqual(known))
                    return true;
            }
        }
        return false;
    }

    /// <summary>The first clause that can be served.</summary>
    internal static bool TryChoose(ReadOnlySpan<char> header, bool allowsProjection, bool isPretty, out ResponseFormat format)
    {
        Span<Clause> clauses = stackalloc Clause[MaxClauses];
        var count = 0;
        foreach (var range in header.Split(','))
        {
            if (count == MaxClauses)
                break;
            if (TryParse(header, range, out var clause))
                clauses[count++] = clause;
        }
        clauses = clauses[..count];
        Sort(clauses);
        foreach (var clause in clauses)
        {
            var text = header[clause.Start..clause.End];
            foreach (var media in (ReadOnlySpan<MediaKind>)[MediaKind.Json, MediaKind.Yaml, MediaKind.Protobuf])
            {
                if (Matches(clause, text, media) && TryAccept(text, media, allowsProjection, isPretty, out format))
                    return true;
            }
        }
        format = default;
        return false;
    }

    private static bool TryParse(ReadOnlySpan<char> header, Range range, out Clause clause)
    {
        var (offset, length) = range.GetOffsetAndLength(header.Length);
        clause = new Clause { Start = offset, End = offset + length, Weight = 1 };
        var text = header.Slice(offset, length).Trim(' ');
        var semicolon = text.IndexOf(';');
        var type = semicolon < 0 ? text : text[..semicolon];
        var slash = type.IndexOf('/');
        var major = (slash < 0 ? type : type[..slash]).Trim(' ');
        var minor = slash < 0 ? default : type[(slash + 1)..].Trim(' ');
        if (minor.IsEmpty && major is not "*" || minor.Contains('/'))
            return false;
        clause.IsAnyType = major is "*";
        clause.IsAnySubtype = minor.IsEmpty || minor is "*";
        foreach (var (name, value) in new Parameters(text))
        {
            if (name is "q")
                clause.Weight = float.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var weight) ? weight : 0;
        }
        return true;
    }

    // The order of upstream's sort, which is no total order: kept step by step, since its outcome is what clients see.
    private static void Sort(Span<Clause> clauses)
    {
        for (var i = 1; i < clauses.Length; i++)
        {
            for (var j = i; j > 0 && IsBefore(clauses[j], clauses[j - 1]); j--)
                (clauses[j], clauses[j - 1]) = (clauses[j - 1], clauses[j]);
        }
    }

    private static bool IsBefore(in Clause left, in Clause right) =>
        left.Weight > right.Weight || !left.IsAnyType && right.IsAnyType || !left.IsAnySubtype && right.IsAnySubtype;

    private static bool Matches(in Clause clause, ReadOnlySpan<char> text, MediaKind media)
    {
        if (clause.IsAnyType)
            return clause.IsAnySubtype;
        var semicolon = text.IndexOf(';');
        var type = (semicolon < 0 ? text : text[..semicolon]).Trim(' ');
        var known = media switch { MediaKind.Json => ResponseFormat.Json, MediaKind.Yaml => ResponseFormat.Yaml, _ => ResponseFormat.Protobuf };
        return clause.IsAnySubtype ? type.StartsWith("application/") : type.SequenceEqual(known);
    }

    private static bool TryAccept(ReadOnlySpan<char> text, MediaKind media, bool allowsProjection, bool isPretty, out ResponseFormat format)
    {
        format = default;
        ReadOnlySpan<char> kind = default, group = default, version = default;
        var isConverted = false;
        foreach (var (name, value) in new Parameters(text))
        {
            switch (name)
            {
                case "as": kind = value; isConverted = true; break;
                case "g": group = value; isConverted = true; break;
                case "v": version = value; isConverted = true; break;
                case "stream" when value.Length > 0 && (media == MediaKind.Yaml || value is not "watch"): return false;
                case "sv" when value.Length > 0 && (!allowsProjection || value is not "v1"): return false;
                case "pretty": isPretty |= value is "1"; break;
            }
        }
        // Only JSON has an indented form.
        isPretty &= media == MediaKind.Json;
        if (!isConverted)
        {
            format = new ResponseFormat(media, IsPretty: isPretty);
            return true;
        }
        if (!allowsProjection || group is not "meta.k8s.io" || version is not ("v1" or "v1beta1"))
            return false;
        Projection projection;
        switch (kind)
        {
            // Protobuf has no form of tables that upstream would send.
            case "Table" when media != MediaKind.Protobuf: projection = Projection.Table; break;
            case "PartialObjectMetadata": projection = Projection.PartialObjectMetadata; break;
            case "PartialObjectMetadataList": projection = Projection.PartialObjectMetadataList; break;
            default: return false;
        }
        format = new ResponseFormat(media, projection, version is "v1" ? "v1" : "v1beta1", isPretty);
        return true;
    }

    private struct Clause
    {
        internal int Start, End;
        internal float Weight;
        internal bool IsAnyType, IsAnySubtype;
    }

    /// <summary>A clause's <c>;name=value</c> pairs; what has no value, or two, is passed over.</summary>
    private ref struct Parameters(ReadOnlySpan<char> clause)
    {
        private ReadOnlySpan<char> _rest = clause;

        public Pair Current { get; private set; }

        public readonly Parameters GetEnumerator() => this;

        public bool MoveNext()
        {
            while (true)
            {
                var semicolon = _rest.IndexOf(';');
                if (semicolon < 0)
                    return false;
                _rest = _rest[(semicolon + 1)..];
                var end = _rest.IndexOf(';');
                var pair = end < 0 ? _rest : _rest[..end];
                var equals = pair.IndexOf('=');
                if (equals < 0 || equals == pair.Length - 1 || pair[(equals + 1)..].Contains('='))
                    continue;
                Current = new Pair(pair[..equals].Trim(' '), pair[(equals + 1)..].Trim(' '));
                return true;
            }
        }
    }

    private readonly ref struct Pair(ReadOnlySpan<char> name, ReadOnlySpan<char> value)
    {
        private readonly ReadOnlySpan<char> _name = name;
        private readonly ReadOnlySpan<char> _value = value;

        public void Deconstruct(out ReadOnlySpan<char> name, out ReadOnlySpan<char> value)
        {
            name = _name;
            value = _value;
        }
    }
}
