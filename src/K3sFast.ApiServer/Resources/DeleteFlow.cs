using System.Globalization;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>What a delete is asked to do (body or query parameters).</summary>
internal sealed record DeleteOptions
{
    internal long? GracePeriodSeconds { get; init; }

    /// <summary>"", Orphan, Background or Foreground.</summary>
    internal string Propagation { get; init; } = "";

    /// <summary>Said by orphanDependents=false, the oldest way.</summary>
    internal bool DeniesOrphans { get; init; }

    internal string? Uid { get; init; }

    internal string? ResourceVersion { get; init; }

    internal bool IsDryRun { get; init; }

    internal static DeleteOptions Read(ApiCall call, ReadOnlySpan<byte> body)
    {
        ApiObject? document = null;
        ApiNode root = default;
        try
        {
            if (!body.IsEmpty)
            {
                var type = Schema.BuiltIn.FindType("", "v1", "DeleteOptions") ?? throw new InvalidOperationException("the schema has no DeleteOptions");
                document = Decode(call, body, type);
                root = document.Root;
            }
            // Who sends a body says everything there.
            var hasBody = root.IsDefined;
            var grace = root["gracePeriodSeconds"u8].TryGetInt64(out var seconds) ? seconds : hasBody ? (long?)null : call.QueryInt64("gracePeriodSeconds"u8);
            var propagation = Word(root["propagationPolicy"u8]) ?? (hasBody ? null : call.QueryString("propagationPolicy"u8)) ?? "";
            var orphan = root["orphanDependents"u8];
            bool? orphans = orphan.IsNullOrUndefined
                ? !hasBody && call.Info.TryGetQuery("orphanDependents"u8, out var value) ? QueryReader.IsTrue(value) : null
                : orphan.AsBool();
            var dryRun = hasBody ? Words(root["dryRun"u8]) : QueryReader.GetAll(call.Info.Query, "dryRun"u8);
            if (!hasBody)
                dryRun.RemoveAll(static word => word.Length == 0);
            Check(propagation, orphans, dryRun);
            if (orphans is { } flag)
                propagation = flag ? "Orphan" : "Background";
            return new DeleteOptions
            {
                GracePeriodSeconds = grace,
                Propagation = propagation,
                DeniesOrphans = orphans == false,
                Uid = Word(root["preconditions"u8]["uid"u8]),
                ResourceVersion = Word(root["preconditions"u8]["resourceVersion"u8]),
                IsDryRun = dryRun.Count > 0,
            };
        }
        finally
        {
            document?.Dispose();
        }
    }

    /// <summary>The texts of a list.</summary>
    internal static List<string> Words(ApiNode list)
    {
        var words = new List<string>(list.Count);
        foreach (var word in list.Elements)
            words.Add(word.AsString());
        return words;
    }

    private static string? Word(ApiNode node) => node.Utf8.IsEmpty ? null : node.AsString();

    // Upstream reads these options by a scheme that knows nothing else, and says what is wrong without the usual introduction.
    private static ApiObject Decode(ApiCall call, ReadOnlySpan<byte> body, TypeSchema type)
    {
        const string Unrecognized = "the object provided is unrecognized (must be of type DeleteOptions): ";
        const string Mistyped = " cannot be handled as a DeleteOptions: ";
        try
        {
            return BodyDecoder.Decode(call, body, type, FieldValidation.Ignore);
        }
        catch (ApiStatusException refused) when (refused.Status.Message.StartsWith(Unrecognized, StringComparison.Ordinal))
        {
            var message = refused.Status.Message;
            throw ApiStatus.BadRequest(message[Unrecognized.Length..message.LastIndexOf(" (", StringComparison.Ordinal)]).ToException();
        }
        catch (ApiStatusException refused) when (refused.Status.Message.Contains(Mistyped, StringComparison.Ordinal))
        {
            var message = refused.Status.Message;
            if (message.StartsWith("DeleteOptions in version ", StringComparison.Ordinal))
                throw ApiStatus.BadRequest(message[(message.IndexOf(Mistyped, StringComparison.Ordinal) + Mistyped.Length)..]).ToException();
            var (kind, version) = BodyDecoder.KindOf(call, body);
            throw ApiStatus.BadRequest(
                $"no kind {GoText.Quote(kind)} is registered for version {GoText.Quote(version)} in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"").ToException();
        }
    }

    /// <summary>Refuses policies and dry runs that nobody knows, and two words for one thing.</summary>
    internal static void Check(string propagation, bool? orphans, List<string> dryRun)
    {
        var errors = new FieldErrorList();
        if (propagation.Length > 0 && orphans is not null)
            errors.Invalid("propagationPolicy", propagation, "orphanDependents and deletionPropagation cannot be both set");
        if (propagation is not ("" or "Orphan" or "Background" or "Foreground"))
            errors.NotSupported("propagationPolicy", propagation, "Foreground", "Background", "Orphan", "nil");
        BodyDecoder.CheckDryRun(errors, dryRun);
        if (errors.Count > 0)
            throw ApiStatus.Invalid("meta.k8s.io", "DeleteOptions", "", errors).ToException();
    }
}

/// <summary>Deletes: gracefully where the kind can (pods), held back by finalizers, by propagation policy; otherwise at once.</summary>
internal sealed class DeleteFlow(WriteFlow writes, TimeProvider clock)
{
    private const int MaxConflictRetries = 10;

    /// <summary>Deletes one object. IsDeleted tells whether it is gone already.</summary>
    /// <remarks>A pod goes in two writes even when nobody waits for its end, so that every watcher sees it marked before it sees it gone.</remarks>
    internal async ValueTask<WriteAnswer> DeleteAsync(ResourceStorage storage, WriteContext context, DeleteOptions options)
    {
        StoredObject? marked = null;
        try
        {
            for (var tries = 0; ; tries++)
            {
                using var current = storage.Get(context.Namespace, context.Name);
                if (current is null)
                    return marked is null ? throw ApiStatus.NotFound(storage.Info.Group, storage.Info.Resource, context.Name).ToException() : AnswerOf(marked, isDeleted: true);
                using var old = storage.Decode(current);
                CheckPreconditions(storage.Info, old.Root, current.Revision.ToString(CultureInfo.InvariantCulture), context.Name, options);
                if (tries == 0 && !context.IsAdmitted)
                    await writes.AdmitDeleteAsync(storage, old.Root, context).ConfigureAwait(false);

                using var document = old.Clone();
                var isMarked = Mark(storage.Info, document.Root, options);
                var isReady = WriteFlow.IsReadyToGo(storage.Info, document.Root);
                if (!isMarked && !isReady)
                    return AnswerOf(current, isDeleted: false);
                if (context.IsDryRun && isMarked && (!isReady || IsGraceful(storage.Info)))
                    return new WriteAnswer(storage.WithVersion(document.Root, current.Revision), isDeleted: isReady);
                if (isReady && !(isMarked && IsGraceful(storage.Info)))
                {
                    if (await writes.DeleteNowAsync(storage, current, context).ConfigureAwait(false) is { } last)
                        return last;
                }
                else if (await MarkAsync(storage, current, document, context).ConfigureAwait(false) is { } stored)
                {
                    if (!isReady)
                        return new WriteAnswer(stored);
                    marked?.Dispose();
                    marked = stored;
                    if (await writes.DeleteNowAsync(storage, stored, context).ConfigureAwait(false) is { } last)
                        return last;
                    if (options.ResourceVersion is not null)
                        options = options with { ResourceVersion = stored.Revision.ToString(CultureInfo.InvariantCulture) };
                }
                if (tries >= MaxConflictRetries)
                    throw ApiStatus.Conflict(storage.Info.Group, storage.Info.Resource, context.Name).ToException();
            }
        }
        finally
        {
            marked?.Dispose();
        }
    }

    private static async ValueTask<StoredObject?> MarkAsync(ResourceStorage storage, StoredObject current, ApiObject document, WriteContext context)
    {
        using var body = storage.Encode(document.Root);
        return await storage.TryUpdateAsync(current, body.Written, context.Cancel).ConfigureAwait(false);
    }

    private static WriteAnswer AnswerOf(StoredObject stored, bool isDeleted)
    {
        stored.Retain();
        return new WriteAnswer(stored, isDeleted: isDeleted);
    }

    private static bool IsGraceful(ResourceInfo resource) => resource is { Group: "", Resource: "pods" };

    /// <summary>Kinds whose delete answers with the object even when it is gone at once.</summary>
    internal static bool ReturnsObject(ResourceInfo resource) => resource.Group switch
    {
        "" => resource.Resource is "namespaces" or "persistentvolumes" or "persistentvolumeclaims" or "pods" or "podtemplates" or "resourcequotas"
            or "services" or "serviceaccounts",
        "resource.k8s.io" => true,
        "storage.k8s.io" => resource.Resource is "csidrivers" or "csinodes" or "storageclasses" or "volumeattachments" or "volumeattributesclasses",
        _ => false,
    };

    // Writes deletionTimestamp, grace period and the finalizers of the policy; false when nothing changed.
    private bool Mark(ResourceInfo resource, ApiNode obj, DeleteOptions options)
    {
        var metadata = obj.GetOrAddObject("metadata"u8);
        var now = clock.GetUtcNow();
        if (ObjectText.IsDeleting(obj))
        {
            var held = metadata["deletionGracePeriodSeconds"u8].AsInt64();
            if (!IsGraceful(resource) || held == 0)
                return ApplyPropagation(metadata, options.Propagation);
            // A deletion that is under way can only be hurried.
            if (options.GracePeriodSeconds is not { } wanted || (wanted < 0 ? 1 : wanted) >= held)
                return false;
            Shorten(metadata, held, wanted < 0 ? 1 : wanted, now);
            ApplyPropagation(metadata, options.Propagation);
            return true;
        }
        ApplyPropagation(metadata, PolicyOf(resource, metadata, options));
        var grace = GraceOf(resource, obj, options.GracePeriodSeconds);
        metadata.Set("deletionTimestamp"u8, ObjectText.Time(now + TimeSpan.FromSeconds(grace)));
        // A namespace has its own way of going, which knows no grace.
        if (resource is not { Group: "", Resource: "namespaces" })
            metadata.Set("deletionGracePeriodSeconds"u8, grace);
        if (metadata["generation"u8].TryGetInt64(out var generation) && generation > 0)
            metadata.Set("generation"u8, generation + 1);
        if (resource is { Group: "", Resource: "namespaces" })
            obj.GetOrAddObject("status"u8).Set("phase"u8, "Terminating"u8);
        return true;
    }

    // The two oldest controllers leave their pods behind unless they are told otherwise.
    private static string PolicyOf(ResourceInfo resource, ApiNode metadata, DeleteOptions options)
    {
        if (options.Propagation.Length > 0 || resource is not ({ Group: "batch", Resource: "jobs" } or { Group: "", Resource: "replicationcontrollers" }))
            return options.Propagation;
        foreach (var finalizer in metadata["finalizers"u8].Elements)
        {
            if (finalizer.Equals("orphan"u8) || finalizer.Equals("foregroundDeletion"u8))
                return "";
        }
        return "Orphan";
    }

    private static void Shorten(ApiNode metadata, long held, long wanted, DateTimeOffset now)
    {
        if (!ObjectText.TryParseTime(metadata["deletionTimestamp"u8], out var until))
            until = now + TimeSpan.FromSeconds(held);
        var end = until - TimeSpan.FromSeconds(held) + TimeSpan.FromSeconds(wanted);
        if (end < now)
        {
            // The new period is over already. Who asked for one still gets the shortest, so that the kubelet sees it and ends the pod.
            end = now;
            wanted = wanted == 0 ? 0 : 1;
        }
        metadata.Set("deletionTimestamp"u8, ObjectText.Time(end));
        metadata.Set("deletionGracePeriodSeconds"u8, wanted);
    }

    private static long GraceOf(ResourceInfo resource, ApiNode obj, long? wanted)
    {
        if (!IsGraceful(resource))
            return 0;
        // Nobody runs it, or it ran out: nothing to wait for.
        var phase = obj["status"u8]["phase"u8];
        if (obj["spec"u8]["nodeName"u8].Utf8.IsEmpty || phase.Equals("Succeeded"u8) || phase.Equals("Failed"u8))
            return 0;
        var grace = wanted ?? obj["spec"u8]["terminationGracePeriodSeconds"u8].AsInt64(30);
        return grace < 0 ? 1 : grace;
    }

    private static bool ApplyPropagation(ApiNode metadata, string propagation)
    {
        if (propagation.Length == 0)
            return false;
        var isChanged = SetFinalizer(metadata, "orphan"u8, propagation == "Orphan");
        isChanged |= SetFinalizer(metadata, "foregroundDeletion"u8, propagation == "Foreground");
        return isChanged;
    }

    private static bool SetFinalizer(ApiNode metadata, ReadOnlySpan<byte> finalizer, bool isWanted)
    {
        var finalizers = metadata["finalizers"u8];
        for (var i = 0; i < finalizers.Count; i++)
        {
            if (!finalizers[i].Equals(finalizer))
                continue;
            if (isWanted)
                return false;
            finalizers.RemoveAt(i);
            return true;
        }
        if (!isWanted)
            return false;
        metadata.GetOrAddArray("finalizers"u8).AppendString(finalizer);
        return true;
    }

    /// <summary>Refuses to delete another object, or another state of it, than the caller means.</summary>
    internal static void CheckPreconditions(ResourceInfo resource, ApiNode old, string version, string name, DeleteOptions options)
    {
        var uid = old["metadata"u8]["uid"u8].AsString();
        var isNamespace = resource is { Group: "", Resource: "namespaces" };
        if (options.Uid is { } wanted && wanted != uid)
        {
            Refuse(isNamespace
                ? $"Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
                : $"the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated");
        }
        if (options.ResourceVersion is { } wantedVersion && wantedVersion != version)
        {
            Refuse(isNamespace
                ? $"Precondition failed: ResourceVersion in precondition: {wantedVersion}, ResourceVersion in object meta: {version}"
                : $"the ResourceVersion in the precondition ({wantedVersion}) does not match the ResourceVersion in record ({version}). The object might have been modified");
        }

        // Namespaces apart, upstream names the kind here where all other conflicts name the resource.
        void Refuse(string why) => throw ApiStatus.Conflict(resource.Group, isNamespace ? resource.Resource : resource.Kind, name, why).ToException();
    }
}
