using System.Globalization;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>How a list's resourceVersion is to be taken.</summary>
internal enum VersionMatch : byte
{
    Unset,
    NotOlderThan,
    Exact,
}

/// <summary>The parameters of a list or watch, read and checked in upstream's order.</summary>
internal sealed class ListQuery
{
    // Upstream waits this long for a revision that has not arrived yet.
    private static readonly TimeSpan s_futureRevisionWait = TimeSpan.FromSeconds(3);

    internal required ObjectFilter Filter { get; init; }

    /// <summary>The resourceVersion; -1 when it is not given.</summary>
    internal required long Revision { get; init; }

    internal VersionMatch Match { get; init; }

    /// <summary>Objects on one page; 0 = all.</summary>
    internal long Limit { get; init; }

    internal ContinueToken? Continue { get; init; }

    internal bool AllowsBookmarks { get; init; }

    /// <summary>A watch begins with what is there; null = as the old rules have it.</summary>
    internal bool? SendsInitialEvents { get; init; }

    internal long? TimeoutSeconds { get; init; }

    /// <summary>A watch that shows the present state first.</summary>
    internal bool StartsWithState => SendsInitialEvents ?? Revision <= 0;

    /// <summary>A watch that ends the present state with an annotated bookmark: a streamed list.</summary>
    internal bool IsStreamedList => SendsInitialEvents == true && AllowsBookmarks;

    /// <summary>Reads the query of a list or (with <paramref name="isWatch"/>) a watch.</summary>
    /// <param name="call">The request.</param>
    /// <param name="endpoint">What is listed.</param>
    /// <param name="isWatch">The answer is a watch.</param>
    /// <param name="exactName">The one object that an old watch path names.</param>
    internal static ListQuery Read(ApiCall call, ResourceEndpoint endpoint, bool isWatch, string? exactName = null)
    {
        var versionText = call.QueryString("resourceVersion"u8) ?? "";
        var matchText = call.QueryString("resourceVersionMatch"u8) ?? "";
        var continueText = call.QueryString("continue"u8) ?? "";
        var sendInitial = call.Info.TryGetQuery("sendInitialEvents"u8, out var send) ? QueryReader.IsTrue(send) : (bool?)null;
        var timeout = call.QueryInt64("timeoutSeconds"u8);
        var limit = call.QueryInt64("limit"u8) ?? 0;

        // The old watch paths are no watches to the rules of parameters.
        var isWatchQuery = isWatch && !call.Info.IsWatchPath;
        if (isWatchQuery && sendInitial is null && matchText.Length == 0 && versionText is "" or "0")
        {
            sendInitial = true;
            matchText = "NotOlderThan";
        }
        Check(isWatchQuery, versionText, matchText, continueText, sendInitial);
        var filter = ObjectFilter.Parse(call, endpoint, exactName);
        var token = !isWatch && continueText.Length > 0 ? ContinueToken.Parse(continueText) : (ContinueToken?)null;
        if (token is not null && versionText is not ("" or "0"))
            throw ApiStatus.BadRequest("specifying resource version is not allowed when using continue").ToException();
        return new ListQuery
        {
            Filter = filter,
            Revision = RevisionOf(versionText, isWatch),
            Match = matchText switch { "NotOlderThan" => VersionMatch.NotOlderThan, "Exact" => VersionMatch.Exact, _ => VersionMatch.Unset },
            Limit = Math.Max(0, limit),
            Continue = token,
            AllowsBookmarks = call.QueryBool("allowWatchBookmarks"u8),
            SendsInitialEvents = sendInitial,
            TimeoutSeconds = timeout,
        };
    }

    /// <summary>A resourceVersion as a number, -1 when there is none; what is none is refused as upstream's storage words it.</summary>
    internal static long ParseRevision(string text)
    {
        if (text.Length == 0)
            return -1;
        // 2^63 and beyond are numbers upstream; here they are only further off than any revision.
        if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var revision))
            return (long)Math.Min(revision, long.MaxValue);
        throw ApiStatus.Unknown(BadRevision(text)).ToException();
    }

    /// <summary>The state that a list shows, by its resourceVersion; waits a little for a revision that is to come.</summary>
    internal async ValueTask<Snapshot> OpenSnapshotAsync(ResourceStorage storage, byte[] prefix, CancellationToken cancel)
    {
        var exact = Continue is { Revision: > 0 } token ? token.Revision
            : Continue is null && (Match == VersionMatch.Exact || Match == VersionMatch.Unset && Limit > 0) ? Revision : -1;
        if (exact > 0)
        {
            await WaitForAsync(storage, exact, cancel).ConfigureAwait(false);
            // Compacted is gone for everybody, though the ring may still have it: pages expire when upstream's do.
            if (storage.IsCompacted(exact))
                throw TooOld().ToException();
            if (storage.Cache.TryListAt(exact, prefix, out var old) && old is not null)
                return old;
            // The ring has forgotten it; the datastore may still know.
            return await storage.ListStoredAsync(exact, prefix, StartKey(prefix), cancel).ConfigureAwait(false) ?? throw TooOld().ToException();
        }
        if (Revision > 0 && Continue is null)
            await WaitForAsync(storage, Revision, cancel).ConfigureAwait(false);
        else if (Revision < 0)
            await storage.FreshenAsync(cancel).ConfigureAwait(false);
        return storage.Cache.List(Filter.ExactKey ?? prefix, Filter.Key);
    }

    /// <summary>The key that a list begins at; empty = the first.</summary>
    internal byte[] StartKey(byte[] prefix) => Continue?.KeyUnder(prefix) ?? [];

    /// <summary>
    /// For a watch: what it begins with is what was acknowledged by then on any server, and a revision that another server told is one that is shown here.
    /// </summary>
    internal ValueTask FreshenAsync(ResourceStorage storage, CancellationToken cancel) =>
        Revision < 0 || Revision > storage.CurrentRevision ? storage.FreshenAsync(cancel) : ValueTask.CompletedTask;

    /// <summary>Waits until the caches show a revision; refuses as upstream when it does not come.</summary>
    internal static ValueTask WaitForAsync(ResourceStorage storage, long revision, CancellationToken cancel) =>
        storage.CurrentRevision >= revision ? ValueTask.CompletedTask : WaitForSlowAsync(storage, revision, cancel);

    private static async ValueTask WaitForSlowAsync(ResourceStorage storage, long revision, CancellationToken cancel)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timeout.CancelAfter(s_futureRevisionWait);
        try
        {
            await storage.WaitForAsync(revision, timeout.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new ApiStatus
            {
                Code = 504,
                Reason = "Timeout",
                HasDetails = true,
                RetryAfterSeconds = 1,
                Causes = [new StatusCause("ResourceVersionTooLarge", "Too large resource version")],
                Message = $"Timeout: Too large resource version: {revision}, current: {storage.CurrentRevision}",
            }.ToException();
        }
    }

    /// <summary>The list's revision was compacted away.</summary>
    internal ApiStatus TooOld() => Continue is { } token
        ? new ApiStatus { Code = 410, Reason = "Expired", Message = ContinueExpired, Continue = token.WriteInconsistent() }
        : ApiStatus.Expired("The resourceVersion for the provided list is too old.");

    private const string ContinueExpired =
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, "
        + "or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an "
        + "inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

    private static long RevisionOf(string text, bool isWatch)
    {
        try
        {
            return ParseRevision(text);
        }
        catch (ApiStatusException) when (!isWatch)
        {
            throw ApiStatus.BadRequest($"invalid resource version: {BadRevision(text)}").ToException();
        }
    }

    private static string BadRevision(string text) =>
        $"resourceVersion: Invalid value: {GoText.Quote(text)}: strconv.ParseUint: parsing {GoText.Quote(text)}: "
        + (text.AsSpan().IndexOfAnyExceptInRange('0', '9') < 0 ? "value out of range" : "invalid syntax");

    private static void Check(bool isWatch, string version, string match, string token, bool? sendInitial)
    {
        var errors = new FieldErrorList();
        if (isWatch)
            CheckWatch(errors, match, token, sendInitial);
        else
            CheckList(errors, version, match, token, sendInitial);
        if (errors.Count > 0)
            throw ApiStatus.Invalid("meta.k8s.io", "ListOptions", "", errors).ToException();
    }

    private static void CheckList(FieldErrorList errors, string version, string match, string token, bool? sendInitial)
    {
        if (match.Length > 0)
        {
            if (version.Length == 0)
                errors.Forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
            if (token.Length > 0)
                errors.Forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
            if (match is not ("Exact" or "NotOlderThan"))
                errors.NotSupported("resourceVersionMatch", match, "Exact", "NotOlderThan", "");
            if (match == "Exact" && version == "0")
                errors.Forbidden("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        if (sendInitial is not null)
            errors.Forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }

    private static void CheckWatch(FieldErrorList errors, string match, string token, bool? sendInitial)
    {
        if (sendInitial is not null && match != "NotOlderThan")
            errors.Forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        if (match.Length == 0)
            return;
        if (sendInitial is null)
            errors.Forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        if (match != "NotOlderThan")
            errors.NotSupported("resourceVersionMatch", match, "NotOlderThan");
        if (token.Length > 0)
            errors.Forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
    }
}
