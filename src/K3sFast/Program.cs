using K3sFast.Commands;
using K3sFast.Interop.Processes;

namespace K3sFast;

/// <summary>Entry of the one executable; which program it is depends on the first word, or on the name it was called by.</summary>
internal static class Program
{
    private static Task<int> Main(string[] arguments)
    {
        ProcessMemory.KeepAllocatorSmall();
        var calledAs = Path.GetFileName(Environment.GetCommandLineArgs()[0]);
        return CommandLine.RunAsync(calledAs, arguments, Environment.GetEnvironmentVariable, Console.Out, Console.Error);
    }
}
