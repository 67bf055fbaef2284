using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Microsoft.Extensions.Logging;

namespace K3sFast.Logging;

/// <summary>Writes log lines in k3s's form: <c>time="…" level=info msg="…" component=kubelet</c>.</summary>
/// <remarks>Any thread; lines are written whole, one at a time. Owns its file, not standard error.</remarks>
internal sealed class LogrusLoggerFactory : ILoggerFactory
{
    private readonly Lock _gate = new();
    private readonly TextWriter[] _outputs;
    private readonly TimeProvider _clock;

    private readonly ConcurrentDictionary<string, LogLevel> _raised = new(StringComparer.Ordinal);

    // Guarded by _gate.
    private readonly StringBuilder _line = new(256);

    public LogrusLoggerFactory(LogLevel minimum, TimeProvider clock, params TextWriter[] outputs)
    {
        Minimum = minimum;
        _clock = clock;
        _outputs = outputs;
    }

    public LogLevel Minimum { get; }

    /// <summary>klog's -v: 4 is where its authors put debug output, 8 and above dump everything.</summary>
    public static LogLevel LevelOf(int verbosity) => verbosity switch
    {
        >= 8 => LogLevel.Trace,
        >= 4 => LogLevel.Debug,
        _ => LogLevel.Information,
    };

    /// <summary>Lets one component tell more than the others; it never tells less. For loggers that are made from here on.</summary>
    public void Raise(string component, LogLevel minimum) => _raised[component] = minimum;

    public ILogger CreateLogger(string categoryName) => new LogrusLogger(this, ComponentOf(categoryName));

    private LogLevel MinimumOf(string component) => _raised.TryGetValue(component, out var raised) && raised < Minimum ? raised : Minimum;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("log lines have one form and one place");

    public void Dispose()
    {
    }

    /// <summary>Writes one line now. <paramref name="component"/> may be empty.</summary>
    public void Write(string level, string message, string component, Exception? exception)
    {
        lock (_gate)
        {
            _line.Clear();
            _line.Append("time=\"").Append(_clock.GetUtcNow().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)).Append("\" level=").Append(level);
            AppendField(" msg=", message, alwaysQuoted: true);
            if (component.Length > 0)
                AppendField(" component=", component, alwaysQuoted: false);
            if (exception is not null)
                AppendField(" error=", Minimum <= LogLevel.Debug ? exception.ToString() : Brief(exception), alwaysQuoted: true);
            _line.Append('\n');
            foreach (var output in _outputs)
            {
                output.Write(_line);
                output.Flush();
            }
        }
    }

    private static string Brief(Exception exception)
    {
        var text = $"{exception.GetType().Name}: {exception.Message}";
        for (var inner = exception.InnerException; inner is not null; inner = inner.InnerException)
            text += $": {inner.Message}";
        return text;
    }

    // K3sFast.Kubelet.Pods.PodWorker -> kubelet; our own wiring stays without a component, as k3s's own lines do.
    private static string ComponentOf(string category)
    {
        const string Ours = "K3sFast.";
        if (!category.StartsWith(Ours, StringComparison.Ordinal))
            return category.StartsWith("Microsoft.", StringComparison.Ordinal) ? category[(category.LastIndexOf('.') + 1)..] : category;
        var rest = category.AsSpan(Ours.Length);
        var dot = rest.IndexOf('.');
        var first = (dot < 0 ? rest : rest[..dot]).ToString();
        return first is "Server" or "Pki" or "Containerd" or "Configuration" or "Commands" ? "" : first.ToLowerInvariant();
    }

    private void AppendField(string name, string value, bool alwaysQuoted)
    {
        _line.Append(name);
        if (!alwaysQuoted && !value.AsSpan().ContainsAny(" \"=\\\n\r\t"))
        {
            _line.Append(value);
            return;
        }
        _line.Append('"');
        foreach (var c in value)
        {
            switch (c)
            {
                case '"': _line.Append("\\\""); break;
                case '\\': _line.Append(@"\\"); break;
                case '\n': _line.Append("\\n"); break;
                case '\r': _line.Append("\\r"); break;
                case '\t': _line.Append("\\t"); break;
                default:
                    if (c < ' ')
                        _line.Append(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}");
                    else
                        _line.Append(c);
                    break;
            }
        }
        _line.Append('"');
    }

    private sealed class LogrusLogger(LogrusLoggerFactory factory, string component) : ILogger
    {
        private readonly LogLevel _minimum = factory.MinimumOf(component);

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None && logLevel >= _minimum;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                factory.Write(NameOf(logLevel), formatter(state, exception), component, exception);
        }

        // A critical line is not logrus' "fatal": that word promises that the process ends.
        private static string NameOf(LogLevel level) => level switch
        {
            LogLevel.Trace => "trace",
            LogLevel.Debug => "debug",
            LogLevel.Information => "info",
            LogLevel.Warning => "warning",
            _ => "error",
        };
    }
}
