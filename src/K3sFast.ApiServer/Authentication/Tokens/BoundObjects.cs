using System.Text;

namespace K3sFast.ApiServer;

/// <summary>A Secret that holds a service account's token.</summary>
internal readonly record struct TokenSecret(bool IsDeleting, byte[] Token, string InvalidSince, string LastUsed);

/// <summary>Looks up what tokens refer to.</summary>
internal interface IBoundObjects
{
    /// <summary>The uid of the object and when its deletion began; null when it does not exist. The namespace is "" for nodes.</summary>
    (string Uid, DateTimeOffset? DeletionTimestamp)? Find(string resource, string ns, string name);

    /// <summary>The Secret with its token and tracking labels; null when it does not exist.</summary>
    TokenSecret? FindTokenSecret(string ns, string name);

    /// <summary>True if the account's list of secrets names it: such tokens were made by old controllers, not by hand.</summary>
    bool AccountNamesSecret(string ns, string account, string secret);
}

/// <summary>What tokens refer to, from the watch caches.</summary>
internal sealed class CachedBoundObjects(ResourceCatalog catalog) : IBoundObjects
{
    private readonly ResourceStorage _accounts = catalog.Storage("", "serviceaccounts");
    private readonly ResourceStorage _secrets = catalog.Storage("", "secrets");
    private readonly ResourceStorage _pods = catalog.Storage("", "pods");
    private readonly ResourceStorage _nodes = catalog.Storage("", "nodes");

    public (string Uid, DateTimeOffset? DeletionTimestamp)? Find(string resource, string ns, string name)
    {
        var storage = resource switch { "serviceaccounts" => _accounts, "secrets" => _secrets, "pods" => _pods, _ => _nodes };
        using var stored = storage.Get(ns, name);
        if (stored is null)
            return null;
        // The word is looked for before anything is decoded: hardly any object is being deleted.
        if (!stored.Json.MayContain("\"deletionTimestamp\":\""u8))
            return (stored.Uid(), null);
        using var document = storage.Decode(stored);
        return (stored.Uid(), ObjectText.TryParseTime(document.Root["metadata"u8]["deletionTimestamp"u8], out var time) ? time : null);
    }

    public TokenSecret? FindTokenSecret(string ns, string name)
    {
        using var stored = _secrets.Get(ns, name);
        if (stored is null)
            return null;
        using var document = _secrets.Decode(stored);
        var labels = document.Root["metadata"u8]["labels"u8];
        var text = document.Root["data"u8]["token"u8].Utf8;
        var token = new byte[text.Length];
        if (System.Buffers.Text.Base64.DecodeFromUtf8(text, token, out _, out var length) != System.Buffers.OperationStatus.Done)
            length = 0;
        return new TokenSecret(
            ObjectText.IsDeleting(document.Root), token[..length], labels[Encoding.UTF8.GetBytes(LegacyTokenTracking.InvalidSinceLabel)].AsString(),
            labels[Encoding.UTF8.GetBytes(LegacyTokenTracking.LastUsedLabel)].AsString());
    }

    public bool AccountNamesSecret(string ns, string account, string secret)
    {
        using var stored = _accounts.Get(ns, account);
        if (stored is null)
            return false;
        using var document = _accounts.Decode(stored);
        foreach (var reference in document.Root["secrets"u8].Elements)
        {
            if (reference["name"u8].AsString() == secret)
                return true;
        }
        return false;
    }
}
