using K3sFast.Datastore.Tests.Crash;

// The test host; with "append <file> <writers>" or "churn <file> <beside>" the child process of the crash tests.
return args switch
{
    ["append", var path, var writers] => await AppenderChild.RunAsync(path, int.Parse(writers, System.Globalization.CultureInfo.InvariantCulture)),
    ["churn", var path, var beside] => await ChurnChild.RunAsync(path, bool.Parse(beside)),
    _ => await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args),
};
