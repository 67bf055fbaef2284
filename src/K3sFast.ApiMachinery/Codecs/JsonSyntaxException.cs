namespace K3sFast.ApiMachinery;

/// <summary>The text is no JSON; the message has the words of Go's encoding/json.</summary>
public sealed class JsonSyntaxException(string message) : Exception(message);
