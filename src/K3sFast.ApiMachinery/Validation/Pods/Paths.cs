namespace K3sFast.ApiMachinery;

/// <summary>Rules of file paths in specs.</summary>
internal static class Paths
{
    internal const string FileMode = "must be a number between 0 and 0777 (octal), both inclusive";

    /// <summary>No ".." segment.</summary>
    internal static bool NoBacksteps(At at, ApiNode path)
    {
        if (!HasBackstep(path.Utf8))
            return true;
        at.Invalid(path, "must not contain '..'");
        return false;
    }

    internal static bool HasBackstep(ReadOnlySpan<byte> path)
    {
        foreach (var range in path.Split((byte)'/'))
            if (path[range].SequenceEqual(".."u8))
                return true;
        return false;
    }

    /// <summary>Relative, and not above where it starts.</summary>
    internal static void Descending(At at, ApiNode path)
    {
        if (path.Utf8.StartsWith("/"u8))
            at.Invalid(path, "must be a relative path");
        NoBacksteps(at, path);
    }

    /// <summary>Descending, and not a name that the kubelet keeps for itself.</summary>
    internal static void NonReserved(At at, ApiNode path)
    {
        Descending(at, path);
        if (path.Utf8.StartsWith(".."u8) && !path.Utf8.StartsWith("../"u8))
            at.Invalid(path, "must not start with '..'");
    }

    /// <summary>A file mode: nine permission bits.</summary>
    internal static void Mode(At at, ApiNode mode)
    {
        if (mode.TryGetInt64(out long value) && value is < 0 or > 0x1FF)
            at.Invalid(value, FileMode);
    }
}
