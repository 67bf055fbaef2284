using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>What is wrong with an expression, each with its place, shown as upstream shows it: message, source line and a caret below the column.</summary>
internal sealed class CelIssues(string source)
{
    // Upstream shows no more than this many and no longer line than that.
    private const int MaxReported = 100;
    private const int MaxSnippetLength = 16384;

    private readonly List<Issue> _issues = [];
    private int _count;

    internal bool Any => _count > 0;

    /// <summary>Notes a mistake at an offset in UTF-16 units; -1 = nowhere.</summary>
    internal void Report(int offset, string message)
    {
        if (++_count <= MaxReported)
            _issues.Add(new Issue(offset, message));
    }

    /// <summary>All of them in the order of their places.</summary>
    public override string ToString()
    {
        var lines = _issues.OrderBy(static issue => issue.Offset).Select(Show).ToList();
        if (_count > MaxReported)
            lines.Add(string.Create(CultureInfo.InvariantCulture, $"{_count - MaxReported} more errors were truncated"));
        return string.Join('\n', lines);
    }

    private string Show(Issue issue)
    {
        if (issue.Offset < 0)
            return $"ERROR: <input>:-1:0: {issue.Message}";
        int offset = Math.Min(issue.Offset, source.Length);
        int start = offset == 0 ? 0 : source.LastIndexOf('\n', offset - 1) + 1;
        int end = source.IndexOf('\n', start);
        string line = end < 0 ? source[start..] : source[start..end];
        int number = source.AsSpan(0, start).Count('\n') + 1;
        int column = CodePoints(source.AsSpan(start, offset - start));
        string head = string.Create(CultureInfo.InvariantCulture, $"ERROR: <input>:{number}:{column + 1}: {issue.Message}");
        return line.Length > MaxSnippetLength ? head : head + "\n | " + line.Replace('\t', ' ') + "\n | " + Caret(line, column);
    }

    // Wide characters get wide dots, so that the caret stands below its character.
    private static string Caret(string line, int column)
    {
        var text = new StringBuilder();
        foreach (var rune in line.EnumerateRunes())
        {
            if (column-- == 0)
                return text.Append(rune.IsAscii ? '^' : '\uff3e').ToString();
            text.Append(rune.IsAscii ? '.' : '\uff0e');
        }
        return text.Append('^').ToString();
    }

    internal static int CodePoints(ReadOnlySpan<char> text)
    {
        int count = text.Length;
        foreach (char unit in text)
        {
            if (char.IsLowSurrogate(unit))
                count--;
        }
        return count;
    }

    private readonly record struct Issue(int Offset, string Message);
}
