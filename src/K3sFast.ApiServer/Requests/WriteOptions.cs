using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The query parameters of a write: CreateOptions, UpdateOptions or PatchOptions, checked together and refused in upstream's words.</summary>
/// <param name="Manager">The name under which changed fields are owned: fieldManager, or what the client calls itself.</param>
/// <param name="IsDryRun">Nothing is stored.</param>
/// <param name="Validation">How unknown and duplicate fields are treated.</param>
/// <param name="IsForced">An apply takes fields from their owners.</param>
internal readonly record struct WriteOptions(string Manager, bool IsDryRun, FieldValidation Validation, bool IsForced)
{
    // Upstream's bound on a manager's name, in bytes.
    private const int MaxManagerBytes = 128;

    /// <summary>Reads the parameters of a create or update.</summary>
    internal static WriteOptions Read(ApiCall call, string kind) => Read(call, kind, null);

    /// <summary>Reads the parameters of a patch: apply needs a manager, and only apply can be forced.</summary>
    internal static WriteOptions ReadPatch(ApiCall call, PatchKind patch) => Read(call, "PatchOptions", patch);

    private static WriteOptions Read(ApiCall call, string kind, PatchKind? patch)
    {
        if (call.Info.Query.IsEmpty && patch != PatchKind.Apply)
            return new WriteOptions(call.ClientName, false, FieldValidation.Warn, false);
        var errors = new FieldErrorList();
        var manager = call.QueryString("fieldManager"u8) ?? "";
        if (patch == PatchKind.Apply && manager.Length == 0)
            errors.Required("fieldManager", "is required for apply patch");
        var isForceGiven = patch is not null && call.Info.TryGetQuery("force"u8, out _);
        if (isForceGiven && patch != PatchKind.Apply)
            errors.Forbidden("force", "may not be specified for non-apply patch");
        CheckManager(manager, errors);
        var isDryRun = ReadDryRun(call, errors);
        var validation = ReadValidation(call, errors);
        if (errors.Count > 0)
            throw ApiStatus.Invalid("meta.k8s.io", kind, "", errors).ToException();
        return new WriteOptions(manager.Length > 0 ? manager : call.ClientName, isDryRun, validation, isForceGiven && call.QueryBool("force"u8));
    }

    private static void CheckManager(string manager, FieldErrorList errors)
    {
        if (Encoding.UTF8.GetByteCount(manager) > MaxManagerBytes)
            errors.TooLong("fieldManager", MaxManagerBytes);
        var position = 0;
        foreach (var rune in manager.EnumerateRunes())
        {
            if (!IsPrintable(rune))
            {
                errors.Invalid("fieldManager", manager, string.Create(
                    CultureInfo.InvariantCulture, $"invalid character U+{rune.Value:X4} (at position {position})"));
            }
            position += rune.Utf8SequenceLength;
        }
    }

    /// <summary>The name before the slash of a User-Agent, as upstream shortens it.</summary>
    internal static string NameOf(string? userAgent)
    {
        if (string.IsNullOrEmpty(userAgent))
            return "";
        var slash = userAgent.IndexOf('/', StringComparison.Ordinal);
        var product = slash < 0 ? userAgent : userAgent[..slash];
        if (product.Length <= MaxManagerBytes && System.Text.Ascii.IsValid(product) && !product.AsSpan().ContainsAnyInRange('\0', '\x1f') && !product.Contains('\x7f'))
            return product;
        var kept = new StringBuilder();
        var bytes = 0;
        foreach (var rune in product.EnumerateRunes())
        {
            if (!IsPrintable(rune))
                continue;
            bytes += rune.Utf8SequenceLength;
            if (bytes > MaxManagerBytes)
                break;
            kept.Append(rune.ToString());
        }
        return kept.ToString();
    }

    // Go's unicode.IsPrint: letters, marks, numbers, punctuation, symbols and the ASCII space.
    private static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format
        or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.SpaceSeparator
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);

    private static bool ReadDryRun(ApiCall call, FieldErrorList errors)
    {
        if (!call.Info.TryGetQuery("dryRun"u8, out _))
            return false;
        var values = QueryReader.GetAll(call.Info.Query, "dryRun"u8);
        if (values.Exists(static value => value != "All"))
        {
            var shown = string.Join(',', values.Select(static value => GoText.Quote(value)));
            errors.AddRaw(FieldErrorType.NotSupported, "dryRun", $"[{shown}]", "supported values: \"All\"");
        }
        return true;
    }

    private static FieldValidation ReadValidation(ApiCall call, FieldErrorList errors)
    {
        switch (call.QueryString("fieldValidation"u8))
        {
            case null or "" or "Warn":
                return FieldValidation.Warn;
            case "Strict":
                return FieldValidation.Strict;
            case "Ignore":
                return FieldValidation.Ignore;
            case var other:
                errors.NotSupported("fieldValidation", other, "", "Ignore", "Strict", "Warn");
                return FieldValidation.Warn;
        }
    }
}
