using System.Globalization;
using YamlDotNet.Core;

namespace K3sFast.ApiMachinery;

/// <summary>
/// What is wrong with a YAML text in the words of Kubernetes' reader (libyaml's), where our parser says the same in others. A problem on the first
/// line is told without its line, as there.
/// </summary>
internal static class YamlProblem
{
    // The parser's words -> libyaml's.
    private static readonly (string Ours, string Theirs)[] s_words =
    [
        ("found invalid mapping", "mapping values are not allowed in this context"),
        ("Mapping values are not allowed in this context", "mapping values are not allowed in this context"),
        ("did not find expected node content", "did not find expected node content"),
        ("did not find expected key", "did not find expected key"),
        ("did not find expected '-' indicator", "did not find expected '-' indicator"),
        ("did not find expected ',' or ']'", "did not find expected ',' or ']'"),
        ("did not find expected ',' or '}'", "did not find expected ',' or '}'"),
        ("did not find expected <document start>", "did not find expected <document start>"),
        ("could not find expected ':'", "could not find expected ':'"),
        ("unexpected end of stream", "found unexpected end of stream"),
        ("cannot start any token", "found character that cannot start any token"),
        ("found a tab character", "found character that cannot start any token"),
    ];

    internal static string Words(YamlException problem)
    {
        var words = problem.Message;
        foreach (var (ours, theirs) in s_words)
        {
            if (words.Contains(ours, StringComparison.OrdinalIgnoreCase))
            {
                words = theirs;
                break;
            }
        }
        // libyaml's parser counts lines from zero, its scanner from one.
        var isParsers = words.StartsWith("did not find expected", StringComparison.Ordinal);
        return At(problem.Start.Line - (isParsers ? 1 : 0), words, isParsers ? 0 : 1);
    }

    /// <summary>Words with the line before them, unless it is the first.</summary>
    internal static string At(long line, string words, int first = 1) => line > first ? string.Create(CultureInfo.InvariantCulture, $"line {line}: {words}") : words;
}
