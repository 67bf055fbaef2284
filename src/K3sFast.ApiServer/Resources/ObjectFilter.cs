using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>Label and field selector of one list or watch, matched on what the cache keeps at hand. Matching allocates nothing.</summary>
internal sealed class ObjectFilter
{
    private enum Source : byte
    {
        Field,
        Name,
        Namespace,
        Missing,
    }

    private readonly LabelSelector? _labels;
    private readonly Term[] _terms;

    private ObjectFilter(LabelSelector? labels, Term[] terms)
    {
        _labels = labels;
        _terms = terms;
        IsEmpty = labels is null && terms.Length == 0;
    }

    /// <summary>Everything matches.</summary>
    internal bool IsEmpty { get; }

    /// <summary>The name that the selector asks for, when it can match one object only.</summary>
    internal string? ExactName { get; private init; }

    /// <summary>What of the cache can match at all: lists look there alone, and watches wake for nothing else. None = everything.</summary>
    internal IndexKey Key { get; private init; }

    /// <summary>The datastore key of the one object that can match; null when there may be several.</summary>
    internal byte[]? ExactKey { get; private init; }

    /// <summary>Makes the filter of a request's query; broken selectors are refused with 400 in upstream's words.</summary>
    internal static ObjectFilter Parse(ApiCall call, ResourceEndpoint endpoint, string? exactName)
    {
        var labelText = call.QueryString("labelSelector"u8);
        var fieldText = call.QueryString("fieldSelector"u8);
        var labels = string.IsNullOrEmpty(labelText) ? null : LabelSelector.Parse(labelText);
        var terms = new List<Term>();
        string? name = null;
        if (!string.IsNullOrEmpty(fieldText))
        {
            foreach (var term in FieldSelector.Parse(fieldText, endpoint.Info).Terms)
            {
                var made = TermOf(term, endpoint);
                if (made.Source == Source.Name && made.IsEqual)
                    name = term.Value;
                terms.Add(made);
            }
        }
        // The watch of one object, asked for by path; a field selector beside it may only say the same.
        if (exactName is not null && terms.Count > 0)
        {
            if (name != exactName)
                throw ApiStatus.BadRequest("fieldSelector metadata.name doesn't match requested name").ToException();
        }
        else if (exactName is not null)
        {
            terms.Add(new Term(Source.Name, 0, true, Encoding.UTF8.GetBytes(exactName)));
            name = exactName;
        }
        var exactKey = endpoint.Storage is { } storage && !string.IsNullOrEmpty(name) && (!endpoint.Info.Namespaced || !call.Info.Namespace.IsEmpty)
            ? Encoding.UTF8.GetBytes(storage.KeyOf(Encoding.UTF8.GetString(call.Info.Namespace), name)) : null;
        return new ObjectFilter(labels, [.. terms])
        {
            ExactName = name,
            ExactKey = exactKey,
            Key = exactKey is not null ? WatchCache.WatchCache.KeyOfObject(exactKey) : KeyOf(endpoint, terms, labels),
        };
    }

    // The narrowest that there is.
    private static IndexKey KeyOf(ResourceEndpoint endpoint, List<Term> terms, LabelSelector? labels)
    {
        if (endpoint.Storage is not { } storage)
            return default;
        foreach (var term in terms)
        {
            if (term.Source == Source.Field && term.IsEqual && term.Fallback < 0 && storage.Cache.KeyOfField(storage.FieldPaths[term.Index], term.Value) is { IsNone: false } key)
                return key;
        }
        foreach (var requirement in labels?.Requirements ?? [])
        {
            if (requirement.Operator is LabelOperator.Equals or LabelOperator.DoubleEquals && requirement.Values.Count == 1
                && storage.Cache.KeyOfLabel(Encoding.UTF8.GetBytes(requirement.Key), Encoding.UTF8.GetBytes(requirement.Values[0])) is { IsNone: false } key)
            {
                return key;
            }
        }
        return default;
    }

    internal bool Matches(StoredObject item)
    {
        foreach (var term in _terms)
        {
            var value = term.Source switch
            {
                Source.Name => item.NameUtf8,
                Source.Namespace => item.NamespaceUtf8,
                Source.Field => item.Field(term.Index),
                _ => default,
            };
            // Upstream's selectable fields are Go values: an absent boolean is "false" there.
            if (term.IsBoolean && value.IsEmpty)
                value = "false"u8;
            if (term.Fallback >= 0 && value.IsEmpty)
                value = item.Field(term.Fallback);
            if (value.SequenceEqual(term.Value) != term.IsEqual)
                return false;
        }
        return _labels is null || _labels.Matches(item.LabelsJson);
    }

    private static Term TermOf(FieldTerm term, ResourceEndpoint endpoint)
    {
        var value = Encoding.UTF8.GetBytes(term.Value);
        if (term.Path == "metadata.name")
            return new Term(Source.Name, 0, term.IsEqual, value);
        if (term.Path == "metadata.namespace")
            return new Term(Source.Namespace, 0, term.IsEqual, value);
        var path = VersionConversion.StoredPath(endpoint.Info, term.Path);
        var index = IndexOf(endpoint.Storage!.FieldPaths, path);
        if (index < 0)
            return new Term(Source.Missing, 0, term.IsEqual, value);
        return new Term(Source.Field, index, term.IsEqual, value)
        {
            IsBoolean = path is "spec.unschedulable" or "spec.hostNetwork",
            // Events of events.k8s.io name their source by the reporting component only.
            Fallback = path == "source.component" ? IndexOf(endpoint.Storage.FieldPaths, "reportingComponent") : -1,
        };
    }

    private static int IndexOf(IReadOnlyList<string> paths, string path)
    {
        for (var i = 0; i < paths.Count; i++)
        {
            if (paths[i] == path)
                return i;
        }
        return -1;
    }

    private readonly record struct Term(Source Source, int Index, bool IsEqual, byte[] Value)
    {
        internal bool IsBoolean { get; init; }

        // The field that stands in for an empty one; -1 = none.
        internal int Fallback { get; init; } = -1;
    }
}
