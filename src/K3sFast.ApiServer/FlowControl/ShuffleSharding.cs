namespace K3sFast.ApiServer;

/// <summary>
/// Deals hands of queues by the bits of a hash: every hand is as likely as every other, and two flows seldom get the same one. The entropy of a hand,
/// log2(deck) x hand, must not exceed the hash's: 128 queues by 8 are 56 bits.
/// </summary>
internal static class ShuffleSharding
{
    /// <summary>The largest hand that the API's validation lets through fits easily.</summary>
    internal const int MaxHandSize = 16;

    // Different in every process: nobody can choose names that collide.
    private static readonly ulong s_seed = (ulong)Random.Shared.NextInt64();

    /// <summary>Fills the hand with different cards of a deck.</summary>
    internal static void Deal(ulong hash, int deckSize, Span<int> hand)
    {
        for (var i = 0; i < hand.Length; i++)
        {
            var left = (ulong)(deckSize - i);
            var card = (int)(hash % left);
            hash /= left;
            // The card is counted among those that are left: step over the dealt ones, smallest first.
            var at = 0;
            while (at < i && hand[at] <= card)
            {
                card++;
                at++;
            }
            hand[at..i].CopyTo(hand[(at + 1)..]);
            hand[at] = card;
        }
    }

    /// <summary>The hash of a flow: its schema and what tells its flows apart.</summary>
    internal static ulong Hash(ulong schema, ReadOnlySpan<char> distinguisher)
    {
        var hash = schema;
        foreach (var symbol in distinguisher)
            hash = (hash ^ symbol) * 0x100000001B3;
        return Mix(hash);
    }

    /// <inheritdoc cref="Hash(ulong, ReadOnlySpan{char})"/>
    internal static ulong Hash(ulong schema, ReadOnlySpan<byte> distinguisher)
    {
        var hash = schema;
        foreach (var symbol in distinguisher)
            hash = (hash ^ symbol) * 0x100000001B3;
        return Mix(hash);
    }

    /// <summary>The start of a schema's hashes.</summary>
    internal static ulong SeedOf(ReadOnlySpan<char> schema) => Hash(s_seed ^ 0xCBF29CE484222325, schema);

    // MurmurHash3's finalizer: every bit of the input moves every bit of the output.
    private static ulong Mix(ulong hash)
    {
        hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCD;
        hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53;
        return hash ^ (hash >> 33);
    }
}
