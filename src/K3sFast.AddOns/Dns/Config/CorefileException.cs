namespace K3sFast.AddOns.Dns;

/// <summary>A Corefile that cannot be served, with the place and the reason in CoreDNS' words where it has some.</summary>
internal sealed class CorefileException : Exception
{
    internal CorefileException(string file, int line, string message) : base($"{file}:{line} - Error during parsing: {message}")
    {
    }

    internal CorefileException(string message) : base(message)
    {
    }
}
