using K3sFast.ApiMachinery;
using K3sFast.Datastore;
using K3sFast.Datastore.Transformers;
using K3sFast.WatchCache;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// What a server reads from: the caches over one datastore, and what is kept in them. It needs no certificate, and its loading is most of what a start waits for: so it
/// is made first, and loads while the rest is put together. The datastore stays the caller's.
/// </summary>
public sealed class ServedState : IAsyncDisposable
{
    private readonly CancellationTokenSource _ending = new();
    private readonly Lock _gate = new();
    private readonly ForeignValues _foreign;

    // Guarded by _gate
    private Task? _load;
    private bool _isDisposed;

    /// <summary>Puts the caches together; nothing is read yet.</summary>
    public ServedState(IDatastore store, ServedStateOptions options, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (!ReferenceEquals(options.FeatureGates, FeatureGates.Default))
            options.FeatureGates.Use();
        Store = new TransformingDatastore(store, options.ValueTransformer);
        Cacher = new Cacher(Store, new CacherOptions { TimeProvider = options.Clock, LoggerFactory = loggers, Transformer = (key, value, json) => _foreign!.Read(key, value, json) });
        Catalog = new ResourceCatalog(Schema.BuiltIn, Cacher, options.EventTtl, options.RuntimeConfig);
        _foreign = new ForeignValues(Catalog);
    }

    internal IDatastore Store { get; }

    internal Cacher Cacher { get; }

    internal ResourceCatalog Catalog { get; }

    /// <summary>Loads the caches, on other threads. Who calls again is answered the same.</summary>
    /// <returns>Completes when every cache shows what the datastore had when this was called first. Fails as <see cref="Cacher.StartAsync"/> does.</returns>
    public Task LoadAsync()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            return _load ??= Task.Run(() => Cacher.StartAsync(_ending.Token));
        }
    }

    /// <summary>Ends a load that is under way, and empties the caches. Once or more.</summary>
    public async ValueTask DisposeAsync()
    {
        Task? load;
        lock (_gate)
        {
            if (_isDisposed)
                return;
            _isDisposed = true;
            load = _load;
        }
        await _ending.CancelAsync().ConfigureAwait(false);
        if (load is not null)
            await load.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Cacher.DisposeAsync().ConfigureAwait(false);
        _ending.Dispose();
    }
}

/// <summary>What is kept, and in what form. As the members of <see cref="ApiServerOptions"/> by the same names.</summary>
public sealed record ServedStateOptions
{
    /// <summary>Another form of values at rest; null = as they are.</summary>
    public IValueTransformer? ValueTransformer { get; init; }

    /// <summary>Events vanish after this long.</summary>
    public TimeSpan EventTtl { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Which groups and versions are on.</summary>
    public RuntimeConfig RuntimeConfig { get; init; } = RuntimeConfig.Default;

    /// <summary>The gates of the process.</summary>
    public FeatureGates FeatureGates { get; init; } = FeatureGates.Default;

    /// <summary>The time.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    internal static ServedStateOptions Of(ApiServerOptions options) => new()
    {
        ValueTransformer = options.ValueTransformer,
        EventTtl = options.EventTtl,
        RuntimeConfig = options.RuntimeConfig,
        FeatureGates = options.FeatureGates,
        Clock = options.Clock,
    };
}
