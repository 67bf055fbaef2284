using System.Runtime.InteropServices;

namespace K3sFast.Interop.Memory;

/// <summary>Scratch memory outside the collector's heap: what is big and short-lived goes back to the system at once.</summary>
/// <remarks>One owner. Contents are undefined at first. The span must not be used after the disposal.</remarks>
public sealed unsafe class NativeWords : IDisposable
{
    private uint* _words;
    private readonly int _length;

    /// <summary>Memory of <paramref name="length"/> words.</summary>
    /// <exception cref="OutOfMemoryException">There is none.</exception>
    public NativeWords(int length)
    {
        _words = (uint*)NativeMemory.Alloc((nuint)length, sizeof(uint));
        _length = length;
    }

    /// <summary>All of it.</summary>
    public Span<uint> Span => _words is null ? throw new ObjectDisposedException(nameof(NativeWords)) : new Span<uint>(_words, _length);

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(_words);
        _words = null;
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees what nobody disposed.</summary>
    ~NativeWords() => NativeMemory.Free(_words);
}
