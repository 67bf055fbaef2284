using System.Diagnostics;

namespace K3sFast.FaultRig.Faults;

/// <summary>The rig's little C programs, built where they are used.</summary>
internal static class NativeTool
{
    /// <summary>Makes a target of native/Makefile, if need be; returns the path of what it made. Callers may come side by side.</summary>
    /// <param name="directory">Where it goes; artifacts/native unless told.</param>
    public static async Task<string> BuildAsync(string target, string file, string? directory = null)
    {
        string native = Path.Combine(RepositoryRoot(), "native");
        directory ??= Path.Combine(RepositoryRoot(), "artifacts/native");
        using var make = Process.Start(new ProcessStartInfo("make", ["-s", "-C", native, target, $"OUT={directory}"]) { RedirectStandardError = true })!;
        string said = await make.StandardError.ReadToEndAsync().ConfigureAwait(false);
        await make.WaitForExitAsync().ConfigureAwait(false);
        return make.ExitCode == 0
            ? Path.Combine(directory, file)
            : throw new InvalidOperationException($"native/{target} cannot be built: {said}");
    }

    /// <summary>The folder of the sources that this program was built from.</summary>
    public static string RepositoryRoot()
    {
        string? directory = AppContext.BaseDirectory;
        while (directory is not null && !File.Exists(Path.Combine(directory, "native/faultfs/faultfs.c"))) directory = Path.GetDirectoryName(directory);
        return directory ?? throw new InvalidOperationException("native/faultfs/faultfs.c is in no directory above the program");
    }
}
