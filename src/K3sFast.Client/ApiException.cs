using System.Text.Json;
using k8s.Models;

namespace K3sFast.Client;

/// <summary>A refusal of the API, with the Status that it sent.</summary>
public sealed class ApiException : Exception
{
    /// <summary>A refusal with <paramref name="code"/> and the Status' reason and message.</summary>
    public ApiException(int code, string reason, string message, V1Status? status = null)
        : base(message)
    {
        (Code, Reason, Status) = (code, reason, status);
    }

    /// <summary>HTTP code.</summary>
    public int Code { get; }

    /// <summary>Machine-readable reason, such as NotFound or Conflict.</summary>
    public string Reason { get; }

    /// <summary>The whole Status, where the answer was one.</summary>
    public V1Status? Status { get; }

    /// <summary>The object (or the path) is not there.</summary>
    public bool IsNotFound => Code == 404;

    /// <summary>The object is there already.</summary>
    public bool IsAlreadyExists => Reason == "AlreadyExists";

    /// <summary>Somebody else changed the object first: read again, decide again.</summary>
    public bool IsConflict => Code == 409 && Reason != "AlreadyExists";

    /// <summary>The asked-for revision is no longer kept: list again.</summary>
    public bool IsGone => Code == 410;

    /// <summary>The object was refused as invalid; trying again changes nothing.</summary>
    public bool IsInvalid => Code == 422;

    /// <summary>The caller may not do that, or the namespace takes no new content.</summary>
    public bool IsForbidden => Code == 403;

    /// <summary>The namespace is being deleted and takes nothing new.</summary>
    public bool IsNamespaceTerminating
    {
        get
        {
            if (!IsForbidden || Status?.Details?.Causes is not { } causes) return false;
            foreach (var cause in causes)
            {
                if (cause.Reason == "NamespaceTerminating") return true;
            }
            return false;
        }
    }

    /// <summary>Reads the Status of a refusal; an answer that is none keeps its text as message.</summary>
    public static ApiException From(ApiResponse response)
    {
        try
        {
            if (!response.Body.IsEmpty && JsonSerializer.Deserialize(response.Body.Span, ModelJson.TypeInfo<V1Status>()) is { } status)
            {
                return new ApiException(status.Code ?? response.StatusCode, status.Reason ?? "", status.Message ?? "", status);
            }
        }
        catch (JsonException)
        {
            // Not a Status: a proxy's or another server's page; its text is the best message there is.
        }
        return new ApiException(response.StatusCode, "", System.Text.Encoding.UTF8.GetString(response.Body.Span));
    }
}
