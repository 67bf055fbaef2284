using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>What is wrong with a field; names and words are those of upstream's field.ErrorType.</summary>
public enum FieldErrorType : byte { NotFound, Required, Duplicate, Invalid, NotSupported, Forbidden, TooLong, TooMany, TooFew, Internal, TypeInvalid, TooShort }

/// <summary>One field error.</summary>
/// <param name="Type">What is wrong.</param>
/// <param name="Field">The path, for example spec.containers[0].name.</param>
/// <param name="BadValue">The value as it stands in the message (strings already quoted); null = not shown.</param>
/// <param name="Detail">More words; may be empty.</param>
public sealed record FieldError(FieldErrorType Type, string Field, string? BadValue, string Detail)
{
    /// <summary>The word in the status cause.</summary>
    public string Reason => Type switch
    {
        FieldErrorType.NotFound => "FieldValueNotFound",
        FieldErrorType.Required => "FieldValueRequired",
        FieldErrorType.Duplicate => "FieldValueDuplicate",
        FieldErrorType.Invalid => "FieldValueInvalid",
        FieldErrorType.NotSupported => "FieldValueNotSupported",
        FieldErrorType.Forbidden => "FieldValueForbidden",
        FieldErrorType.TooLong => "FieldValueTooLong",
        FieldErrorType.TooMany => "FieldValueTooMany",
        FieldErrorType.TooFew => "FieldValueTooFew",
        FieldErrorType.TypeInvalid => "FieldValueTypeInvalid",
        FieldErrorType.TooShort => "FieldValueTooShort",
        _ => "InternalError",
    };

    /// <summary>The message without the path.</summary>
    public string Body
    {
        get
        {
            var words = Words;
            var showsValue = Type is not (FieldErrorType.Required or FieldErrorType.Forbidden or FieldErrorType.TooLong or FieldErrorType.TooShort
                or FieldErrorType.Internal);
            var body = showsValue && BadValue is not null ? $"{words}: {BadValue}" : words;
            return Detail.Length == 0 ? body : $"{body}: {Detail}";
        }
    }

    /// <summary>The message with the path.</summary>
    public override string ToString() => $"{Field}: {Body}";

    private string Words => Type switch
    {
        FieldErrorType.NotFound => "Not found",
        FieldErrorType.Required => "Required value",
        FieldErrorType.Duplicate => "Duplicate value",
        FieldErrorType.Invalid or FieldErrorType.TypeInvalid => "Invalid value",
        FieldErrorType.NotSupported => "Unsupported value",
        FieldErrorType.Forbidden => "Forbidden",
        FieldErrorType.TooLong => "Too long",
        FieldErrorType.TooMany => "Too many",
        FieldErrorType.TooFew => "Too few",
        FieldErrorType.TooShort => "Too short",
        _ => "Internal error",
    };
}

/// <summary>More field errors than anybody would read: the search for more is given up, and the answer tells of those that were found.</summary>
internal sealed class TooManyFieldErrorsException(FieldErrorList errors) : Exception
{
    /// <summary>What was found.</summary>
    internal FieldErrorList Errors => errors;
}

/// <summary>
/// Field errors in the order of finding, in the words of upstream's field package; <see cref="ApiStatus.Invalid"/> makes the answer of them. Upstream tells
/// of all, which a hostile body can make as long as memory is; here the search ends when there are very many.
/// </summary>
public sealed class FieldErrorList : List<FieldError>
{
    /// <summary>After so many errors validation looks for no more.</summary>
    public const int MaxErrors = 1000;

    // Nor after so many characters of values, paths and words: each stands in a cause and in the message.
    private const int MaxCharacters = 256 * 1024;

    private int _characters;

    /// <summary>Adds an error.</summary>
    /// <exception cref="TooManyFieldErrorsException">There are very many; whoever began the validation takes those.</exception>
    public new void Add(FieldError error)
    {
        if (error.BadValue is { Length: > GoText.MaxShown })
            error = error with { BadValue = GoText.Clip(error.BadValue) };
        base.Add(error);
        _characters += error.Field.Length + (error.BadValue?.Length ?? 0) + error.Detail.Length;
        if (Count >= MaxErrors || _characters >= MaxCharacters)
            throw new TooManyFieldErrorsException(this);
    }

    /// <summary>Adds an error whose bad value is a string, shown in quotes; null = not shown.</summary>
    public void Add(FieldErrorType type, string fieldPath, string? badValue, string detail) =>
        Add(new FieldError(type, fieldPath, badValue is null ? null : GoText.Quote(badValue), detail));

    /// <summary>Adds an error whose bad value is shown as it is: a number, true, or JSON.</summary>
    public void AddRaw(FieldErrorType type, string fieldPath, string badValueText, string detail) =>
        Add(new FieldError(type, fieldPath, badValueText, detail));

    /// <summary>Required value.</summary>
    public void Required(string fieldPath, string detail = "") => Add(new FieldError(FieldErrorType.Required, fieldPath, null, detail));

    /// <summary>Invalid value of a string.</summary>
    public void Invalid(string fieldPath, string badValue, string detail) => Add(FieldErrorType.Invalid, fieldPath, badValue, detail);

    /// <summary>Invalid value of a number.</summary>
    public void Invalid(string fieldPath, long badValue, string detail) =>
        AddRaw(FieldErrorType.Invalid, fieldPath, badValue.ToString(CultureInfo.InvariantCulture), detail);

    /// <summary>Invalid value of any node: strings in quotes, everything else as JSON; the undefined node as null.</summary>
    public void Invalid(string fieldPath, ApiNode badValue, string detail) =>
        AddRaw(FieldErrorType.Invalid, fieldPath, badValue.Kind == NodeKind.String ? GoText.Quote(badValue.Utf8) : badValue.IsDefined ? GoText.Json(badValue) : "null", detail);

    /// <summary>Invalid value of that type, shown as upstream shows its struct.</summary>
    public void Invalid(string fieldPath, ApiNode badValue, TypeSchema type, string detail) =>
        AddRaw(FieldErrorType.Invalid, fieldPath, GoValue.Text(badValue, type), detail);

    /// <summary>Unsupported value, with the supported ones in the given order.</summary>
    public void NotSupported(string fieldPath, string badValue, params ReadOnlySpan<string> supported)
    {
        var detail = new StringBuilder();
        foreach (var value in supported)
            detail.Append(detail.Length == 0 ? "supported values: " : ", ").Append(GoText.Quote(value));
        Add(FieldErrorType.NotSupported, fieldPath, badValue, detail.ToString());
    }

    /// <summary>Duplicate value of a string.</summary>
    public void Duplicate(string fieldPath, string badValue) => Add(FieldErrorType.Duplicate, fieldPath, badValue, "");

    /// <summary>Not found.</summary>
    public void NotFound(string fieldPath, string badValue) => Add(FieldErrorType.NotFound, fieldPath, badValue, "");

    /// <summary>Forbidden.</summary>
    public void Forbidden(string fieldPath, string detail) => Add(new FieldError(FieldErrorType.Forbidden, fieldPath, null, detail));

    /// <summary>Too long, in bytes.</summary>
    public void TooLong(string fieldPath, int maxBytes) =>
        Add(new FieldError(FieldErrorType.TooLong, fieldPath, null, string.Create(CultureInfo.InvariantCulture, $"may not be more than {maxBytes} {(maxBytes == 1 ? "byte" : "bytes")}")));

    /// <summary>Too many items.</summary>
    public void TooMany(string fieldPath, int actual, int max) => AddRaw(
        FieldErrorType.TooMany, fieldPath, actual.ToString(CultureInfo.InvariantCulture),
        string.Create(CultureInfo.InvariantCulture, $"must have at most {max} {(max == 1 ? "item" : "items")}"));

    /// <summary>All messages as upstream's aggregate prints them: one alone, several in brackets, each only once.</summary>
    public override string ToString()
    {
        if (Count == 1)
            return this[0].ToString();
        var seen = new HashSet<string>();
        var text = new StringBuilder();
        foreach (var error in this)
        {
            var message = error.ToString();
            if (seen.Add(message))
                text.Append(seen.Count > 1 ? ", " : "").Append(message);
        }
        return seen.Count == 1 ? text.ToString() : $"[{text}]";
    }
}
