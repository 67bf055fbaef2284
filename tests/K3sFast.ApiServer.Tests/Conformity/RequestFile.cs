using System.Globalization;
using System.Text;

namespace K3sFast.ApiServer.Tests.Conformity;

/// <summary>
/// Reads a file of requests with the answers that upstream gives. Blocks are separated by blank lines; "#" starts a comment:
/// <code>
/// POST /api/v1/namespaces/{ns}/configmaps?dryRun=All     method and path
/// @as alice                                              who asks; without it the administrator
/// @let uid /metadata/uid                                 {uid} in later blocks is this place of the answer
/// @pending reason                                        may fail until the reason is gone
/// Content-Type: application/yaml                         headers; JSON is the default type of a body
/// {"metadata":{"name":"A"}}                              body, as many lines as it has (or base64 after "@base64")
/// => 422 Invalid configmaps/A                            code, and for a refusal reason and details as resource.group/name
/// = message                                              one line each
/// - FieldValueInvalid metadata.name: text                a cause
/// ~ Warning: 299 - "text"                                a header of the answer; all Warnings are listed
/// . /metadata/name "A"                                   a place of the answer and its JSON; (absent) when there is none
/// </code>
/// {ns} is the file's own namespace, {a*300} is "a" 300 times, {*} in an answer is anything.
/// </summary>
internal static class RequestFile
{
    internal static IReadOnlyList<RequestCase> Read(string path)
    {
        var cases = new List<RequestCase>();
        var lines = File.ReadAllLines(path);
        var name = Path.GetFileName(path);
        for (var i = 0; i < lines.Length; i++)
        {
            if (lines[i].Length == 0 || lines[i][0] == '#')
                continue;
            var space = lines[i].IndexOf(' ', StringComparison.Ordinal);
            var item = new RequestCase { File = name, Line = i + 1, Method = lines[i][..space], Path = lines[i][(space + 1)..] };
            i = ReadRequest(lines, i + 1, item);
            i = ReadAnswer(lines, i, item);
            cases.Add(item);
        }
        return cases;
    }

    private static int ReadRequest(string[] lines, int i, RequestCase item)
    {
        var body = new StringBuilder();
        for (; !lines[i].StartsWith("=> ", StringComparison.Ordinal); i++)
        {
            var line = lines[i];
            if (body.Length == 0 && line.StartsWith('@'))
                ReadDirective(line, item);
            else if (body.Length == 0 && HeaderName(line) is { } header)
                item.Headers.Add((header, line[(header.Length + 2)..]));
            else
                body.Append(line).Append('\n');
        }
        if (body.Length > 0)
            item.Body = body.ToString(0, body.Length - 1);
        return i;
    }

    private static void ReadDirective(string line, RequestCase item)
    {
        var words = line.Split(' ', 2);
        switch (words[0])
        {
            case "@as": item.As = words[1]; break;
            case "@base64": item.IsBase64 = true; break;
            case "@pending": item.Pending = words[1]; break;
            case "@let":
                var let = words[1].Split(' ');
                item.Lets.Add((let[0], let[1]));
                break;
            default: throw new FormatException($"{item}: unknown directive {line}");
        }
    }

    // Headers are written as HTTP writes them, with a capital first, so that YAML bodies are none.
    private static string? HeaderName(string line)
    {
        var colon = line.IndexOf(": ", StringComparison.Ordinal);
        if (colon < 1 || !char.IsAsciiLetterUpper(line[0]))
            return null;
        return line.AsSpan(0, colon).ContainsAnyExcept("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") ? null : line[..colon];
    }

    private static int ReadAnswer(string[] lines, int i, RequestCase item)
    {
        var status = lines[i][3..].Split(' ', 3);
        item.Code = int.Parse(status[0], CultureInfo.InvariantCulture);
        item.Reason = status.Length > 1 ? status[1] : "";
        item.Target = status.Length > 2 ? status[2] : "";
        for (i++; i < lines.Length && lines[i].Length > 0; i++)
        {
            var rest = lines[i].Length > 2 ? lines[i][2..] : "";
            switch (lines[i][0])
            {
                case '=': item.Message = item.Message is null ? rest : $"{item.Message}\n{rest}"; break;
                case '-': item.Causes.Add(rest); break;
                case '~':
                    var colon = rest.IndexOf(": ", StringComparison.Ordinal);
                    item.ResponseHeaders.Add((rest[..colon], rest[(colon + 2)..]));
                    break;
                case '.':
                    var space = rest.IndexOf(' ', StringComparison.Ordinal);
                    item.Fields.Add((rest[..space], rest[(space + 1)..]));
                    break;
                default: throw new FormatException($"{item}: line {i + 1} belongs to no answer: {lines[i]}");
            }
        }
        return i;
    }
}
