using System.Buffers;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>One reason among the causes of a <see cref="ApiStatus"/>.</summary>
/// <param name="Reason">Upstream's cause type, for example FieldValueRequired; may be empty.</param>
/// <param name="Message">What is wrong.</param>
/// <param name="Field">The path of the member, for example spec.containers[0].name; may be empty.</param>
public sealed record StatusCause(string Reason, string Message, string Field = "");

/// <summary>
/// metav1.Status: the answer to a request that failed (or that has nothing else to say). Reasons, codes and words are those of
/// k8s.io/apimachinery/pkg/api/errors, so that kubectl and client-go understand them. Immutable.
/// </summary>
public sealed record ApiStatus
{
    /// <summary>What a conflict on resourceVersion says.</summary>
    public const string ModifiedMessage = "the object has been modified; please apply your changes to the latest version and try again";

    /// <summary>The HTTP status code.</summary>
    public int Code { get; init; }

    /// <summary>The reason word, for example NotFound; "" when there is none.</summary>
    public string Reason { get; init; } = "";

    /// <summary>The message for people.</summary>
    public string Message { get; init; } = "";

    /// <summary>True for Success, false for Failure.</summary>
    public bool IsSuccess { get; init; }

    /// <summary>True when details are written, even if they are empty.</summary>
    public bool HasDetails { get; init; }

    /// <summary>details.name.</summary>
    public string Name { get; init; } = "";

    /// <summary>details.group.</summary>
    public string Group { get; init; } = "";

    /// <summary>details.kind: upstream puts the resource here, or the kind for Invalid.</summary>
    public string Kind { get; init; } = "";

    /// <summary>details.uid.</summary>
    public string Uid { get; init; } = "";

    /// <summary>details.causes.</summary>
    public IReadOnlyList<StatusCause> Causes { get; init; } = [];

    /// <summary>details.retryAfterSeconds; also the Retry-After header when not 0.</summary>
    public int RetryAfterSeconds { get; init; }

    /// <summary>metadata.continue: the token by which an expired list can go on.</summary>
    public string Continue { get; init; } = "";

    /// <summary>The status as an exception to throw.</summary>
    public ApiStatusException ToException() => new(this);

    /// <summary>Success after a delete: the object's name, group, resource and uid.</summary>
    public static ApiStatus Deleted(string group, string resource, string name, string uid) =>
        new() { Code = 200, IsSuccess = true, HasDetails = true, Group = group, Kind = resource, Name = name, Uid = uid };

    /// <summary>Success with nothing to say.</summary>
    public static ApiStatus Success(int code = 200) => new() { Code = code, IsSuccess = true };

    /// <summary>404 for an object.</summary>
    public static ApiStatus NotFound(string group, string resource, string name) =>
        OfObject(404, "NotFound", group, resource, name, $"{Qualified(group, resource)} {GoText.Quote(name)} not found");

    /// <summary>404 for a path that no resource serves.</summary>
    public static ApiStatus NotFoundPath() => new() { Code = 404, Reason = "NotFound", HasDetails = true, Message = "the server could not find the requested resource" };

    /// <summary>409 on create.</summary>
    public static ApiStatus AlreadyExists(string group, string resource, string name) =>
        OfObject(409, "AlreadyExists", group, resource, name, $"{Qualified(group, resource)} {GoText.Quote(name)} already exists");

    /// <summary>409 when generateName found no free name.</summary>
    public static ApiStatus GenerateNameConflict(string group, string resource, string name, int retryAfterSeconds) => OfObject(
        409, "AlreadyExists", group, resource, name,
        $"{Qualified(group, resource)} {GoText.Quote(name)} already exists, the server was not able to generate a unique name for the object", retryAfterSeconds);

    /// <summary>409 on update; <paramref name="why"/> is <see cref="ModifiedMessage"/> for a stale resourceVersion.</summary>
    public static ApiStatus Conflict(string group, string resource, string name, string why = ModifiedMessage) =>
        OfObject(409, "Conflict", group, resource, name, $"Operation cannot be fulfilled on {Qualified(group, resource)} {GoText.Quote(name)}: {why}");

    /// <summary>409 of server-side apply.</summary>
    public static ApiStatus ApplyConflict(IReadOnlyList<StatusCause> causes, string message) =>
        new() { Code = 409, Reason = "Conflict", HasDetails = true, Causes = causes, Message = message };

    /// <summary>422 with one cause per field error.</summary>
    public static ApiStatus Invalid(string group, string kind, string name, FieldErrorList errors)
    {
        name = GoText.Clip(name);
        var subject = $"{Qualified(group, kind)} {GoText.Quote(name)} is invalid";
        return new ApiStatus
        {
            Code = 422,
            Reason = "Invalid",
            HasDetails = true,
            Group = group,
            Kind = kind,
            Name = name,
            Causes = [.. errors.Select(error => new StatusCause(error.Reason, error.Body, error.Field))],
            Message = errors.Count == 0 ? subject : $"{subject}: {errors}",
        };
    }

    /// <summary>422 with the words that upstream has for patches that do not fit: the reason itself is not told.</summary>
    public static ApiStatus Unprocessable() => new()
    {
        Code = 422, Reason = "Invalid", HasDetails = true, Message = "the server rejected our request due to an error in our request",
    };

    /// <summary>500 without a reason: how upstream answers errors that it has no status for.</summary>
    public static ApiStatus Unknown(string message) => new() { Code = 500, Message = message };

    /// <summary>400.</summary>
    public static ApiStatus BadRequest(string message) => new() { Code = 400, Reason = "BadRequest", Message = message };

    /// <summary>403; the name may be empty (collections), and group and resource too (paths).</summary>
    public static ApiStatus Forbidden(string group, string resource, string name, string why)
    {
        var message = group.Length == 0 && resource.Length == 0 ? $"forbidden: {why}"
            : name.Length == 0 ? $"{Qualified(group, resource)} is forbidden: {why}"
            : $"{Qualified(group, resource)} {GoText.Quote(name)} is forbidden: {why}";
        return OfObject(403, "Forbidden", group, resource, name, message);
    }

    /// <summary>401; the word is what upstream's filter answers.</summary>
    public static ApiStatus Unauthorized(string message = "Unauthorized") => new() { Code = 401, Reason = "Unauthorized", Message = message };

    /// <summary>405 for a verb (create, update ...) that the resource has not.</summary>
    public static ApiStatus MethodNotSupported(string group, string resource, string action) => OfObject(
        405, "MethodNotAllowed", group, resource, "", $"{action} is not supported on resources of kind {GoText.Quote(Qualified(group, resource))}");

    /// <summary>406 with the media types that would have been acceptable.</summary>
    public static ApiStatus NotAcceptable(params IEnumerable<string> accepted) => new()
    {
        Code = 406, Reason = "NotAcceptable", Message = $"only the following media types are accepted: {string.Join(", ", accepted)}",
    };

    /// <summary>415 with the media types that would have been accepted.</summary>
    public static ApiStatus UnsupportedMediaType(params IEnumerable<string> accepted) => new()
    {
        Code = 415,
        Reason = "UnsupportedMediaType",
        Message = $"the body of the request was in an unknown format - accepted media types include: {string.Join(", ", accepted)}",
    };

    /// <summary>413 with the limit in bytes.</summary>
    public static ApiStatus RequestEntityTooLarge(long limit) => RequestEntityTooLarge(string.Create(CultureInfo.InvariantCulture, $"limit is {limit}"));

    /// <summary>413.</summary>
    public static ApiStatus RequestEntityTooLarge(string message) =>
        new() { Code = 413, Reason = "RequestEntityTooLarge", Message = $"Request entity too large: {message}" };

    /// <summary>410 for a revision or continue token that is no longer there: the client lists again.</summary>
    public static ApiStatus Expired(string message) => new() { Code = 410, Reason = "Expired", Message = message };

    /// <summary>410 for something that is gone for good.</summary>
    public static ApiStatus Gone(string message) => new() { Code = 410, Reason = "Gone", Message = message };

    /// <summary>504.</summary>
    public static ApiStatus Timeout(string message, int retryAfterSeconds = 0) =>
        new() { Code = 504, Reason = "Timeout", HasDetails = true, RetryAfterSeconds = retryAfterSeconds, Message = $"Timeout: {message}" };

    /// <summary>500 ServerTimeout: try again, for example while the store does not answer.</summary>
    public static ApiStatus ServerTimeout(string group, string resource, string operation, int retryAfterSeconds) => OfObject(
        500, "ServerTimeout", group, resource, operation,
        $"The {operation} operation against {Qualified(group, resource)} could not be completed at this time, please try again.", retryAfterSeconds);

    /// <summary>429.</summary>
    public static ApiStatus TooManyRequests(string message, int retryAfterSeconds) =>
        new() { Code = 429, Reason = "TooManyRequests", HasDetails = true, RetryAfterSeconds = retryAfterSeconds, Message = message };

    /// <summary>500: our own fault.</summary>
    public static ApiStatus InternalError(string error) => new()
    {
        Code = 500, Reason = "InternalError", HasDetails = true, Causes = [new StatusCause("", error)], Message = $"Internal error occurred: {error}",
    };

    /// <summary>503.</summary>
    public static ApiStatus ServiceUnavailable(string message) => new() { Code = 503, Reason = "ServiceUnavailable", Message = message };

    /// <summary>Writes the status as JSON in upstream's member order, without a line end.</summary>
    public void WriteJson(IBufferWriter<byte> output)
    {
        var writer = new JsonTextWriter(output);
        writer.Raw("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{"u8);
        Member(ref writer, "\"continue\":"u8, Continue);
        writer.Raw("},\"status\":"u8);
        writer.Raw(IsSuccess ? "\"Success\""u8 : "\"Failure\""u8);
        Member(ref writer, ",\"message\":"u8, Message);
        Member(ref writer, ",\"reason\":"u8, Reason);
        if (HasDetails)
            WriteDetails(ref writer);
        // What tells of a deletion names no code.
        if (Code != 0 && !(IsSuccess && HasDetails))
        {
            writer.Raw(",\"code\":"u8);
            Number(ref writer, Code);
        }
        writer.Raw((byte)'}');
        writer.Flush();
    }

    /// <summary>The status as JSON bytes.</summary>
    public byte[] ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        WriteJson(buffer);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>The status as a tree, for codecs other than JSON.</summary>
    public ApiObject ToObject() => JsonCodec.Decode(ToJson(), null, DecodeOptions.Free, null);

    /// <inheritdoc/>
    public override string ToString() => $"{Code} {Reason}: {Message}";

    private void WriteDetails(ref JsonTextWriter writer)
    {
        writer.Raw(",\"details\":{"u8);
        var separator = "\""u8;
        DetailsMember(ref writer, ref separator, "name\":"u8, Name);
        DetailsMember(ref writer, ref separator, "group\":"u8, Group);
        DetailsMember(ref writer, ref separator, "kind\":"u8, Kind);
        DetailsMember(ref writer, ref separator, "uid\":"u8, Uid);
        if (Causes.Count > 0)
        {
            writer.Raw(separator);
            writer.Raw("causes\":["u8);
            separator = ",\""u8;
            for (var i = 0; i < Causes.Count; i++)
            {
                writer.Raw(i == 0 ? "{"u8 : ",{"u8);
                var inner = "\""u8;
                DetailsMember(ref writer, ref inner, "reason\":"u8, Causes[i].Reason);
                DetailsMember(ref writer, ref inner, "message\":"u8, Causes[i].Message);
                DetailsMember(ref writer, ref inner, "field\":"u8, Causes[i].Field);
                writer.Raw((byte)'}');
            }
            writer.Raw((byte)']');
        }
        if (RetryAfterSeconds != 0)
        {
            writer.Raw(separator);
            writer.Raw("retryAfterSeconds\":"u8);
            Number(ref writer, RetryAfterSeconds);
        }
        writer.Raw((byte)'}');
    }

    private static void DetailsMember(ref JsonTextWriter writer, ref ReadOnlySpan<byte> separator, ReadOnlySpan<byte> name, string value)
    {
        if (value.Length == 0)
            return;
        writer.Raw(separator);
        Member(ref writer, name, value);
        separator = ",\""u8;
    }

    private static void Member(ref JsonTextWriter writer, ReadOnlySpan<byte> name, string value)
    {
        if (value.Length == 0)
            return;
        writer.Raw(name);
        writer.String(Encoding.UTF8.GetBytes(value));
    }

    private static void Number(ref JsonTextWriter writer, int value)
    {
        Span<byte> digits = stackalloc byte[16];
        value.TryFormat(digits, out var length, default, CultureInfo.InvariantCulture);
        writer.Raw(digits[..length]);
    }

    private static ApiStatus OfObject(int code, string reason, string group, string kind, string name, string message, int retryAfterSeconds = 0) => new()
    {
        Code = code, Reason = reason, HasDetails = true, Group = group, Kind = kind, Name = name, Message = message, RetryAfterSeconds = retryAfterSeconds,
    };

    private static string Qualified(string group, string resource) => group.Length == 0 ? resource : $"{resource}.{group}";
}
