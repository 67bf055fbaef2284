using System.Text;

namespace K3sFast.ApiServer;

/// <summary>A part of the request target's decoded bytes.</summary>
internal readonly record struct Slice(int Start, int Length)
{
    internal bool IsEmpty => Length == 0;

    internal int End => Start + Length;
}

/// <summary>
/// What a request is about, read off its target without making strings. The rules are upstream's request info resolver:
/// <c>/api/v1/namespaces/{ns}/{resource}/{name}/{subresource}</c>, <c>/apis/{group}/{version}/…</c>, everything else is a path.
/// </summary>
/// <remarks>A view of the bytes that <see cref="TryParse"/> was given; valid as long as they are. Parsing allocates nothing.</remarks>
internal readonly struct RequestInfo
{
    /// <summary>Longer targets are refused with 414. Upstream's bound: a target is a header to Go, and all headers together have 1 MiB.</summary>
    internal const int MaxTargetBytes = 1024 * 1024;

    // The path's bytes are percent-decoded in place; the query behind it stays escaped.
    private readonly byte[] _text;
    private readonly Slice _path, _query, _group, _version, _resource, _subresource, _name, _namespace, _rest;

    private RequestInfo(
        byte[] text, Slice path, Slice query, Verb verb, bool isResource = false, bool isWatchPath = false, bool isMalformed = false,
        Slice group = default, Slice version = default, Slice resource = default, Slice subresource = default, Slice name = default,
        Slice ns = default, Slice rest = default, bool isGroupless = false)
    {
        _text = text;
        _path = path;
        _query = query;
        _group = group;
        _version = version;
        _resource = resource;
        _subresource = subresource;
        _name = name;
        _namespace = ns;
        _rest = rest;
        Verb = verb;
        IsResourceRequest = isResource;
        IsWatchPath = isWatchPath;
        IsMalformed = isMalformed;
        IsGroupless = isGroupless;
    }

    /// <summary>What is to be done.</summary>
    internal Verb Verb { get; }

    /// <summary>False for paths such as /version.</summary>
    internal bool IsResourceRequest { get; }

    /// <summary>The old form /api/v1/watch/….</summary>
    internal bool IsWatchPath { get; }

    /// <summary>/api/v1/watch with nothing behind it: upstream cannot tell the resource and answers 500 there; we answer 400.</summary>
    internal bool IsMalformed { get; }

    /// <summary>Under /api, not /apis.</summary>
    internal bool IsGroupless { get; }

    internal ReadOnlySpan<byte> Path => Of(_path);

    /// <summary>Everything behind the question mark, still escaped.</summary>
    internal ReadOnlySpan<byte> Query => Of(_query);

    internal ReadOnlySpan<byte> Group => Of(_group);

    internal ReadOnlySpan<byte> Version => Of(_version);

    internal ReadOnlySpan<byte> Resource => Of(_resource);

    internal ReadOnlySpan<byte> Subresource => Of(_subresource);

    internal ReadOnlySpan<byte> Name => Of(_name);

    internal ReadOnlySpan<byte> Namespace => Of(_namespace);

    /// <summary>Everything behind the subresource with its leading slash: the target of a proxy request.</summary>
    internal ReadOnlySpan<byte> Rest => Of(_rest);

    internal string NameText => Encoding.UTF8.GetString(Name);

    internal string NamespaceText => Encoding.UTF8.GetString(Namespace);

    /// <summary>Reads a query parameter's raw value (the first of that name).</summary>
    internal bool TryGetQuery(ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value) => QueryReader.TryGet(Query, name, out value);

    /// <summary>
    /// Parses a target (<c>/path?query</c>) that lies in <paramref name="text"/>, which is decoded in place and must stay untouched
    /// while the result is used. False when the path's escapes are broken.
    /// </summary>
    internal static bool TryParse(byte[] text, int length, ReadOnlySpan<char> method, out RequestInfo info)
    {
        var target = text.AsSpan(0, length);
        var questionMark = target.IndexOf((byte)'?');
        var pathLength = questionMark < 0 ? length : questionMark;
        var query = questionMark < 0 ? default : new Slice(questionMark + 1, length - questionMark - 1);
        if (target[..pathLength].Contains((byte)'%') && !PercentEncoding.TryDecodeInPlace(target[..pathLength], out pathLength))
        {
            info = default;
            return false;
        }
        info = Parse(text, new Slice(0, pathLength), query, method);
        return true;
    }

    private static RequestInfo Parse(byte[] text, Slice path, Slice query, ReadOnlySpan<char> method)
    {
        var parts = new PartReader(text, path);
        var methodVerb = PathVerb(method);
        var isGroupless = false;
        // A doubled slash in front is no API path, as upstream's mux sees it.
        if (path.Length > 1 && text[path.Start + 1] == '/')
            return new RequestInfo(text, path, query, methodVerb);
        // At least three parts make a resource: prefix, version, resource; one more with a group.
        if (parts.Count < 3 || !(isGroupless = parts.Is(0, "api"u8)) && !parts.Is(0, "apis"u8) || !isGroupless && parts.Count < 4)
            return new RequestInfo(text, path, query, methodVerb);

        var next = 1;
        var group = isGroupless ? default : parts[next++];
        var version = parts[next++];
        var verb = ResourceVerb(method);
        var isWatchPath = false;
        if (parts.Is(next, "watch"u8) || parts.Is(next, "proxy"u8))
        {
            isWatchPath = parts.Is(next, "watch"u8);
            if (parts.Count < next + 2)
                return new RequestInfo(text, path, query, methodVerb, isResource: true, isMalformed: true, group: group, version: version, isGroupless: isGroupless);
            verb = isWatchPath ? Verb.Watch : Verb.Proxy;
            next++;
        }

        Slice ns = default;
        if (parts.Is(next, "namespaces"u8) && parts.Count > next + 1)
        {
            ns = parts[next + 1];
            if (parts.Count > next + 2 && !parts.Is(next + 2, "status"u8) && !parts.Is(next + 2, "finalize"u8))
                next += 2;
        }
        var resource = parts[next];
        var name = parts.Count > next + 1 ? parts[next + 1] : default;
        var subresource = parts.Count > next + 2 && !isWatchPath && verb != Verb.Proxy ? parts[next + 2] : default;
        // The old watch paths have no subresource: whatever follows the name is rest.
        var behind = isWatchPath ? next + 1 : next + 2;
        var rest = parts.Count > behind ? new Slice(parts[behind].End, path.End - parts[behind].End) : default;

        if (name.IsEmpty && verb == Verb.Get)
            verb = NarrowRead(text, query, ref name);
        else if (name.IsEmpty && verb == Verb.Delete)
            verb = Verb.DeleteCollection;
        return new RequestInfo(text, path, query, verb, true, isWatchPath, false, group, version, resource, subresource, name, ns, rest, isGroupless);
    }

    // A read without a name is a list or a watch; a selector on metadata.name names the object for authorization.
    private static Verb NarrowRead(byte[] text, Slice query, ref Slice name)
    {
        if (query.IsEmpty)
            return Verb.List;
        var bytes = text.AsSpan(query.Start, query.Length);
        var isWatch = QueryReader.TryGet(bytes, "watch"u8, out var watch) && QueryReader.IsTrue(watch);
        if (QueryReader.TryGet(bytes, "fieldSelector"u8, out var selector) && FindExactName(selector, out var start, out var length))
        {
            var valueOffset = query.Start + (int)System.Runtime.CompilerServices.Unsafe.ByteOffset(
                ref System.Runtime.InteropServices.MemoryMarshal.GetReference(bytes), ref System.Runtime.InteropServices.MemoryMarshal.GetReference(selector));
            name = new Slice(valueOffset + start, length);
        }
        return isWatch ? Verb.Watch : Verb.List;
    }

    /// <summary>Finds <c>metadata.name=x</c> among the terms of a (still escaped) field selector. Names never need escapes, so escaped ones do not count.</summary>
    private static bool FindExactName(ReadOnlySpan<byte> selector, out int start, out int length)
    {
        start = length = 0;
        var offset = 0;
        while (offset < selector.Length)
        {
            var term = selector[offset..];
            var comma = term.IndexOf((byte)',');
            var escapedComma = term.IndexOf("%2C"u8);
            if (escapedComma < 0)
                escapedComma = term.IndexOf("%2c"u8);
            var end = comma >= 0 && (escapedComma < 0 || comma < escapedComma) ? comma : escapedComma;
            var skip = end == comma ? 1 : 3;
            if (end < 0)
                end = term.Length;
            term = term[..end];
            if (term.StartsWith("metadata.name"u8))
            {
                var rest = term["metadata.name"u8.Length..];
                var equals = 0;
                while (true)
                {
                    if (rest.StartsWith("="u8)) equals += 1;
                    else if (rest.StartsWith("%3D"u8) || rest.StartsWith("%3d"u8)) equals += 3;
                    else break;
                    rest = term["metadata.name"u8.Length..][equals..];
                }
                if (equals > 0 && rest.Length > 0 && !rest.ContainsAny((byte)'%', (byte)'/'))
                {
                    start = offset + term.Length - rest.Length;
                    length = rest.Length;
                    return true;
                }
            }
            offset += end + skip;
        }
        return false;
    }

    private static Verb ResourceVerb(ReadOnlySpan<char> method) => method switch
    {
        "GET" or "HEAD" => Verb.Get,
        "POST" => Verb.Create,
        "PUT" => Verb.Update,
        "PATCH" => Verb.Patch,
        "DELETE" => Verb.Delete,
        _ => Verb.Other,
    };

    private static Verb PathVerb(ReadOnlySpan<char> method) => method switch
    {
        "GET" => Verb.Get,
        "HEAD" => Verb.Head,
        "POST" => Verb.Post,
        "PUT" => Verb.Put,
        "PATCH" => Verb.Patch,
        "DELETE" => Verb.Delete,
        "OPTIONS" => Verb.Options,
        _ => Verb.Other,
    };

    private ReadOnlySpan<byte> Of(Slice slice) => slice.IsEmpty ? default : _text.AsSpan(slice.Start, slice.Length);

    /// <summary>The path cut at slashes, outer slashes dropped; an empty part between two slashes stays a part, as upstream's split leaves it.</summary>
    private ref struct PartReader
    {
        // Deeper paths than this only exist behind proxy subresources, where the rest is not looked at.
        private const int MaxParts = 10;

        private readonly ReadOnlySpan<byte> _text;
        private Parts _parts;

        internal PartReader(byte[] text, Slice path)
        {
            _text = text;
            int start = path.Start, end = path.End;
            while (start < end && text[start] == '/')
                start++;
            while (end > start && text[end - 1] == '/')
                end--;
            while (start <= end && end > path.Start && Count < MaxParts)
            {
                var slash = text.AsSpan(start, end - start).IndexOf((byte)'/');
                var stop = slash < 0 ? end : start + slash;
                _parts[Count++] = new Slice(start, stop - start);
                if (slash < 0)
                    break;
                start = stop + 1;
            }
        }

        internal int Count { get; private set; }

        internal readonly Slice this[int index] => _parts[index];

        internal readonly bool Is(int index, ReadOnlySpan<byte> word) =>
            index < Count && _text.Slice(_parts[index].Start, _parts[index].Length).SequenceEqual(word);

        [System.Runtime.CompilerServices.InlineArray(MaxParts)]
        private struct Parts
        {
            private Slice _first;
        }
    }
}
