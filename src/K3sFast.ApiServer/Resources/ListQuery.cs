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

/// <summary>The parameters of a list or watch, read and checked.</summary>
internal sealed class ListQuery
{
    // Upstream waits this long for a revision that has not arrived yet.
    private static readonly TimeSpan s_futureRevisionWait = TimeSpan.FromSeconds(3);

    internal required ObjectFilter Filter { get; init; }

    /// <summary>The resourceVersion; -1 when it is not given.</summary>
    internal required long Revision { get; init; }

    internal VersionMatch Match { get; init; }

    internal long Limit { get; init; }

    internal ContinueToken? Continue { get; init; }

    internal bool AllowsBookmarks { get; init; }

    internal bool SendsInitialEvents { get; init; }

    internal long? TimeoutSeconds { get; init; }

    /// <summary>Reads the query of a list or (with <paramref name="isWatch"/>) a watch.</summary>
    internal static ListQuery Read(ApiCall call, ResourceEndpoint endpoint, bool isWatch, string? exactName = null)
    {
        var errors = new FieldErrorList();
        var versionText = call.QueryString("resourceVersion"u8) ?? "";
        var matchText = call.QueryString("resourceVersionMatch"u8) ?? "";
        var continueText = call.QueryString("continue"u8) ?? "";
        var sendInitial = call.Info.TryGetQuery("sendInitialEvents"u8, out var send) ? QueryReader.IsTrue(send) : (bool?)null;

        var match = matchText switch { "" => VersionMatch.Unset, "NotOlderThan" => VersionMatch.NotOlderThan, "Exact" => VersionMatch.Exact, _ => VersionMatch.Unset };
        if (isWatch)
            CheckWatch(errors, matchText, sendInitial);
        else
            CheckList(errors, versionText, matchText, continueText, sendInitial);
        if (errors.Count > 0)
            throw ApiStatus.Invalid("meta.k8s.io", "ListOptions", "", errors).ToException();

        var revision = -1L;
        if (versionText.Length > 0 && (!long.TryParse(versionText, NumberStyles.None, CultureInfo.InvariantCulture, out revision) || revision < 0))
        {
            throw ApiStatus.BadRequest($"Invalid value: {GoText.Quote(versionText)}: strconv.ParseUint: parsing {GoText.Quote(versionText)}: invalid syntax").ToException();
        }
        var limit = call.QueryInt64("limit"u8) ?? 0;
        return new ListQuery
        {
            Filter = ObjectFilter.Parse(call, endpoint, exactName),
            Revision = revision,
            Match = match,
            Limit = Math.Max(0, limit),
            Continue = !isWatch && continueText.Length > 0 ? ContinueToken.Parse(continueText) : null,
            AllowsBookmarks = call.QueryBool("allowWatchBookmarks"u8),
            SendsInitialEvents = sendInitial ?? false,
            TimeoutSeconds = call.QueryInt64("timeoutSeconds"u8),
        };
    }

    /// <summary>The state that a list shows, by its resourceVersion; waits a little for a revision that is to come.</summary>
    internal async ValueTask<Snapshot> OpenSnapshotAsync(ResourceStorage storage, byte[] prefix, CancellationToken cancel)
    {
        var exact = Continue is { Revision: > 0 } token ? token.Revision : Match == VersionMatch.Exact ? Revision : -1;
        if (exact > 0)
        {
            await WaitForAsync(storage, exact, cancel).ConfigureAwait(false);
            if (storage.Cache.TryListAt(exact, prefix, out var old) && old is not null)
                return old;
            throw ApiStatus.Expired(Continue is null ? "The resourceVersion for the provided list is too old." : ContinueExpired).ToException();
        }
        if (Revision > 0 && Continue is null)
            await WaitForAsync(storage, Revision, cancel).ConfigureAwait(false);
        return storage.Cache.List(prefix);
    }

    /// <summary>Waits until the caches show a revision; refuses as upstream when it does not come.</summary>
    internal static async ValueTask WaitForAsync(ResourceStorage storage, long revision, CancellationToken cancel)
    {
        if (storage.CurrentRevision >= revision)
            return;
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

    private const string ContinueExpired =
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, "
        + "or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an "
        + "inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

    private static void CheckList(FieldErrorList errors, string version, string match, string token, bool? sendInitial)
    {
        if (sendInitial is not null)
            errors.Forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
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
        if (token.Length > 0 && version.Length > 0 && version != "0" && match.Length == 0)
            throw ApiStatus.BadRequest("specifying resource version is not allowed when using continue").ToException();
    }

    private static void CheckWatch(FieldErrorList errors, string match, bool? sendInitial)
    {
        if (sendInitial is not null)
        {
            if (match != "NotOlderThan")
                errors.Forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        else if (match.Length > 0)
        {
            errors.Forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
    }
}
