using System.Text;

namespace K3sFast.Datastore;

/// <summary>One committed change of one key, lent for the duration of a call: copy <see cref="Value"/> to keep it.</summary>
public readonly ref struct DatastoreEntry
{
    private readonly string? _key;

    /// <summary>The key. Where the engine gave <see cref="KeyUtf8"/> alone, each call makes a string.</summary>
    public string Key
    {
        get => _key ?? Encoding.UTF8.GetString(KeyUtf8);
        init => _key = value;
    }

    /// <summary>The key as bytes, where the engine has them at hand; empty = only <see cref="Key"/> is given.</summary>
    public ReadOnlySpan<byte> KeyUtf8 { get; init; }

    /// <summary>The value after the change; empty for deletions.</summary>
    public ReadOnlySpan<byte> Value { get; init; }

    /// <summary>The revision of this change.</summary>
    public required long Revision { get; init; }

    /// <summary>The revision at which the key's present life began.</summary>
    public required long CreateRevision { get; init; }

    /// <summary>Seconds after which the key is deleted unless it changes; 0 = never.</summary>
    public long LeaseSeconds { get; init; }

    /// <summary>The key's place among all keys of its state, where an <see cref="IStateReader"/> shows it.</summary>
    public int Rank { get; init; }

    /// <summary>Create, update or delete. Entries of a range are <see cref="AppendKind.Create"/> when never updated, else update.</summary>
    public required AppendKind Kind { get; init; }
}
