using System.Globalization;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Makes the tree of an expression, macros expanded. Grammar: CEL's (github.com/google/cel-spec), with optional syntax: <c>a.?b</c>, <c>a[?b]</c>,
/// <c>[?x]</c>, <c>{?k: v}</c>.
/// </summary>
/// <remarks>Never throws for bad input: mistakes go to the issues. Depth is bounded, so time and stack are.</remarks>
internal sealed class CelParser
{
    // The bounds of upstream's parser: code points of an expression, depth of its tree.
    private const int MaxCodePoints = 100_000;
    private const int MaxDepth = 250;

    private static readonly HashSet<string> s_reserved =
        ["as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"];

    private static readonly CelTokenKind[] s_starts =
    [
        CelTokenKind.LeftBracket, CelTokenKind.LeftBrace, CelTokenKind.LeftParen, CelTokenKind.Dot, CelTokenKind.Minus, CelTokenKind.Exclamation, CelTokenKind.True,
        CelTokenKind.False, CelTokenKind.Null, CelTokenKind.Float, CelTokenKind.Int, CelTokenKind.Uint, CelTokenKind.String, CelTokenKind.Bytes, CelTokenKind.Identifier,
    ];

    private readonly string _source;
    private readonly CelIssues _issues;
    private readonly CelMacros _macros;
    private readonly List<CelToken> _tokens;
    private int _at;
    private int _depth;

    private CelParser(string source, CelIssues issues, bool hasBindings)
    {
        _source = source;
        _issues = issues;
        _macros = new CelMacros(issues, hasBindings);
        _tokens = new CelLexer(source, issues).ReadAll();
    }

    /// <summary>The tree, or null when the issues say what is wrong.</summary>
    internal static CelExpr? Parse(string source, CelIssues issues, bool hasBindings = false)
    {
        int size = CelIssues.CodePoints(source);
        if (size > MaxCodePoints)
        {
            issues.Report(-1, string.Create(CultureInfo.InvariantCulture, $"expression code point size exceeds limit: size: {size}, limit {MaxCodePoints}"));
            return null;
        }
        var parser = new CelParser(source, issues, hasBindings);
        try
        {
            var expression = parser.Expression();
            if (parser.Current.Kind != CelTokenKind.End)
                parser.Unwanted([CelTokenKind.End]);
            return issues.Any ? null : expression;
        }
        catch (CelSyntaxException)
        {
            return null;
        }
    }

    private CelToken Current => _tokens[_at];

    private CelToken Next => _tokens[Math.Min(_at + 1, _tokens.Count - 1)];

    private CelToken Take() => _tokens[_at == _tokens.Count - 1 ? _at : _at++];

    private string Text(CelToken token) => _source.Substring(token.Start, token.Length);

    private string Shown(CelToken token) => token.Kind == CelTokenKind.End ? "<EOF>" : Text(token);

    private bool TryTake(CelTokenKind kind)
    {
        if (Current.Kind != kind)
            return false;
        _at++;
        return true;
    }

    // conditionalOr ('?' conditionalOr ':' expr)?
    private CelExpr Expression()
    {
        if (++_depth > MaxDepth)
            throw Fail(-1, $"expression recursion limit exceeded: {MaxDepth}");
        var condition = Logical(CelTokenKind.Or);
        if (Current.Kind == CelTokenKind.Question)
        {
            int offset = Take().Start;
            var whenTrue = Logical(CelTokenKind.Or);
            Expect(CelTokenKind.Colon);
            var whenFalse = Expression();
            condition = Operator(offset, "_?_:_", condition, whenTrue, whenFalse);
        }
        _depth--;
        return condition;
    }

    // Terms joined by || or &&; the tree is balanced so that long chains stay shallow.
    private CelExpr Logical(CelTokenKind sign)
    {
        var terms = new List<CelExpr> { sign == CelTokenKind.Or ? Logical(CelTokenKind.And) : Relation() };
        var offsets = new List<int>();
        while (Current.Kind == sign)
        {
            offsets.Add(Take().Start);
            terms.Add(sign == CelTokenKind.Or ? Logical(CelTokenKind.And) : Relation());
        }
        return offsets.Count == 0 ? terms[0] : Balanced(sign == CelTokenKind.Or ? "_||_" : "_&&_", terms, offsets, 0, offsets.Count - 1);
    }

    private CelExpr Balanced(string function, List<CelExpr> terms, List<int> offsets, int low, int high)
    {
        int middle = (low + high + 1) / 2;
        var left = middle == low ? terms[middle] : Balanced(function, terms, offsets, low, middle - 1);
        var right = middle == high ? terms[middle + 1] : Balanced(function, terms, offsets, middle + 1, high);
        return Operator(offsets[middle], function, left, right);
    }

    private CelExpr Relation()
    {
        var left = Sum();
        while (Current.Kind is CelTokenKind.Equals or CelTokenKind.NotEquals or CelTokenKind.In or CelTokenKind.Less or CelTokenKind.LessEquals or CelTokenKind.Greater or CelTokenKind.GreaterEquals)
        {
            var sign = Take();
            string function = sign.Kind == CelTokenKind.In ? "@in" : $"_{Text(sign)}_";
            left = Operator(sign.Start, function, left, Sum());
        }
        return left;
    }

    private CelExpr Sum()
    {
        var left = Product();
        while (Current.Kind is CelTokenKind.Plus or CelTokenKind.Minus)
        {
            var sign = Take();
            left = Operator(sign.Start, $"_{Text(sign)}_", left, Product());
        }
        return left;
    }

    private CelExpr Product()
    {
        var left = Unary();
        while (Current.Kind is CelTokenKind.Star or CelTokenKind.Slash or CelTokenKind.Percent)
        {
            var sign = Take();
            left = Operator(sign.Start, $"_{Text(sign)}_", left, Unary());
        }
        return left;
    }

    // Pairs of signs cancel out; a minus right before a number belongs to it.
    private CelExpr Unary()
    {
        var first = Current;
        if (first.Kind is not (CelTokenKind.Exclamation or CelTokenKind.Minus))
            return Member();
        if (first.Kind == CelTokenKind.Minus && Next.Kind is CelTokenKind.Int or CelTokenKind.Float)
            return Member();
        int signs = 0;
        while (Current.Kind == first.Kind)
        {
            _at++;
            signs++;
        }
        if (first.Kind == CelTokenKind.Minus && Current.Kind == CelTokenKind.Exclamation)
            throw Fail(Current.Start, "Syntax error: no viable alternative at input '-!'");
        var operand = Member();
        return signs % 2 == 0 ? operand : Operator(first.Start, first.Kind == CelTokenKind.Minus ? "-_" : "!_", operand);
    }

    private CelExpr Member()
    {
        var operand = Primary();
        while (true)
        {
            var token = Current;
            if (token.Kind == CelTokenKind.Dot)
                operand = Selection(operand);
            else if (token.Kind == CelTokenKind.LeftBracket)
                operand = Index(operand);
            else
                return operand;
        }
    }

    private CelExpr Selection(CelExpr operand)
    {
        var dot = Take();
        bool isOptional = TryTake(CelTokenKind.Question);
        var name = Current;
        if (name.Kind is not (CelTokenKind.Identifier or CelTokenKind.EscapedIdentifier))
            throw Fail(name.Start, $"Syntax error: no viable alternative at input '{_source[dot.Start..Math.Max(name.End, dot.End)]}'");
        _at++;
        if (name.Kind == CelTokenKind.Identifier && !isOptional && Current.Kind == CelTokenKind.LeftParen)
            return Call(Text(name), operand);
        string field = name.Kind == CelTokenKind.Identifier ? Text(name) : _source.Substring(name.Start + 1, name.Length - 2);
        if (name.Kind == CelTokenKind.EscapedIdentifier)
            _issues.Report(name.Start, "unsupported syntax: '`'");
        return isOptional
            ? Bounded(new CelExpr.Call(dot.Start, "_?._", null, [operand, new CelExpr.Constant(name.Start, CelValue.Of(field))]))
            : Bounded(new CelExpr.Select(dot.Start, operand, field, false));
    }

    private CelExpr Index(CelExpr operand)
    {
        int offset = Take().Start;
        CheckStart(CelTokenKind.Question);
        string function = TryTake(CelTokenKind.Question) ? "_[?_]" : "_[_]";
        var index = Expression();
        Expect(CelTokenKind.RightBracket);
        return Operator(offset, function, operand, index);
    }

    private CelExpr Call(string function, CelExpr? target)
    {
        int offset = Take().Start;
        var args = new List<CelExpr>();
        if (Current.Kind != CelTokenKind.RightParen)
        {
            CheckStart(CelTokenKind.RightParen);
            do
                args.Add(Expression());
            while (TryTake(CelTokenKind.Comma));
        }
        Expect(CelTokenKind.RightParen);
        return Bounded(_macros.Expand(offset, function, target, args) ?? new CelExpr.Call(offset, function, target, [.. args]));
    }

    private CelExpr Operator(int offset, string function, params CelExpr[] args) => Bounded(new CelExpr.Call(offset, function, null, args));

    private CelExpr Bounded(CelExpr expression) => expression.Depth <= MaxDepth * 3 ? expression : throw Fail(-1, "max recursion depth exceeded");

    private CelExpr Primary()
    {
        CheckStart();
        var token = Current;
        switch (token.Kind)
        {
            case CelTokenKind.Exclamation:
                throw Fail(token.Start, $"Syntax error: mismatched input '!' expecting {CelToken.Show([.. s_starts.Where(static kind => kind != CelTokenKind.Exclamation)])}");
            case CelTokenKind.Minus when Next.Kind is not (CelTokenKind.Int or CelTokenKind.Float):
                throw Fail(Next.Start, $"Syntax error: no viable alternative at input '-{(Next.Kind == CelTokenKind.End ? "" : Text(Next))}'");
            case CelTokenKind.LeftParen:
                _at++;
                var inner = Expression();
                Expect(CelTokenKind.RightParen);
                return inner;
            case CelTokenKind.LeftBracket:
                return List();
            case CelTokenKind.LeftBrace:
                return Map();
            case CelTokenKind.Dot or CelTokenKind.Identifier:
                return Name();
            default:
                return Literal();
        }
    }

    // An identifier, a call, or the dotted type name before the fields of a message.
    private CelExpr Name()
    {
        int start = Current.Start;
        string prefix = TryTake(CelTokenKind.Dot) ? "." : "";
        if (Current.Kind != CelTokenKind.Identifier)
            throw Fail(Current.Start, $"Syntax error: mismatched input '{Shown(Current)}' expecting IDENTIFIER");
        int ahead = _at;
        while (_tokens[ahead + 1].Kind == CelTokenKind.Dot && ahead + 2 < _tokens.Count && _tokens[ahead + 2].Kind == CelTokenKind.Identifier)
            ahead += 2;
        if (_tokens[ahead + 1].Kind == CelTokenKind.LeftBrace)
        {
            string type = prefix + string.Concat(_source.Substring(Current.Start, _tokens[ahead].End - Current.Start).Where(static unit => !char.IsWhiteSpace(unit)));
            _at = ahead + 1;
            return Message(type);
        }
        var name = Take();
        string text = Text(name);
        if (s_reserved.Contains(text))
            _issues.Report(start, $"reserved identifier: {text}");
        return Current.Kind == CelTokenKind.LeftParen ? Call(prefix + text, null) : new CelExpr.Ident(name.Start, prefix + text);
    }

    private CelExpr List()
    {
        int offset = Take().Start;
        var elements = new List<CelExpr>();
        var optional = new List<bool>();
        if (Current.Kind is not (CelTokenKind.RightBracket or CelTokenKind.Comma))
            CheckStart(CelTokenKind.RightBracket, CelTokenKind.Comma, CelTokenKind.Question);
        while (Current.Kind is not (CelTokenKind.RightBracket or CelTokenKind.Comma))
        {
            optional.Add(TryTake(CelTokenKind.Question));
            elements.Add(Expression());
            if (!EndsOrGoesOn(CelTokenKind.RightBracket))
                break;
        }
        TakeTrailingComma(CelTokenKind.RightBracket);
        Expect(CelTokenKind.RightBracket);
        return Bounded(new CelExpr.ListOf(offset, [.. elements], [.. optional]));
    }

    private CelExpr Map()
    {
        int offset = Take().Start;
        var entries = new List<CelExpr.Entry>();
        if (Current.Kind is not (CelTokenKind.RightBrace or CelTokenKind.Comma))
            CheckStart(CelTokenKind.RightBrace, CelTokenKind.Comma, CelTokenKind.Question);
        while (Current.Kind is not (CelTokenKind.RightBrace or CelTokenKind.Comma))
        {
            bool isOptional = TryTake(CelTokenKind.Question);
            var key = Expression();
            int colon = Expect(CelTokenKind.Colon).Start;
            entries.Add(new CelExpr.Entry(colon, key, Expression(), isOptional));
            if (!EndsOrGoesOn(CelTokenKind.RightBrace))
                break;
        }
        TakeTrailingComma(CelTokenKind.RightBrace);
        Expect(CelTokenKind.RightBrace);
        return Bounded(new CelExpr.MapOf(offset, [.. entries]));
    }

    private CelExpr Message(string type)
    {
        int offset = Take().Start;
        var fields = new List<CelExpr.FieldOf>();
        while (Current.Kind is not (CelTokenKind.RightBrace or CelTokenKind.Comma))
        {
            bool isOptional = TryTake(CelTokenKind.Question);
            var name = Current;
            if (name.Kind is not (CelTokenKind.Identifier or CelTokenKind.EscapedIdentifier))
                throw Fail(name.Start, $"Syntax error: mismatched input '{Shown(name)}' expecting {CelToken.Show([CelTokenKind.RightBrace, CelTokenKind.Comma, CelTokenKind.Question, CelTokenKind.Identifier, CelTokenKind.EscapedIdentifier])}");
            _at++;
            string field = Text(name);
            if (name.Kind == CelTokenKind.EscapedIdentifier)
                _issues.Report(name.Start, "unsupported syntax: '`'");
            int colon = Expect(CelTokenKind.Colon).Start;
            fields.Add(new CelExpr.FieldOf(colon, field, Expression(), isOptional));
            if (!EndsOrGoesOn(CelTokenKind.RightBrace))
                break;
        }
        TakeTrailingComma(CelTokenKind.RightBrace);
        Expect(CelTokenKind.RightBrace);
        return Bounded(new CelExpr.StructOf(offset, type, [.. fields]));
    }

    private void TakeTrailingComma(CelTokenKind end)
    {
        if (Current.Kind == CelTokenKind.Comma && Next.Kind == end)
            _at++;
    }

    // After an element: a comma before another one goes on; a comma before the end is a trailing one.
    private bool EndsOrGoesOn(CelTokenKind end)
    {
        if (Current.Kind == CelTokenKind.Comma)
        {
            if (Next.Kind == end || Next.Kind == CelTokenKind.Comma)
            {
                _at += Next.Kind == end ? 0 : 1;
                return false;
            }
            _at++;
            return true;
        }
        if (Current.Kind != end)
            throw Fail(Current.Start, $"Syntax error: mismatched input '{Shown(Current)}' expecting {CelToken.Show([end, CelTokenKind.Comma])}");
        return false;
    }

    private CelExpr Literal()
    {
        int start = Current.Start;
        string sign = TryTake(CelTokenKind.Minus) ? "-" : "";
        var token = Take();
        string text = Text(token);
        switch (token.Kind)
        {
            case CelTokenKind.True:
                return new CelExpr.Constant(start, CelValue.True);
            case CelTokenKind.False:
                return new CelExpr.Constant(start, CelValue.False);
            case CelTokenKind.Null:
                return new CelExpr.Constant(start, CelValue.Null);
            case CelTokenKind.Int when CelNumbers.TryParseInt(sign, text, out long integer):
                return new CelExpr.Constant(start, CelValue.Of(integer));
            case CelTokenKind.Uint when CelNumbers.TryParseUint(text[..^1], out ulong unsigned):
                return new CelExpr.Constant(start, CelValue.Of(unsigned));
            case CelTokenKind.Float when double.TryParse(sign + text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number):
                return new CelExpr.Constant(start, CelValue.Of(number));
            case CelTokenKind.Int:
                return Wrong(start, "invalid int literal");
            case CelTokenKind.Uint:
                return Wrong(start, "invalid uint literal");
            case CelTokenKind.Float:
                return Wrong(start, "invalid double literal");
            case CelTokenKind.String:
                return CelLiteral.TryText(text, out string? value, out string problem) ? new CelExpr.Constant(start, CelValue.Of(value)) : Wrong(start, problem);
            default:
                return CelLiteral.TryBytes(text[1..], out byte[]? bytes, out problem) ? new CelExpr.Constant(start, CelValue.Of(bytes)) : Wrong(start, problem);
        }
    }

    private CelExpr.Constant Wrong(int offset, string message)
    {
        _issues.Report(offset, message);
        return new CelExpr.Constant(offset, CelValue.Null);
    }

    // One token too many is skipped with a message when what follows it can start an expression.
    private void CheckStart(params ReadOnlySpan<CelTokenKind> others)
    {
        if (Array.IndexOf(s_starts, Current.Kind) >= 0 || others.Contains(Current.Kind))
            return;
        CelTokenKind[] expected = [.. s_starts, .. others];
        bool isOneTooMany = Array.IndexOf(expected, Next.Kind) >= 0 && Current.Kind != CelTokenKind.End;
        string problem = $"Syntax error: {(isOneTooMany ? "extraneous" : "mismatched")} input '{Shown(Current)}' expecting {CelToken.Show(expected)}";
        if (!isOneTooMany)
            throw Fail(Current.Start, problem);
        _issues.Report(Current.Start, problem);
        _at++;
    }

    private CelToken Expect(CelTokenKind kind)
    {
        if (Current.Kind == kind)
            return Take();
        if (Next.Kind == kind && Current.Kind != CelTokenKind.End)
        {
            _issues.Report(Current.Start, $"Syntax error: extraneous input '{Shown(Current)}' expecting {CelToken.Show([kind])}");
            _at++;
            return Take();
        }
        // What closes may be missing before the end or another thing that closes.
        if (kind is CelTokenKind.RightParen or CelTokenKind.RightBracket or CelTokenKind.RightBrace
            && Current.Kind is CelTokenKind.End or CelTokenKind.RightParen or CelTokenKind.RightBracket or CelTokenKind.RightBrace)
        {
            _issues.Report(Current.Start, $"Syntax error: missing {CelToken.Show([kind])} at '{Shown(Current)}'");
            return Current;
        }
        throw Fail(Current.Start, $"Syntax error: mismatched input '{Shown(Current)}' expecting {CelToken.Show([kind])}");
    }

    private void Unwanted(ReadOnlySpan<CelTokenKind> expected)
    {
        string word = Next.Kind == CelTokenKind.End ? "extraneous" : "mismatched";
        _issues.Report(Current.Start, $"Syntax error: {word} input '{Shown(Current)}' expecting {CelToken.Show(expected)}");
    }

    private CelSyntaxException Fail(int offset, string message)
    {
        _issues.Report(offset, message);
        return new CelSyntaxException();
    }

    // Leaves the recursive descent; never seen outside.
    private sealed class CelSyntaxException : Exception;
}
