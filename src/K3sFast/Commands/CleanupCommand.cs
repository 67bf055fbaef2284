namespace K3sFast.Commands;

/// <summary><c>k3sfast cleanup</c>: removes what a stopped node left in the kernel.</summary>
internal static class CleanupCommand
{
    public static int Run(string[] arguments, Func<string, string?> environment, TextWriter output, TextWriter error) =>
        Fatal.Report(error, "k3sfast cleanup is not yet in this version");
}
