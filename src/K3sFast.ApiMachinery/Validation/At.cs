using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// A place in the object under validation, and the way to complain about it. Places are entries of a reused table, so walking an object
/// that has nothing wrong makes no strings: the path text is put together when there is an error to report.
/// </summary>
/// <remarks>Valid while its <see cref="Check"/> is; one thread.</remarks>
internal readonly struct At
{
    private readonly Check _check;
    private readonly int _id;

    internal At(Check check, int id)
    {
        _check = check;
        _id = id;
    }

    internal Check Check => _check;

    /// <summary>The field of that name below this place.</summary>
    internal At this[string field] => new(_check, _check.Add(_id, field, -1, default));

    /// <summary>The element at that index.</summary>
    internal At this[int index] => new(_check, _check.Add(_id, null, index, default));

    /// <summary>A field below this place that has this member's name.</summary>
    internal At Field(in ApiMember member) => new(_check, _check.Add(_id, null, -3, member.Value));

    /// <summary>The entry of a map whose key is this member's name.</summary>
    internal At Key(in ApiMember member) => new(_check, _check.Add(_id, null, -1, member.Value));

    /// <summary>The entry of a map with that key.</summary>
    internal At Key(string key) => new(_check, _check.Add(_id, $"[{key}]", -2, default));

    internal void Required(string detail = "") => _check.Errors.Required(ToString(), detail);

    internal void Internal(string detail) => _check.Errors.Add(new FieldError(FieldErrorType.Internal, ToString(), null, detail));

    internal void Forbidden(string detail) => _check.Errors.Forbidden(ToString(), detail);

    internal void Invalid(ApiNode value, string detail) => _check.Errors.Invalid(ToString(), value, detail);

    internal void Invalid(string value, string detail) => _check.Errors.Invalid(ToString(), value, detail);

    internal void Invalid(long value, string detail) => _check.Errors.Invalid(ToString(), value, detail);

    /// <summary>Something is wrong that no value shows.</summary>
    internal void Invalid(string detail) => _check.Errors.Add(new FieldError(FieldErrorType.Invalid, ToString(), null, detail));

    internal void Duplicate(string value) => _check.Errors.Duplicate(ToString(), value);

    internal void Duplicate(ApiNode value)
    {
        if (value.Kind is NodeKind.String or NodeKind.Undefined)
            _check.Errors.Duplicate(ToString(), value.AsString());
        else
            _check.Errors.AddRaw(FieldErrorType.Duplicate, ToString(), value.ToString(), "");
    }

    internal void NotFound(ApiNode value, string detail = "") => _check.Errors.Add(FieldErrorType.NotFound, ToString(), value.AsString(), detail);

    internal void TooLong(int max) => _check.Errors.TooLong(ToString(), max);

    internal void TooMany(int actual, int max) => _check.Errors.TooMany(ToString(), actual, max);

    internal void NotSupported(ApiNode value, ReadOnlySpan<string> supported) => _check.Errors.NotSupported(ToString(), value.AsString(), supported);

    /// <summary>Reports what is wrong with a text in a format; nothing when it is fine.</summary>
    internal void Format(Format format, ApiNode value)
    {
        if (!Formats.Is(format, value.Utf8))
            Format(format, value.AsString());
    }

    /// <summary>Reports what is wrong with a text in a format; nothing when it is fine.</summary>
    internal void Format(Format format, string value, string prefix = "")
    {
        foreach (var problem in Formats.Problems(format, value))
            Invalid(value, prefix + problem);
    }

    /// <summary>One of the given words; empty is not supported either.</summary>
    internal void OneOf(ApiNode value, ReadOnlySpan<string> supported)
    {
        foreach (var word in supported)
            if (SameText(value.Utf8, word))
                return;
        NotSupported(value, supported);
    }

    /// <summary>One of the given words; empty is "Required value".</summary>
    internal void RequiredOneOf(ApiNode value, ReadOnlySpan<string> supported, string whenEmpty = "")
    {
        if (value.Utf8.IsEmpty)
            Required(whenEmpty);
        else
            OneOf(value, supported);
    }

    /// <summary>One of the given words where the field is set at all.</summary>
    internal void OptionalOneOf(ApiNode value, ReadOnlySpan<string> supported)
    {
        if (!value.IsNullOrUndefined)
            OneOf(value, supported);
    }

    internal void RequiredText(ApiNode value, string detail = "")
    {
        if (value.Utf8.IsEmpty)
            Required(detail);
    }

    /// <summary>A number that is 0 or more; absent counts as 0.</summary>
    internal void NonNegative(ApiNode value)
    {
        if (value.TryGetInt64(out long number) && number < 0)
            Invalid(number, "must be greater than or equal to 0");
    }

    /// <summary>A number between two bounds; absent counts as 0 unless it may be left out.</summary>
    internal void InRange(ApiNode value, long low, long high, bool optional = true)
    {
        if (value.IsNullOrUndefined && optional)
            return;
        long number = value.AsInt64();
        if (number < low || number > high)
            Invalid(number, $"must be between {low} and {high}, inclusive");
    }

    /// <summary>An invalid value that is shown as upstream shows a struct of that type.</summary>
    internal void InvalidValue(ApiNode value, TypeSchema? type, string detail) =>
        _check.Errors.AddRaw(FieldErrorType.Invalid, ToString(), GoValue.Text(value, type), detail);

    /// <summary>An invalid member of an object of that type, absent ones shown as their zero value.</summary>
    internal void InvalidMember(ApiNode obj, string name, TypeSchema? type, string detail) =>
        _check.Errors.AddRaw(FieldErrorType.Invalid, ToString(), GoValue.Member(obj, name, type), detail);

    /// <summary>A duplicate of a struct of that type.</summary>
    internal void DuplicateValue(ApiNode value, TypeSchema? type, string detail = "") =>
        _check.Errors.AddRaw(FieldErrorType.Duplicate, ToString(), GoValue.Text(value, type), detail);

    /// <summary>A value of the given words, where the message shows something else than the word itself.</summary>
    internal void NotSupportedRaw(string badValueText, params ReadOnlySpan<string> supported) => _check.Errors.AddRaw(
        FieldErrorType.NotSupported, ToString(), badValueText, "supported values: " + string.Join(", ", supported.ToArray().Select(static word => GoText.Quote(word))));

    /// <summary>A field that an update may not change.</summary>
    internal void Immutable(ApiNode value, ApiNode old, TypeSchema? type, string detail = "field is immutable")
    {
        if (!SemanticEquality.Equal(value, old, type))
            InvalidValue(value, type, detail);
    }

    /// <summary>A member of two objects of one type that an update may not change.</summary>
    internal void ImmutableMember(ApiNode obj, ApiNode old, ReadOnlySpan<byte> name, TypeSchema? type, string detail = "field is immutable")
    {
        if (!SemanticEquality.MemberEqual(obj, old, name, type))
            InvalidMember(obj, Encoding.UTF8.GetString(name), type, detail);
    }

    public override string ToString() => _check.PathOf(_id);

    private static bool SameText(ReadOnlySpan<byte> utf8, string word) => utf8.Length == word.Length && Ascii.Equals(utf8, word);
}

/// <summary>One validation in progress: its errors and the table of places. Reused per thread.</summary>
internal sealed class Check
{
    [ThreadStatic]
    private static Check? t_spare;

    private Entry[] _entries = new Entry[64];
    private int _count;

    internal FieldErrorList Errors { get; private set; } = [];

    /// <summary>Starts a validation; nested ones get a table of their own.</summary>
    internal static Check Rent()
    {
        var check = t_spare ?? new Check();
        t_spare = null;
        check._count = 1;
        check.Errors = [];
        return check;
    }

    /// <summary>Ends the validation and answers its errors.</summary>
    internal FieldErrorList Finish()
    {
        var errors = Errors;
        // The table keeps the size of ordinary objects and no document alive.
        if (_entries.Length <= 4096)
        {
            Array.Clear(_entries, 0, _count);
            t_spare = this;
        }
        return errors;
    }

    /// <summary>The object itself, whose fields have no prefix.</summary>
    internal At Root => new(this, 0);

    internal int Add(int parent, string? name, int index, ApiNode key)
    {
        if (_count == _entries.Length)
            Array.Resize(ref _entries, _count * 2);
        _entries[_count] = new Entry { Parent = parent, Name = name, Index = index, Key = key };
        return _count++;
    }

    internal string PathOf(int id)
    {
        var text = new StringBuilder();
        Append(text, id);
        return text.ToString();
    }

    private void Append(StringBuilder text, int id)
    {
        StackGuard.Enter();
        if (id == 0)
            return;
        ref var entry = ref _entries[id];
        Append(text, entry.Parent);
        if (entry.Name is not null)
            text.Append(text.Length > 0 && entry.Index != -2 ? "." : "").Append(entry.Name);
        else if (entry.Index >= 0)
            text.Append('[').Append(entry.Index).Append(']');
        else if (entry.Index == -3)
            text.Append('.').Append(Encoding.UTF8.GetString(entry.Key.Name));
        else
            text.Append('[').Append(Encoding.UTF8.GetString(entry.Key.Name)).Append(']');
    }

    private struct Entry
    {
        public int Parent;
        public string? Name;
        public int Index;
        public ApiNode Key;
    }
}
