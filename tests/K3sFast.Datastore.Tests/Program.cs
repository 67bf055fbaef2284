using K3sFast.Datastore.Tests.Crash;

// The test host; with "append <file> <writers>" the child process of the crash tests.
return args is ["append", var path, var writers]
    ? await AppenderChild.RunAsync(path, int.Parse(writers, System.Globalization.CultureInfo.InvariantCulture))
    : await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);
