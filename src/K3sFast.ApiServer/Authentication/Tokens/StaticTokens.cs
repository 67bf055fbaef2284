using System.Text;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>Tokens from a file of comma separated values: token, user name, uid and, optionally, the groups in one quoted column. Read once.</summary>
internal sealed class StaticTokens : ITokenAuthenticator
{
    private readonly Dictionary<string, UserInfo> _users = new(StringComparer.Ordinal);

    /// <exception cref="ApiServerStartException">The file cannot be read or a line has too few columns.</exception>
    internal StaticTokens(string path, ILogger logger)
    {
        string text;
        try
        {
            text = File.ReadAllText(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new ApiServerStartException($"open {path}: {error.Message}", error);
        }
        var number = 0;
        foreach (var record in Records(text))
        {
            if (record.Count < 3)
                throw new ApiServerStartException($"token file '{path}' must have at least 3 columns (token, user name, user uid), found {record.Count}");
            number++;
            if (record[0].Length == 0)
            {
                Log.TokenFile(logger, "empty", path, number);
                continue;
            }
            if (_users.ContainsKey(record[0]))
                Log.TokenFile(logger, "duplicate", path, number);
            _users[record[0]] = new UserInfo(record[1], record.Count > 3 ? record[3].Split(',') : [], record[2]);
        }
    }

    public ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question) => new(new TokenVerdict(_users.GetValueOrDefault(question.Token)));

    // RFC 4180: quotes keep commas and line ends, two of them are one; empty lines are no records.
    private static IEnumerable<List<string>> Records(string text)
    {
        var record = new List<string>();
        var field = new StringBuilder();
        var isQuoted = false;
        var hasQuotes = false;
        for (var i = 0; i <= text.Length; i++)
        {
            var c = i < text.Length ? text[i] : '\n';
            if (isQuoted && i < text.Length)
            {
                if (c != '"')
                    field.Append(c);
                else if (i + 1 < text.Length && text[i + 1] == '"')
                    field.Append(text[i++]);
                else
                    isQuoted = false;
                continue;
            }
            switch (c)
            {
                case '"' when field.Length == 0 && !hasQuotes:
                    isQuoted = hasQuotes = true;
                    break;
                case '\r' when i + 1 >= text.Length || text[i + 1] == '\n':
                    break;
                case ',' or '\n':
                    if (c == '\n' && record.Count == 0 && field.Length == 0 && !hasQuotes)
                        break;
                    record.Add(field.ToString());
                    field.Clear();
                    hasQuotes = false;
                    if (c == ',')
                        break;
                    yield return record;
                    record = [];
                    break;
                default:
                    field.Append(c);
                    break;
            }
        }
    }
}
