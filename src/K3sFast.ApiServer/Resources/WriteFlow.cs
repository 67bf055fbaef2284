using System.Runtime.CompilerServices;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// The one road of every change: mutating admission, the version that it was made from, the kind's strategy, validation, validating admission, then the
/// store; with upstream's rules for conflicts, finalizers and no-ops. Works in the storage version only.
/// </summary>
/// <remarks>Any thread. An acknowledged write is durable and visible in the cache.</remarks>
internal sealed class WriteFlow(AdmissionChain admission, TimeProvider clock)
{
    // An unconditional change is made again as long as somebody else is faster, as upstream does for the length of a request. Each round that is lost
    // is won by another writer, so this bound is met by nobody but a fault of ours.
    private const int MaxConflictRetries = 1000;

    // Upstream tries this many names for generateName.
    private const int MaxNameTries = 8;

    private readonly Dictionary<ResourceStorage, IWriteHook> _hooks = [];

    internal void AddHook(ResourceStorage storage, IWriteHook hook) => _hooks.Add(storage, hook);

    /// <summary>Creates the object (in the storage version, defaulted). The caller keeps the document.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    internal async ValueTask<WriteAnswer> CreateAsync(ResourceStorage storage, ApiObject document, WriteContext context)
    {
        var obj = document.Root;
        var metadata = obj.GetOrAddObject("metadata"u8);
        metadata.Remove("selfLink"u8);
        metadata.Remove("uid"u8);
        metadata.Remove("creationTimestamp"u8);
        metadata.Remove("deletionTimestamp"u8);
        metadata.Remove("deletionGracePeriodSeconds"u8);
        // What is no number is no version, and is dropped; one that is a number the store refuses, when all else is right.
        var isVersioned = ulong.TryParse(metadata["resourceVersion"u8].Utf8, out var version) && version != 0;
        metadata.Remove("resourceVersion"u8);
        CheckNamespace(storage.Info, metadata, context.Namespace);
        RemoveDoubleOwners(metadata, context.Call);
        context.Owner?.Note(default, obj, storage.Info);

        var admitted = new AdmissionContext
        {
            Operation = AdmissionOperation.Create, Resource = storage.Info, Namespace = context.Namespace, Name = ObjectText.NameOf(obj),
            User = context.User, Object = obj, IsDryRun = context.IsDryRun, Call = context.Call,
        };
        await admission.MutateAsync(admitted, context.Cancel).ConfigureAwait(false);
        // A plugin may have put another object in this one's place.
        metadata = obj.GetOrAddObject("metadata"u8);
        var hook = _hooks.GetValueOrDefault(storage);
        var baseName = metadata["generateName"u8].AsString();
        var isGenerated = baseName.Length > 0 && metadata["name"u8].Utf8.IsEmpty;
        if (isGenerated)
            metadata.Set("name"u8, ObjectText.GenerateName(baseName));
        metadata.Set("uid"u8, ObjectText.NewUid());
        metadata.Set("creationTimestamp"u8, ObjectText.Time(clock.GetUtcNow()));
        var reservation = hook is null ? null : await hook.BeginAsync(obj, default, context.IsDryRun, context.Cancel).ConfigureAwait(false);
        var isKept = false;
        try
        {
            RestStrategy.PrepareForCreate(obj, storage.Info);
            if (storage.Info is { Group: "", Resource: "pods" })
                AppArmorSync.Apply(obj, warning => context.Call?.AddWarning(warning));
            CertificateRequester.Fill(obj, storage.Info, context.User);
            Refuse(Validation.ValidateCreate(obj, storage.Info, context.Owner?.Version), storage.Info, ObjectText.NameOf(obj));
            Defaulting.Complete(obj, storage.Info);
            Warn(context, obj, default, storage.Info, "");
            if (context.Permission is { } permission)
                await permission().ConfigureAwait(false);
            admitted.Name = ObjectText.NameOf(obj);
            await admission.ValidateAsync(admitted, context.Cancel).ConfigureAwait(false);
            if (isVersioned && !context.IsDryRun)
                throw new ApiStatus { Code = 500, Message = "resourceVersion should not be set on objects to be created" }.ToException();
            for (var tries = 1; ; tries++)
            {
                var name = ObjectText.NameOf(obj);
                using var body = storage.Encode(obj);
                if (context.IsDryRun)
                {
                    using var existing = storage.Get(context.Namespace, name);
                    if (existing is not null)
                        throw AlreadyExists(storage, context.Namespace, name);
                    return new WriteAnswer(storage.WithVersion(obj, isVersioned ? (long)version : null), isCreated: true);
                }
                var stored = await storage.TryCreateAsync(context.Namespace, name, body.Written, context.Cancel).ConfigureAwait(false);
                if (stored is not null)
                {
                    isKept = true;
                    return new WriteAnswer(stored, isCreated: true);
                }
                if (!isGenerated)
                    throw AlreadyExists(storage, context.Namespace, name);
                if (tries == MaxNameTries)
                    throw ApiStatus.GenerateNameConflict(storage.Info.Group, storage.Info.Resource, name, 1).ToException();
                metadata.Set("name"u8, ObjectText.GenerateName(baseName));
                Defaulting.Complete(obj, storage.Info);
            }
        }
        finally
        {
            await FinishAsync(reservation, isKept).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Changes the stored object: <paramref name="change"/> gets it and answers the wanted one (a document of its own). Called again when
    /// somebody else was faster; a wanted object that names the version it was made from is then refused by what is stored now: a conflict, or
    /// not found.
    /// </summary>
    /// <exception cref="ApiStatusException">NotFound, Conflict, Invalid, Forbidden, in upstream's words.</exception>
    internal ValueTask<WriteAnswer> UpdateAsync(
        ResourceStorage storage, string subresource, WriteContext context, Func<ApiObject, ApiObject> change, bool isPatch = false) =>
        UpdateAsync(storage, subresource, context, old => new ValueTask<ApiObject>(change(old)), isPatch);

    /// <summary>The same for a change that asks before it answers.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    internal async ValueTask<WriteAnswer> UpdateAsync(
        ResourceStorage storage, string subresource, WriteContext context, Func<ApiObject, ValueTask<ApiObject>> change, bool isPatch = false)
    {
        for (var tries = 0; ; tries++)
        {
            using var current = storage.Get(context.Namespace, context.Name)
                ?? throw ApiStatus.NotFound(storage.Info.Group, storage.Info.Resource, context.Name).ToException();
            using var oldDocument = storage.Decode(current);
            using var document = await change(oldDocument).ConfigureAwait(false);
            var result = await TryUpdateAsync(storage, subresource, context, current, oldDocument, document, isPatch).ConfigureAwait(false);
            if (result is { } done)
                return done;
            if (tries >= MaxConflictRetries)
                throw ApiStatus.Conflict(storage.Info.Group, storage.Info.Resource, context.Name).ToException();
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<WriteAnswer?> TryUpdateAsync(
        ResourceStorage storage, string subresource, WriteContext context, StoredObject current, ApiObject oldDocument, ApiObject document, bool isPatch)
    {
        ApiNode obj = document.Root, old = oldDocument.Root;
        var metadata = obj.GetOrAddObject("metadata"u8);
        CheckNamespace(storage.Info, metadata, context.Namespace);
        RemoveDoubleOwners(metadata, context.Call);
        context.Owner?.Note(old, obj, storage.Info);
        // A patch that changes the uid is told so by validation.
        if (!isPatch)
            CheckUid(storage, metadata["uid"u8], old, context);
        var admitted = new AdmissionContext
        {
            Operation = AdmissionOperation.Update, Resource = storage.Info, Subresource = subresource, Namespace = context.Namespace, Name = context.Name,
            User = context.User, Object = obj, OldObject = old, IsDryRun = context.IsDryRun, Call = context.Call,
        };
        // A form of its own was shown to mutating admission before it was written into the object.
        if (!context.IsAdmitted && context.Form is null)
            await admission.MutateAsync(admitted, context.Cancel).ConfigureAwait(false);
        metadata = obj.GetOrAddObject("metadata"u8);
        CheckVersion(storage.Info, metadata, old, context.Name, current.Revision, isPatch);
        metadata.Set("resourceVersion"u8, old["metadata"u8]["resourceVersion"u8].Utf8);
        var hook = subresource.Length == 0 ? _hooks.GetValueOrDefault(storage) : null;
        var reservation = hook is null ? null : await hook.BeginAsync(obj, old, context.IsDryRun, context.Cancel).ConfigureAwait(false);
        var isKept = false;
        try
        {
            // A binding is the scheduler's word on spec and status at once; no strategy stands between.
            if (subresource != "binding")
                RestStrategy.PrepareForUpdate(obj, old, storage.Info, subresource);
            FieldManager.KeepTimes(old, obj, storage.Info.Type);
            Refuse(Validation.ValidateUpdate(obj, old, storage.Info, subresource, context.Owner?.Version), storage.Info, context.Name);
            Warn(context, obj, old, storage.Info, subresource);
            if (context.Form is { } form)
                await ValidateFormAsync(form, admitted, context.Cancel).ConfigureAwait(false);
            else if (!context.IsAdmitted)
                await admission.ValidateAsync(admitted, context.Cancel).ConfigureAwait(false);
            if (ObjectText.IsDeleting(obj) && IsReadyToGo(storage.Info, obj))
            {
                var gone = await DeleteNowAsync(storage, current, context).ConfigureAwait(false);
                gone?.Dispose();
                isKept = gone is not null;
                // The answer is the object as it was wanted, not as it last was stored.
                return isKept ? new WriteAnswer(storage.WithVersion(obj, current.Revision), isDeleted: true) : null;
            }
            using var body = storage.Encode(obj);
            if (storage.IsUnchanged(current, body.Span))
            {
                current.Retain();
                return new WriteAnswer(current);
            }
            if (context.IsDryRun)
                return new WriteAnswer(storage.WithVersion(obj, current.Revision));
            var stored = await storage.TryUpdateAsync(current, body.Written, context.Cancel).ConfigureAwait(false);
            isKept = stored is not null;
            return stored is null ? null : new WriteAnswer(stored);
        }
        finally
        {
            await FinishAsync(reservation, isKept).ConfigureAwait(false);
        }
    }

    /// <summary>Takes the object out of the store now; null when it changed meanwhile.</summary>
    internal async ValueTask<WriteAnswer?> DeleteNowAsync(ResourceStorage storage, StoredObject current, WriteContext context)
    {
        if (context.IsDryRun)
            return new WriteAnswer(current.Json.ToArray(), isDeleted: true);
        IWriteReservation? reservation = null;
        if (_hooks.TryGetValue(storage, out var hook))
        {
            using var old = storage.Decode(current);
            reservation = await hook.BeginAsync(default, old.Root, isDryRun: false, context.Cancel).ConfigureAwait(false);
        }
        var isGone = false;
        try
        {
            var last = await storage.TryDeleteAsync(current, context.Cancel).ConfigureAwait(false);
            isGone = last is not null;
            return last is null ? null : new WriteAnswer(last, isDeleted: true);
        }
        finally
        {
            await FinishAsync(reservation, isGone).ConfigureAwait(false);
        }
    }

    private static ValueTask FinishAsync(IWriteReservation? reservation, bool isKept) =>
        reservation is null ? ValueTask.CompletedTask : isKept ? reservation.CommitAsync() : reservation.RollbackAsync();

    /// <summary>Admission for a delete.</summary>
    internal async ValueTask AdmitDeleteAsync(ResourceStorage storage, ApiNode old, WriteContext context)
    {
        var admitted = new AdmissionContext
        {
            Operation = AdmissionOperation.Delete, Resource = storage.Info, Namespace = context.Namespace, Name = context.Name, User = context.User,
            OldObject = old, IsDryRun = context.IsDryRun, Call = context.Call,
        };
        await AdmitAsync(admitted, context.Cancel).ConfigureAwait(false);
    }

    /// <summary>Admission for what is not a write of an object of that resource, where nothing is checked in between.</summary>
    internal async ValueTask AdmitAsync(AdmissionContext context, CancellationToken cancel)
    {
        await admission.MutateAsync(context, cancel).ConfigureAwait(false);
        await admission.ValidateAsync(context, cancel).ConfigureAwait(false);
    }

    /// <summary>The first half of admission for such a request (bindings, evictions, tokens, reviews), before its fields are looked at.</summary>
    internal ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel) => admission.MutateAsync(context, cancel);

    /// <summary>The second half, after them.</summary>
    internal ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel) => admission.ValidateAsync(context, cancel);

    private async ValueTask ValidateFormAsync(AdmissionForm form, AdmissionContext written, CancellationToken cancel)
    {
        using ApiObject obj = form.Of(written.Object), old = form.Of(written.OldObject);
        await admission.ValidateAsync(written.In(form.Kind, obj.Root, old.Root), cancel).ConfigureAwait(false);
    }

    /// <summary>Nothing holds a deleted object back any more: no finalizer, no grace period; for namespaces no spec finalizer.</summary>
    internal static bool IsReadyToGo(ResourceInfo resource, ApiNode obj)
    {
        if (ObjectText.HasFinalizers(obj))
            return false;
        if (obj["metadata"u8]["deletionGracePeriodSeconds"u8].TryGetInt64(out var grace) && grace > 0)
            return false;
        return resource.Resource != "namespaces" || resource.Group.Length > 0 || obj["spec"u8]["finalizers"u8].Count == 0;
    }

    private static void Warn(WriteContext context, ApiNode obj, ApiNode old, ResourceInfo resource, string subresource)
    {
        if (context.Call is { } call && ObjectWarnings.Of(obj, old, resource, subresource) is { } warnings)
            foreach (var warning in warnings)
                call.AddWarning(warning);
    }

    internal static void Refuse(FieldErrorList errors, ResourceInfo resource, string name)
    {
        if (errors.Count > 0)
            throw ApiStatus.Invalid(resource.Group, resource.Kind, name, errors).ToException();
    }

    // An owner counts once, however often it is named.
    private static void RemoveDoubleOwners(ApiNode metadata, ApiCall? call)
    {
        var owners = metadata["ownerReferences"u8];
        if (owners.Count < 2)
            return;
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var kept = metadata.Document.NewArray();
        var doubled = new List<string>();
        foreach (var owner in owners.Elements)
        {
            if (seen.Add(TextOf(owner)))
                kept.Append(owner);
            else
                doubled.Add(owner["uid"u8].AsString());
        }
        if (doubled.Count == 0)
            return;
        metadata.Set("ownerReferences"u8, kept);
        call?.AddWarning(".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests "
            + $"as early as 1.24; please fix your requests; duplicate UID(s) observed: {string.Join(',', doubled.Distinct())}");

        static string TextOf(ApiNode owner) => string.Join(
            '\n', owner["apiVersion"u8].AsString(), owner["kind"u8].AsString(), owner["name"u8].AsString(), owner["uid"u8].AsString(),
            owner["controller"u8].Kind, owner["blockOwnerDeletion"u8].Kind);
    }

    private static ApiStatusException AlreadyExists(ResourceStorage storage, string ns, string name)
    {
        var status = ApiStatus.AlreadyExists(storage.Info.Group, storage.Info.Resource, name);
        using var existing = storage.Get(ns, name);
        if (existing is null)
            return status.ToException();
        using var document = storage.Decode(existing);
        return (ObjectText.IsDeleting(document.Root) ? status with { Message = $"object is being deleted: {status.Message}" } : status).ToException();
    }

    /// <summary>Puts the object into the namespace of the request, or refuses another one.</summary>
    internal static void CheckNamespace(ResourceInfo resource, ApiNode metadata, string ns)
    {
        if (!resource.Namespaced)
        {
            metadata.Remove("namespace"u8);
            return;
        }
        var given = metadata["namespace"u8].AsString();
        if (given.Length > 0 && given != ns)
            throw ApiStatus.BadRequest("the namespace of the provided object does not match the namespace sent on the request").ToException();
        metadata.Set("namespace"u8, ns);
    }

    private static void CheckVersion(ResourceInfo resource, ApiNode metadata, ApiNode old, string name, long revision, bool isPatch)
    {
        var version = metadata["resourceVersion"u8];
        if (version.Utf8.IsEmpty || version.Equals("0"u8))
        {
            if (isPatch || RestStrategy.AllowUnconditionalUpdate(resource))
                return;
            var errors = new FieldErrorList();
            errors.AddRaw(FieldErrorType.Invalid, "metadata.resourceVersion", "0x0", "must be specified for an update");
            throw ApiStatus.Invalid(resource.Group, resource.Kind, name, errors).ToException();
        }
        // A patch that does not touch the version carries the stored one along.
        if (isPatch && version.DeepEquals(old["metadata"u8]["resourceVersion"u8]))
            return;
        if (!long.TryParse(version.AsString(), out var given))
            throw ApiStatus.Unknown($"strconv.ParseUint: parsing {GoText.Quote(version.Utf8)}: invalid syntax").ToException();
        if (given != revision)
            throw ApiStatus.Conflict(resource.Group, resource.Resource, name).ToException();
    }

    /// <summary>Refuses a uid that is not the stored object's, in the words of upstream's storage.</summary>
    internal static void CheckUid(ResourceStorage storage, ApiNode given, ApiNode old, WriteContext context)
    {
        var stored = old["metadata"u8]["uid"u8];
        if (given.Utf8.IsEmpty || given.DeepEquals(stored))
            return;
        throw ApiStatus.Conflict(
            storage.Info.Group, storage.Info.Resource, context.Name,
            $"StorageError: invalid object, Code: 4, Key: {storage.KeyOf(context.Namespace, context.Name)}, ResourceVersion: 0, AdditionalErrorMsg: "
            + $"Precondition failed: UID in precondition: {given.AsString()}, UID in object meta: {stored.AsString()}").ToException();
    }
}
