using System.Buffers;

namespace K3sFast.Datastore.Transformers;

/// <summary>
/// Turns values into the form in which they are stored and back: encryption at rest. Any thread. The key is associated data: what was stored under one
/// key must not be readable under another.
/// </summary>
public interface IValueTransformer
{
    /// <summary>True = values of this key are stored in another form than they are given in.</summary>
    bool Covers(ReadOnlySpan<byte> key);

    /// <summary>Writes the stored form of a value. Called for covered keys.</summary>
    void Encode(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, IBufferWriter<byte> stored);

    /// <summary>True = the stored form begins as one of this transformer's: it is to be decoded, whether its key is covered or not.</summary>
    bool Recognizes(ReadOnlySpan<byte> stored);

    /// <summary>Writes the value of a stored form. Called for forms that are recognized.</summary>
    /// <remarks>Throws <see cref="DatastoreTransformException"/> when it was stored under another key, with a key that is not known, or was changed.</remarks>
    void Decode(ReadOnlySpan<byte> key, ReadOnlySpan<byte> stored, IBufferWriter<byte> value);
}
