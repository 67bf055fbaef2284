using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>Reads a zone file (RFC 1035 §5.1): $ORIGIN, $TTL, parentheses, comments, @, owners left out.</summary>
internal static class ZoneFile
{
    private const uint DefaultTtl = 3600;

    /// <summary>The records of a zone.</summary>
    /// <exception cref="FormatException">A line is none; the message names it.</exception>
    internal static List<ZoneRecord> Parse(string text, byte[] zone)
    {
        var records = new List<ZoneRecord>();
        var (origin, owner, ttl) = (zone, zone, DefaultTtl);
        foreach (var (line, words, startsBlank) in Lines(text))
        {
            try
            {
                if (words is ["$ORIGIN", var newOrigin]) origin = RecordParser.Name(newOrigin, origin);
                else if (words is ["$TTL", var newTtl]) ttl = RecordParser.TryTtl(newTtl, out var seconds) ? seconds : throw new FormatException($"\"{newTtl}\" is no TTL");
                else if (words[0].StartsWith('$')) throw new FormatException($"{words[0]} is not supported");
                else
                {
                    if (!startsBlank) owner = RecordParser.Name(words[0], origin);
                    var record = RecordParser.Parse(startsBlank ? words : [.. words.Skip(1)], owner, origin, ttl);
                    if (!WireName.IsWithin(record.Owner, zone)) throw new FormatException($"{WireName.ToText(record.Owner)} is outside the zone");
                    records.Add(record);
                }
            }
            catch (Exception wrong) when (wrong is FormatException or OverflowException)
            {
                throw new FormatException($"line {line}: {wrong.Message}", wrong);
            }
        }
        if (!records.Exists(record => record.Type == DnsType.Soa && record.Owner.AsSpan().SequenceEqual(zone)))
        {
            throw new FormatException($"the file has no SOA record for {WireName.ToText(zone)}");
        }
        return records;
    }

    // Words of each entry; parentheses let one go over several lines.
    private static IEnumerable<(int Line, List<string> Words, bool StartsBlank)> Lines(string text)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        var (line, start, depth) = (1, 1, 0);
        var (hasWord, isBlank, atStart) = (false, false, true);
        for (var i = 0; i <= text.Length; i++)
        {
            var c = i < text.Length ? text[i] : '\n';
            if (c == '"')
            {
                hasWord = true;
                for (i++; i < text.Length && text[i] != '"'; i++)
                {
                    if (text[i] == '\\' && i + 1 < text.Length) i++;
                    word.Append(text[i]);
                }
                atStart = false;
                continue;
            }
            if (c == ';')
            {
                while (i < text.Length && text[i] != '\n') i++;
                c = '\n';
            }
            if (c is ' ' or '\t' or '\r' or '\n' or '(' or ')')
            {
                if (hasWord) words.Add(word.ToString());
                word.Clear();
                hasWord = false;
                if (atStart && c is ' ' or '\t' && words.Count == 0) isBlank |= atStart;
                depth += c == '(' ? 1 : c == ')' ? -1 : 0;
                atStart = false;
                if (c != '\n') continue;
                line++;
                if (depth > 0) continue;
                if (words.Count > 0) yield return (start, words, isBlank);
                (words, isBlank, atStart, start) = ([], false, true, line);
                continue;
            }
            word.Append(c);
            hasWord = true;
            atStart = false;
        }
    }
}
