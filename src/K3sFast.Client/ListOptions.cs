using System.Text;

namespace K3sFast.Client;

/// <summary>What a list or watch is narrowed to.</summary>
public readonly record struct ListOptions(
    string? LabelSelector = null,
    string? FieldSelector = null,
    string? ResourceVersion = null,
    int Limit = 0,
    string? Continue = null)
{
    /// <summary>The query string with its question mark, or "" when nothing is set.</summary>
    internal string ToQuery(bool isWatch = false, int timeoutSeconds = 0)
    {
        var query = new StringBuilder();
        if (isWatch) query.Append("&watch=true&allowWatchBookmarks=true");
        if (timeoutSeconds > 0) query.Append("&timeoutSeconds=").Append(timeoutSeconds);
        Add("labelSelector", LabelSelector);
        Add("fieldSelector", FieldSelector);
        Add("resourceVersion", ResourceVersion);
        Add("continue", Continue);
        if (Limit > 0) query.Append("&limit=").Append(Limit);
        if (query.Length > 0) query[0] = '?';
        return query.ToString();

        void Add(string name, string? value)
        {
            if (!string.IsNullOrEmpty(value)) query.Append('&').Append(name).Append('=').Append(Uri.EscapeDataString(value));
        }
    }
}
