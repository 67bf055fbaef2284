// The test host; with "child ..." the process that faults hit.
return args is ["child", ..]
    ? await K3sFast.FaultRig.Children.StoreChild.RunAsync(args[1..])
    : await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);
