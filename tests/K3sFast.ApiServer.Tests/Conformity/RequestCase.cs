namespace K3sFast.ApiServer.Tests.Conformity;

/// <summary>One request of a file and what upstream answers to it.</summary>
internal sealed class RequestCase
{
    internal required string File { get; init; }

    /// <summary>The line of the request in its file.</summary>
    internal required int Line { get; init; }

    internal required string Method { get; init; }

    internal required string Path { get; init; }

    /// <summary>Who asks: a name of <see cref="Identities"/>.</summary>
    internal string As { get; set; } = "admin";

    internal List<(string Name, string Value)> Headers { get; } = [];

    internal string? Body { get; set; }

    internal bool IsBase64 { get; set; }

    /// <summary>Variables that later requests use, with the place in the answer that they are taken from.</summary>
    internal List<(string Name, string Pointer)> Lets { get; } = [];

    /// <summary>Why the answer may differ for now; null when it may not.</summary>
    internal string? Pending { get; set; }

    internal int Code { get; set; }

    internal string Reason { get; set; } = "";

    /// <summary>"resource.group/name" of the Status' details.</summary>
    internal string Target { get; set; } = "";

    internal string? Message { get; set; }

    internal List<string> Causes { get; } = [];

    internal List<(string Name, string Value)> ResponseHeaders { get; } = [];

    internal List<(string Pointer, string Value)> Fields { get; } = [];

    public override string ToString() => $"{File}:{Line} {Method} {Path}";
}
