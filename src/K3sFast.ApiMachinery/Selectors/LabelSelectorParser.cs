using System.Globalization;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Reads the text form of label selectors:
/// <code>
/// selector    = [ requirement { "," requirement } ]
/// requirement = [ "!" ] key [ ( "=" | "==" | "!=" | "&gt;" | "&lt;" ) [ value ] | ( "in" | "notin" ) "(" values ")" ]
/// </code>
/// Refusals have the words of k8s.io/apimachinery/pkg/labels.
/// </summary>
internal sealed class LabelSelectorParser
{
    private enum Token : byte { End, Identifier, Comma, Open, Close, Not, Equals, DoubleEquals, NotEquals, Greater, Less, In, NotIn, Error }

    private readonly List<(Token Token, string Text)> _tokens = [];
    private int _position;

    public LabelSelectorParser(string text) => Tokenize(text);

    public List<LabelRequirement> Parse()
    {
        var requirements = new List<LabelRequirement>();
        while (true)
        {
            var (token, text) = PeekValue();
            if (token == Token.End)
                return requirements;
            if (token is not (Token.Identifier or Token.Not))
                throw Refuse($"found '{text}', expected: !, identifier, or 'end of string'");
            requirements.Add(ParseRequirement());
            (token, text) = TakeValue();
            if (token == Token.End)
                return requirements;
            if (token != Token.Comma)
                throw Refuse($"found '{text}', expected: ',' or 'end of string'");
            (token, text) = PeekValue();
            if (token is not (Token.Identifier or Token.Not))
                throw Refuse($"found '{text}', expected: identifier after ','");
        }
    }

    private LabelRequirement ParseRequirement()
    {
        var (token, key) = TakeValue();
        var isNot = token == Token.Not;
        if (isNot)
            (token, key) = TakeValue();
        if (token != Token.Identifier)
            throw RefuseRequirement($"found '{key}', expected: identifier");
        if (!Formats.Is(Format.LabelKey, System.Text.Encoding.UTF8.GetBytes(key)))
            throw RefuseRequirement($"<nil>: Invalid value: {GoText.Quote(key)}: {string.Join("; ", Formats.Problems(Format.LabelKey, key))}");
        if (isNot || PeekValue().Token is Token.End or Token.Comma)
            return new LabelRequirement(key, isNot ? LabelOperator.DoesNotExist : LabelOperator.Exists);
        var (operatorToken, text) = _tokens[_position++];
        LabelOperator? comparison = operatorToken switch
        {
            Token.In => LabelOperator.In,
            Token.NotIn => LabelOperator.NotIn,
            Token.Equals => LabelOperator.Equals,
            Token.DoubleEquals => LabelOperator.DoubleEquals,
            Token.NotEquals => LabelOperator.NotEquals,
            Token.Greater => LabelOperator.GreaterThan,
            Token.Less => LabelOperator.LessThan,
            _ => null,
        };
        if (comparison is null)
            throw RefuseRequirement($"found '{text}', expected: in, notin, =, ==, !=, gt, lt");
        var values = comparison is LabelOperator.In or LabelOperator.NotIn ? ParseValues() : [ParseExactValue()];
        CheckValues(key, comparison.Value, values);
        return new LabelRequirement(key, comparison.Value, [.. values]);
    }

    private string ParseExactValue()
    {
        if (PeekValue().Token is Token.End or Token.Comma)
            return "";
        var (token, text) = TakeValue();
        return token == Token.Identifier ? text : throw RefuseRequirement($"found '{text}', expected: identifier");
    }

    private SortedSet<string> ParseValues()
    {
        var (token, text) = TakeValue();
        if (token != Token.Open)
            throw RefuseRequirement($"found '{text}' expected: '('");
        var values = new SortedSet<string>(StringComparer.Ordinal);
        (token, text) = PeekValue();
        if (token == Token.Close)
        {
            _position++;
            values.Add("");
            return values;
        }
        if (token is not (Token.Identifier or Token.Comma))
            throw RefuseRequirement($"found '{text}', expected: ',', ')' or identifier");
        // Between two commas, and between a comma and a parenthesis, stands the empty value.
        while (true)
        {
            (token, text) = TakeValue();
            if (token == Token.Identifier)
            {
                values.Add(text);
                (token, text) = PeekValue();
                if (token is not (Token.Comma or Token.Close))
                    throw RefuseRequirement($"found '{text}', expected: ',' or ')'");
            }
            else if (token == Token.Comma)
            {
                if (values.Count == 0)
                    values.Add("");
                token = PeekValue().Token;
                if (token is Token.Close or Token.Comma)
                    values.Add("");
            }
            else
            {
                throw RefuseRequirement($"found '{text}', expected: ',', or identifier");
            }
            if (token == Token.Close)
            {
                _position++;
                return values;
            }
        }
    }

    private static void CheckValues(string key, LabelOperator comparison, ICollection<string> values)
    {
        var problems = new FieldErrorList();
        var index = 0;
        foreach (var value in values)
        {
            if (comparison is LabelOperator.GreaterThan or LabelOperator.LessThan && !long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _))
                problems.Invalid($"values[{index}]", value, "for 'Gt', 'Lt' operators, the value must be an integer");
            if (!Formats.Is(Format.LabelValue, System.Text.Encoding.UTF8.GetBytes(value)))
                problems.Invalid($"values[{index}][{key}]", value, string.Join("; ", Formats.Problems(Format.LabelValue, value)));
            index++;
        }
        if (problems.Count > 0)
            throw RefuseRequirement(problems.ToString());
    }

    // Where a value may stand, the words "in" and "notin" are values.
    private (Token Token, string Text) PeekValue()
    {
        var (token, text) = _tokens[_position];
        return (token is Token.In or Token.NotIn ? Token.Identifier : token, text);
    }

    private (Token Token, string Text) TakeValue()
    {
        var item = PeekValue();
        if (item.Token != Token.End)
            _position++;
        return item;
    }

    private void Tokenize(string text)
    {
        var i = 0;
        while (true)
        {
            while (i < text.Length && text[i] is ' ' or '\t' or '\r' or '\n')
                i++;
            if (i >= text.Length || text[i] == '\0')
            {
                _tokens.Add((Token.End, ""));
                return;
            }
            var start = i;
            if (IsSymbol(text[i]))
            {
                var isPair = i + 1 < text.Length && text[i + 1] == '=' && text[i] is '=' or '!';
                i += isPair ? 2 : 1;
                var symbol = text[start..i];
                _tokens.Add((symbol switch
                {
                    "," => Token.Comma,
                    "(" => Token.Open,
                    ")" => Token.Close,
                    "!" => Token.Not,
                    "=" => Token.Equals,
                    "==" => Token.DoubleEquals,
                    "!=" => Token.NotEquals,
                    ">" => Token.Greater,
                    _ => Token.Less,
                }, symbol));
                continue;
            }
            while (i < text.Length && !IsSymbol(text[i]) && text[i] is not (' ' or '\t' or '\r' or '\n' or '\0'))
                i++;
            var word = text[start..i];
            _tokens.Add((word switch { "in" => Token.In, "notin" => Token.NotIn, _ => Token.Identifier }, word));
        }
    }

    private static bool IsSymbol(char value) => value is '=' or '!' or '(' or ')' or ',' or '>' or '<';

    private static ApiStatusException Refuse(string words) => ApiStatus.BadRequest(words).ToException();

    private static ApiStatusException RefuseRequirement(string words) => Refuse($"unable to parse requirement: {words}");
}
