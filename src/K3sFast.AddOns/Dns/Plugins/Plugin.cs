namespace K3sFast.AddOns.Dns;

/// <summary>What a plugin did with a question.</summary>
internal enum Step
{
    /// <summary>Nothing to say: the next plugin's turn.</summary>
    Next,

    /// <summary>The answer is written.</summary>
    Answered,

    /// <summary>The answer takes time: <see cref="Plugin.AnswerAsync"/> is to be called.</summary>
    Waiting,

    /// <summary>The question is now another (an alias was followed, a search goes on): on from where the exchange says.</summary>
    Again,

    /// <summary>No answer at all.</summary>
    Drop,
}

/// <summary>
/// One plugin of a server block. Questions go down the plugins in CoreDNS' order until one answers; the answer comes back up through all above
/// it. Immutable but for what it keeps under its own locks: any thread may call it.
/// </summary>
internal abstract class Plugin : IDisposable
{
    /// <summary>As the Corefile calls it.</summary>
    internal abstract string Name { get; }

    /// <summary>True where the plugin has no say in names that an alias leads to.</summary>
    internal virtual bool IsForQuestionOnly => false;

    /// <summary>The question on its way down.</summary>
    internal virtual Step Handle(Exchange exchange) => Step.Next;

    /// <summary>The answer after <see cref="Step.Waiting"/>.</summary>
    internal virtual ValueTask<Step> AnswerAsync(Exchange exchange, CancellationToken cancellationToken) => new(Step.Next);

    /// <summary>The answer on its way up. Only <see cref="Step.Answered"/> and <see cref="Step.Again"/>.</summary>
    internal virtual Step Finish(Exchange exchange) => Step.Answered;

    /// <summary>Begins what goes on beside the questions (health checks, probes), until disposed.</summary>
    internal virtual void Start()
    {
    }

    /// <inheritdoc/>
    public virtual void Dispose()
    {
    }
}
