namespace K3sFast;

internal static class Program
{
    private static int Main() => 1;
}
