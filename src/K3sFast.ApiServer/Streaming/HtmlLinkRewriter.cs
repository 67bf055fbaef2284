using System.Buffers;
using System.Net;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>
/// Rewrites the attributes of an HTML page that hold links, as the page passes by in pieces. Everything else goes on byte for byte. Only what must be
/// seen whole is kept back: a tag, and the few bytes in which a comment or a script may end.
/// </summary>
/// <remarks>A tokenizer after WHATWG HTML §13.2.5 as far as links need it. One page, one thread.</remarks>
internal sealed class HtmlLinkRewriter(ProxyLinks links)
{
    // A longer tag is not looked into; inline images are the longest things in tags, and they are no links of ours.
    private const int MaxTagBytes = 64 * 1024;

    // HTML 4 index of attributes and HTML 5: which hold a URL.
    private static readonly Dictionary<string, string[]> s_linkAttributes = new()
    {
        ["a"] = ["href"],
        ["applet"] = ["codebase"],
        ["area"] = ["href"],
        ["audio"] = ["src"],
        ["base"] = ["href"],
        ["blockquote"] = ["cite"],
        ["body"] = ["background"],
        ["button"] = ["formaction"],
        ["command"] = ["icon"],
        ["del"] = ["cite"],
        ["embed"] = ["src"],
        ["form"] = ["action"],
        ["frame"] = ["longdesc", "src"],
        ["head"] = ["profile"],
        ["html"] = ["manifest"],
        ["iframe"] = ["longdesc", "src"],
        ["img"] = ["longdesc", "src", "usemap"],
        ["input"] = ["src", "usemap", "formaction"],
        ["ins"] = ["cite"],
        ["link"] = ["href"],
        ["object"] = ["classid", "codebase", "data", "usemap"],
        ["q"] = ["cite"],
        ["script"] = ["src"],
        ["source"] = ["src"],
        ["video"] = ["poster", "src"],
    };

    // Between these and their end tags "<" is a letter like others.
    private static readonly string[] s_rawText = ["iframe", "noembed", "noframes", "plaintext", "script", "style", "textarea", "title", "xmp"];

    private byte[] _kept = [];

    // What ends the stretch that is being passed over, or empty: "-->", ">" or "</script".
    private byte[] _skipUntil = [];

    /// <summary>Takes the next piece; <paramref name="isLast"/> gives out what was kept back.</summary>
    internal void Write(ReadOnlySpan<byte> piece, IBufferWriter<byte> output, bool isLast)
    {
        var joined = _kept.Length == 0 ? null : new byte[_kept.Length + piece.Length];
        if (joined is not null)
        {
            _kept.CopyTo(joined, 0);
            piece.CopyTo(joined.AsSpan(_kept.Length));
            piece = joined;
        }
        var used = Rewrite(piece, output, isLast);
        if (isLast)
            output.Write(piece[used..]);
        _kept = isLast || used == piece.Length ? [] : piece[used..].ToArray();
    }

    // Returns how much was dealt with.
    private int Rewrite(ReadOnlySpan<byte> text, IBufferWriter<byte> output, bool isLast)
    {
        var position = 0;
        while (position < text.Length)
        {
            var rest = text[position..];
            if (_skipUntil.Length > 0)
            {
                var end = IndexOfIgnoreCase(rest, _skipUntil);
                var passed = end >= 0 ? end : isLast ? rest.Length : Math.Max(0, rest.Length - _skipUntil.Length + 1);
                output.Write(rest[..passed]);
                position += passed;
                if (end < 0)
                    return position;
                _skipUntil = [];
                continue;
            }
            var open = rest.IndexOf((byte)'<');
            output.Write(open < 0 ? rest : rest[..open]);
            if (open < 0)
                return text.Length;
            position += open;
            rest = rest[open..];
            var length = Markup(rest, output, isLast);
            if (length == 0)
                return position;
            position += length;
        }
        return position;
    }

    // At "<". Returns how much it took; 0 when more must be seen first.
    private int Markup(ReadOnlySpan<byte> text, IBufferWriter<byte> output, bool isLast)
    {
        if (text.Length < 4 && !isLast)
            return 0;
        if (text.StartsWith("<!--"u8))
            return Pass(text, 4, "-->"u8, output);
        if (text.Length > 1 && text[1] is (byte)'!' or (byte)'?')
            return Pass(text, 2, ">"u8, output);
        if (text.Length < 2 || !char.IsAsciiLetter((char)text[1]))
            return Pass(text, 1, default, output);
        var end = TagEnd(text);
        if (end >= 0)
            Tag(text[..end], output);
        else if (text.Length < MaxTagBytes && !isLast)
            return 0;
        return end >= 0 ? end : Pass(text, 1, default, output);
    }

    private int Pass(ReadOnlySpan<byte> text, int length, ReadOnlySpan<byte> until, IBufferWriter<byte> output)
    {
        output.Write(text[..length]);
        _skipUntil = until.ToArray();
        return length;
    }

    // Behind the tag's ">", which may also stand inside a quoted value; -1 when it is not there yet.
    private static int TagEnd(ReadOnlySpan<byte> text)
    {
        byte quote = 0;
        byte before = 0;
        for (var i = 1; i < text.Length; i++)
        {
            var letter = text[i];
            if (quote != 0)
            {
                if (letter == quote)
                    quote = 0;
            }
            else if (letter == '>')
            {
                return i + 1;
            }
            else if (letter is (byte)'"' or (byte)'\'' && before == '=')
            {
                quote = letter;
            }
            if (!IsSpace(letter))
                before = letter;
        }
        return -1;
    }

    private void Tag(ReadOnlySpan<byte> tag, IBufferWriter<byte> output)
    {
        var nameEnd = 1 + EndOfWord(tag[1..], endsAtEquals: false);
        var name = Encoding.ASCII.GetString(tag[1..nameEnd]).ToLowerInvariant();
        if (Array.IndexOf(s_rawText, name) >= 0)
            _skipUntil = Encoding.ASCII.GetBytes("</" + name);
        if (!s_linkAttributes.TryGetValue(name, out var attributes))
        {
            output.Write(tag);
            return;
        }
        output.Write(tag[..nameEnd]);
        var position = nameEnd;
        while (position < tag.Length)
        {
            var rest = tag[position..];
            if (IsSpace(rest[0]) || rest[0] is (byte)'/' or (byte)'>' or (byte)'=')
            {
                output.Write(rest[..1]);
                position++;
                continue;
            }
            position += Attribute(rest, attributes, output);
        }
    }

    // name, name=value, name="value". Returns its length.
    private int Attribute(ReadOnlySpan<byte> text, string[] links, IBufferWriter<byte> output)
    {
        var length = EndOfWord(text, endsAtEquals: true);
        var name = Encoding.ASCII.GetString(text[..length]).ToLowerInvariant();
        var equals = length;
        while (equals < text.Length && IsSpace(text[equals]))
            equals++;
        if (equals >= text.Length || text[equals] != '=')
        {
            output.Write(text[..length]);
            return length;
        }
        var start = equals + 1;
        while (start < text.Length && IsSpace(text[start]))
            start++;
        var isQuoted = start < text.Length && text[start] is (byte)'"' or (byte)'\'';
        var rest = text[Math.Min(text.Length, start + (isQuoted ? 1 : 0))..];
        var valueLength = isQuoted ? rest.IndexOf(text[start]) : rest.IndexOfAny(" \t\r\n\f>"u8);
        if (valueLength < 0)
            valueLength = rest.Length;
        var end = Math.Min(text.Length, start + valueLength + (isQuoted ? 2 : 0));
        if (Array.IndexOf(links, name) < 0 || !TryRewrite(rest[..valueLength], out var rewritten))
        {
            output.Write(text[..end]);
            return end;
        }
        output.Write(text[..start]);
        output.Write("\""u8);
        output.Write(Encoding.UTF8.GetBytes(rewritten));
        output.Write("\""u8);
        return end;
    }

    private bool TryRewrite(ReadOnlySpan<byte> value, out string rewritten)
    {
        var link = WebUtility.HtmlDecode(Encoding.UTF8.GetString(value));
        var changed = links.Rewrite(link);
        rewritten = changed.Replace("&", "&amp;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal)
            .Replace("<", "&lt;", StringComparison.Ordinal).Replace(">", "&gt;", StringComparison.Ordinal);
        return changed != link;
    }

    private static int EndOfWord(ReadOnlySpan<byte> text, bool endsAtEquals)
    {
        for (var i = 0; i < text.Length; i++)
        {
            if (IsSpace(text[i]) || text[i] is (byte)'/' or (byte)'>' || endsAtEquals && text[i] == '=')
                return i;
        }
        return text.Length;
    }

    private static int IndexOfIgnoreCase(ReadOnlySpan<byte> text, ReadOnlySpan<byte> word)
    {
        for (var start = 0; start + word.Length <= text.Length; start++)
        {
            var next = text[start..].IndexOf(word[0]);
            if (next < 0 || start + next + word.Length > text.Length)
                return -1;
            start += next;
            if (Ascii.EqualsIgnoreCase(text.Slice(start, word.Length), word))
                return start;
        }
        return -1;
    }

    private static bool IsSpace(byte letter) => letter is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n' or (byte)'\f';
}
