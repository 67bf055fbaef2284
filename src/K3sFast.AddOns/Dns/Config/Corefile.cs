using System.Globalization;

namespace K3sFast.AddOns.Dns;

/// <summary>A line of words inside a plugin's braces.</summary>
internal sealed record CorefileLine(string File, int Number, string[] Words)
{
    internal CorefileException Error(string message) => new(File, Number, message);
}

/// <summary>One plugin's mention: its words and the lines in its braces.</summary>
internal sealed record CorefileDirective(string File, int Line, string Name, string[] Arguments, List<CorefileLine> Lines)
{
    internal CorefileException Error(string message) => new(File, Line, message);

    /// <summary>CoreDNS' answer to arguments that are too many or too few.</summary>
    internal CorefileException ArgumentError() => Error($"Wrong argument count or unexpected line ending after '{(Arguments.Length > 0 ? Arguments[^1] : Name)}'");
}

/// <summary>A server block: the zones and ports it is for, and its plugins.</summary>
internal sealed record CorefileBlock(string File, int Line, List<string> Keys, List<CorefileDirective> Directives);

/// <summary>
/// Reads a Corefile (CoreDNS' corefile(5)) with everything that it imports, into blocks of directives. What the directives mean is not looked at.
/// </summary>
/// <remarks>
/// <code>
/// corefile  = { "(" name ")" block | "import" file-pattern | keys block }
/// keys      = key { [","] key }                      a key: [dns://] zone [:port]
/// block     = "{" newline { directive newline } "}"
/// directive = "import" pattern-or-snippet | name { word } [ "{" newline { words newline } "}" ]
/// </code>
/// </remarks>
internal sealed class Corefile
{
    // Imports in imports; CoreDNS has no bound and dies of one that names itself.
    private const int MaxImports = 1000;

    private readonly CorefileFiles _files;
    private readonly List<CorefileToken> _tokens;
    private readonly Dictionary<string, List<CorefileToken>> _snippets = [];
    private int _at;
    private int _imports;

    private Corefile(List<CorefileToken> tokens, CorefileFiles files) => (_tokens, _files) = (tokens, files);

    /// <summary>Patterns of imports that matched no file: no mistake, but worth a word in the log.</summary>
    internal List<string> EmptyImports { get; } = [];

    /// <summary>The blocks of a Corefile.</summary>
    /// <exception cref="CorefileException">It is none.</exception>
    internal static List<CorefileBlock> Parse(string text, CorefileFiles files, out List<string> emptyImports)
    {
        var parser = new Corefile(CorefileLexer.Read(text, "Corefile"), files);
        emptyImports = parser.EmptyImports;
        var blocks = new List<CorefileBlock>();
        while (parser._at < parser._tokens.Count)
        {
            if (parser.ReadBlock() is { } block) blocks.Add(block);
        }
        return blocks;
    }

    private CorefileToken Current => _tokens[_at];

    private CorefileBlock? ReadBlock()
    {
        var first = Current;
        if (first.Is("import"))
        {
            Import();
            return null;
        }
        if (first.Text is ['(', .., ')'])
        {
            ReadSnippet(first.Text[1..^1]);
            return null;
        }
        var keys = new List<string>();
        while (_at < _tokens.Count && !Current.Is("{"))
        {
            if (Current.Is("}")) throw new CorefileException(Current.File, Current.Line, "Syntax error: Unexpected token '}', expecting a zone");
            keys.AddRange(Current.Text.Split(',', StringSplitOptions.RemoveEmptyEntries));
            _at++;
        }
        if (keys.Count == 0) throw new CorefileException(first.File, first.Line, "a server block needs a zone before its brace");
        var block = new CorefileBlock(first.File, first.Line, keys, []);
        // Without braces, zones alone: a block without plugins answers nothing. CoreDNS takes it, and so do we.
        if (_at == _tokens.Count) return block;
        var open = _tokens[_at++];
        while (true)
        {
            if (_at == _tokens.Count) throw new CorefileException(open.File, open.Line, "Unexpected EOF: the brace is never closed");
            if (Current.Is("}"))
            {
                _at++;
                return block;
            }
            if (Current.Is("import")) Import();
            else block.Directives.Add(ReadDirective());
        }
    }

    private void ReadSnippet(string name)
    {
        var at = _tokens[_at++];
        if (_at == _tokens.Count || !Current.Is("{")) throw new CorefileException(at.File, at.Line, $"snippet '{name}' has no braces");
        var tokens = new List<CorefileToken>();
        var depth = 0;
        for (; _at < _tokens.Count; _at++)
        {
            if (Current.Is("{") && depth++ == 0) continue;
            if (Current.Is("}") && --depth == 0)
            {
                _at++;
                if (!_snippets.TryAdd(name, tokens)) throw new CorefileException(at.File, at.Line, $"redeclaration of previously declared snippet {name}");
                return;
            }
            tokens.Add(Current);
        }
        throw new CorefileException(at.File, at.Line, "Unexpected EOF: the brace is never closed");
    }

    // Puts what is imported in the place of the two words.
    private void Import()
    {
        var start = _at;
        var at = _tokens[_at++];
        var words = RestOfLine(at);
        if (words.Count == 0) throw new CorefileException(at.File, at.Line, "Wrong argument count or unexpected line ending after 'import'");
        if (++_imports > MaxImports) throw new CorefileException(at.File, at.Line, "imports lead in circles");
        var pattern = words[0].Text;
        List<CorefileToken> tokens = [];
        if (_snippets.TryGetValue(pattern, out var snippet)) tokens.AddRange(snippet.Select(token => token with { Text = Fill(token.Text, words) }));
        else
        {
            var found = false;
            foreach (var (file, text) in _files.Match(pattern))
            {
                found = true;
                tokens.AddRange(CorefileLexer.Read(text, file));
            }
            if (!found && !pattern.Contains('*') && !pattern.Contains('?')) throw new CorefileException(at.File, at.Line, $"File to import not found: {pattern}");
            if (!found) EmptyImports.Add(pattern);
        }
        _tokens.RemoveRange(start, _at - start);
        _tokens.InsertRange(start, tokens);
        if (_tokens.Count > CorefileLexer.MaxTokens) throw new CorefileException(at.File, at.Line, "the imports have too many words");
        _at = start;
    }

    // {args[0]} and {args.0} of a snippet are the words behind its name.
    private static string Fill(string text, List<CorefileToken> words)
    {
        if (!text.Contains("{args", StringComparison.Ordinal)) return text;
        for (var i = 1; i < words.Count; i++)
        {
            var number = (i - 1).ToString(CultureInfo.InvariantCulture);
            text = text.Replace($"{{args[{number}]}}", words[i].Text, StringComparison.Ordinal).Replace($"{{args.{number}}}", words[i].Text, StringComparison.Ordinal);
        }
        return text;
    }

    private CorefileDirective ReadDirective()
    {
        var name = _tokens[_at++];
        if (name.Is("{")) throw new CorefileException(name.File, name.Line, "Syntax error: Unexpected token '{', expecting a plugin");
        var words = RestOfLine(name);
        // "}" at a line's end closes the block around it.
        if (words.Count > 0 && words[^1].Is("}"))
        {
            words.RemoveAt(words.Count - 1);
            _at--;
        }
        var hasBraces = words.Count > 0 && words[^1].Is("{");
        if (hasBraces) words.RemoveAt(words.Count - 1);
        var directive = new CorefileDirective(name.File, name.Line, name.Text, [.. words.Select(static word => word.Text)], []);
        while (hasBraces)
        {
            if (_at == _tokens.Count) throw new CorefileException(name.File, name.Line, "Unexpected EOF: the brace is never closed");
            var first = _tokens[_at++];
            if (first.Is("}")) break;
            var line = RestOfLine(first);
            if (first.Is("{") || line.Any(static word => word.Is("{") || word.Is("}"))) throw new CorefileException(first.File, first.Line, "Syntax error: Unexpected brace inside a plugin's braces");
            directive.Lines.Add(new CorefileLine(first.File, first.Line, [first.Text, .. line.Select(static word => word.Text)]));
        }
        return directive;
    }

    private List<CorefileToken> RestOfLine(CorefileToken first)
    {
        var words = new List<CorefileToken>();
        var line = LastLine(first);
        while (_at < _tokens.Count && Current.File == first.File && Current.Line == line)
        {
            line = LastLine(Current);
            words.Add(Current);
            _at++;
        }
        return words;
    }

    // A word in quotation marks may go over several lines.
    private static int LastLine(CorefileToken token) => token.Line + (token.IsQuoted ? token.Text.Count(static c => c == '\n') : 0);
}
