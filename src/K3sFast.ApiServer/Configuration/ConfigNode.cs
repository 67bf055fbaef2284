using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// A part of a configuration file with its path, read strictly: every member is asked for by name, and what nobody asked for is an error, as are
/// values of the wrong kind. Errors are collected, so that a user sees all of them at once.
/// </summary>
internal readonly struct ConfigNode
{
    private readonly ApiNode _node;
    private readonly List<string> _errors;
    private readonly HashSet<string>? _asked;

    internal ConfigNode(ApiNode node, string path, List<string> errors)
    {
        _node = node;
        Path = path;
        _errors = errors;
        _asked = node.Kind == NodeKind.Object ? [] : null;
        if (!node.IsNullOrUndefined && node.Kind != NodeKind.Object)
            errors.Add($"{path}: an object is expected");
    }

    internal string Path { get; }

    internal bool IsPresent => _node.Kind == NodeKind.Object;

    internal string PathOf(string name) => Path.Length == 0 ? name : $"{Path}.{name}";

    internal bool Has(string name) => !Raw(name).IsNullOrUndefined;

    /// <summary>A string; "" when absent.</summary>
    internal string Text(string name)
    {
        var value = Raw(name);
        if (value.IsNullOrUndefined)
            return "";
        if (value.Kind == NodeKind.String)
            return value.AsString();
        _errors.Add($"{PathOf(name)}: a string is expected");
        return "";
    }

    internal bool Bool(string name, bool fallback = false)
    {
        var value = Raw(name);
        if (value.Kind is not (NodeKind.True or NodeKind.False) && !value.IsNullOrUndefined)
            _errors.Add($"{PathOf(name)}: true or false is expected");
        return value.AsBool(fallback);
    }

    internal TimeSpan Duration(string name, TimeSpan fallback = default)
    {
        var text = Text(name);
        if (text.Length == 0)
            return fallback;
        if (!GoDuration.TryParse(text, out var duration, out var error))
            _errors.Add($"{PathOf(name)}: {error}");
        return duration == default ? fallback : duration;
    }

    internal ConfigNode Object(string name) => new(Raw(name), PathOf(name), _errors);

    internal List<ConfigNode> Objects(string name)
    {
        var items = new List<ConfigNode>();
        var value = Raw(name);
        if (!value.IsNullOrUndefined && value.Kind != NodeKind.Array)
            _errors.Add($"{PathOf(name)}: a list is expected");
        foreach (var element in value.Elements)
            items.Add(new ConfigNode(element, $"{PathOf(name)}[{items.Count}]", _errors));
        return items;
    }

    internal List<string> Texts(string name)
    {
        var items = new List<string>();
        var value = Raw(name);
        if (!value.IsNullOrUndefined && value.Kind != NodeKind.Array)
            _errors.Add($"{PathOf(name)}: a list is expected");
        foreach (var element in value.Elements)
        {
            if (element.Kind != NodeKind.String)
                _errors.Add($"{PathOf(name)}[{items.Count}]: a string is expected");
            items.Add(element.AsString());
        }
        return items;
    }

    internal void Fail(string error) => _errors.Add(error);

    /// <summary>To be called after the last question: members that nobody asked for are unknown.</summary>
    internal void Close()
    {
        if (_asked is null)
            return;
        foreach (var member in _node.Members)
        {
            var name = Encoding.UTF8.GetString(member.Name);
            if (!_asked.Contains(name))
                _errors.Add($"unknown field {GoText.Quote(PathOf(name))}");
        }
    }

    private ApiNode Raw(string name)
    {
        _asked?.Add(name);
        return _node[Encoding.UTF8.GetBytes(name)];
    }
}
