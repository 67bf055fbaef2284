using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;
using K3sFast.Datastore;

namespace K3sFast.WatchCache.Memory;

/// <summary>
/// Long-lived bytes outside the collector's sight: runs of 256 KiB of native memory, each cut into blocks of one size class, with a
/// free list per run. Larger blocks come from the C allocator. Any thread; counters are exact.
/// </summary>
/// <remarks>
/// A run is aligned to its size, so a block finds its run by masking its address. A run whose last block is freed goes back to the
/// system unless it is the only one with room in its class. Untouched pages of a run cost no memory. While many objects are loaded, busy classes take their
/// runs out of chunks of eight, which the kernel backs by one huge page each: one fault in the place of 512.
/// </remarks>
internal sealed unsafe partial class SlabAllocator
{
    private const int RunBytes = 256 * 1024;
    private const int RunHeaderBytes = 64;

    // Classes: steps of 16 bytes up to 1 KiB, then 32 steps per doubling (at most 3.1 % lost) up to 32 KiB (7 blocks per run). A class in use costs a run
    // that is not full, of which only touched pages count.
    private const int FineStep = 16;
    private const int FineLimit = 1024;
    private const int FineClasses = FineLimit / FineStep;
    private const int StepsPerDoubling = 32;
    private const int MaxBlock = 32 * 1024;
    private const int ClassCount = FineClasses + (5 * StepsPerDoubling);

    // From so many runs on (4 MiB), a class's next run will be filled: its pages are asked for at once, which costs half of what their first touches would.
    private const int BusyRuns = 16;

    // The same while many objects are loaded, when what a class holds already tells less of what it will (1 MiB).
    private const int BusyRunsOfLoad = 4;

    // A huge page of x86-64, and of arm64 with pages of 4 KiB.
    private const int ChunkBytes = 2 << 20;
    private const int RunsPerChunk = ChunkBytes / RunBytes;

    // From linux/mman.h; to populate, since Linux 5.14.
    private const int DontNeed = 4;
    private const int HugePage = 14;
    private const int PopulateWrite = 23;

    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly Run*[] _withRoom = new Run*[ClassCount];
    private readonly int[] _runs = new int[ClassCount];
    private readonly Stack<nint> _spare = [];
    private readonly Dictionary<nint, int> _spareOfChunk = [];
    private int _loads;
    private long _usedBytes;
    private long _reservedBytes;
    private long _liveBlocks;

    /// <summary>The process's one allocator of stored objects.</summary>
    public static SlabAllocator Shared { get; } = new();

    /// <summary>Bytes of live blocks, class rounding included.</summary>
    public long UsedBytes => Interlocked.Read(ref _usedBytes);

    /// <summary>Bytes taken from the system.</summary>
    public long ReservedBytes => Interlocked.Read(ref _reservedBytes);

    /// <summary>Chunks taken from the system for loads.</summary>
    public int Chunks
    {
        get
        {
            lock (_gate) return _spareOfChunk.Count;
        }
    }

    /// <summary>Blocks handed out and not yet freed.</summary>
    public long LiveBlocks => Interlocked.Read(ref _liveBlocks);

    /// <summary>The bytes that a block of a requested size really takes.</summary>
    public static int RoundUp(int size) => size > MaxBlock ? size : ClassSize(ClassOf(size));

    /// <summary>A block of at least <paramref name="size"/> bytes, aligned to 16, not cleared.</summary>
    public byte* Allocate(int size)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        lock (_gate)
        {
            _liveBlocks++;
            if (size > MaxBlock)
            {
                _usedBytes += size;
                _reservedBytes += size;
                return (byte*)NativeMemory.Alloc((nuint)size);
            }
            int index = ClassOf(size);
            var run = _withRoom[index];
            if (run is null) run = AddRunLocked(index);
            _usedBytes += run->BlockSize;
            return TakeBlockLocked(run, index);
        }
    }

    /// <summary>Gives a block back; <paramref name="size"/> is what it was asked for with.</summary>
    public void Free(byte* block, int size)
    {
        lock (_gate)
        {
            _liveBlocks--;
            Invariant.Verify(_liveBlocks >= 0, $"more blocks freed than allocated");
            if (size > MaxBlock)
            {
                _usedBytes -= size;
                _reservedBytes -= size;
                NativeMemory.Free(block);
                return;
            }
            // Safe because: runs are aligned to RunBytes and blocks lie inside their run.
            var run = (Run*)((nuint)block & ~(nuint)(RunBytes - 1));
            int index = ClassOf(size);
            Invariant.Verify(run->BlockSize == ClassSize(index), $"block of {size} bytes freed into a run of {run->BlockSize}");
            _usedBytes -= run->BlockSize;
            bool hadRoom = run->Free is not null || run->Fresh + run->BlockSize <= RunBytes;
            *(byte**)block = run->Free;
            run->Free = block;
            run->Live--;
            if (!hadRoom) LinkLocked(run, index);
            if (run->Live == 0 && (run->Next is not null || run->Previous is not null)) DropRunLocked(run, index);
        }
    }

    /// <summary>Many blocks will be asked for until <see cref="EndLoad"/>, and kept.</summary>
    public void BeginLoad()
    {
        lock (_gate) _loads++;
    }

    /// <summary>Ends what <see cref="BeginLoad"/> began: what was got ready for more is given back.</summary>
    public void EndLoad()
    {
        lock (_gate)
        {
            if (--_loads > 0) return;
            foreach (nint run in _spare) _ = Advise((void*)run, RunBytes, DontNeed);
        }
    }

    private static int ClassOf(int size)
    {
        if (size <= FineLimit) return (size - 1) / FineStep;
        int doubling = BitOperations.Log2((uint)(size - 1)) - BitOperations.Log2(FineLimit);
        int step = FineLimit / StepsPerDoubling << doubling;
        return FineClasses + (doubling * StepsPerDoubling) + ((size - 1 - (FineLimit << doubling)) / step);
    }

    private static int ClassSize(int index)
    {
        if (index < FineClasses) return (index + 1) * FineStep;
        int doubling = (index - FineClasses) / StepsPerDoubling;
        int step = FineLimit / StepsPerDoubling << doubling;
        return (FineLimit << doubling) + ((((index - FineClasses) % StepsPerDoubling) + 1) * step);
    }

    private byte* TakeBlockLocked(Run* run, int index)
    {
        byte* block = run->Free;
        if (block is not null)
        {
            run->Free = *(byte**)block;
        }
        else
        {
            block = (byte*)run + run->Fresh;
            run->Fresh += run->BlockSize;
        }
        run->Live++;
        if (run->Free is null && run->Fresh + run->BlockSize > RunBytes) UnlinkLocked(run, index);
        return block;
    }

    private Run* AddRunLocked(int index)
    {
        int others = _runs[index]++;
        bool isOfChunk = others >= (_loads > 0 ? BusyRunsOfLoad : BusyRuns) && (_spare.Count > 0 || _loads > 0);
        var run = isOfChunk ? TakeSpareLocked() : (Run*)NativeMemory.AlignedAlloc(RunBytes, RunBytes);
        // Older kernels refuse, and nothing is lost. What is there already costs little.
        if (others >= BusyRuns || isOfChunk) _ = Advise(run, RunBytes, PopulateWrite);
        *run = new Run { BlockSize = ClassSize(index), Fresh = RunHeaderBytes, IsOfChunk = isOfChunk };
        _reservedBytes += RunBytes;
        LinkLocked(run, index);
        return run;
    }

    private void DropRunLocked(Run* run, int index)
    {
        UnlinkLocked(run, index);
        _runs[index]--;
        _reservedBytes -= RunBytes;
        if (run->IsOfChunk) ReturnSpareLocked(run);
        else NativeMemory.AlignedFree(run);
    }

    private Run* TakeSpareLocked()
    {
        if (_spare.Count == 0)
        {
            byte* chunk = (byte*)NativeMemory.AlignedAlloc(ChunkBytes, ChunkBytes);
            // Where there are no huge pages, or none is free, these are small ones.
            _ = Advise(chunk, ChunkBytes, HugePage);
            for (int i = RunsPerChunk - 1; i >= 0; i--) _spare.Push((nint)(chunk + (i * RunBytes)));
            _spareOfChunk.Add((nint)chunk, RunsPerChunk);
        }
        nint run = _spare.Pop();
        _spareOfChunk[ChunkOf(run)]--;
        return (Run*)run;
    }

    private void ReturnSpareLocked(Run* run)
    {
        nint chunk = ChunkOf((nint)run);
        if (++_spareOfChunk[chunk] < RunsPerChunk)
        {
            _ = Advise(run, RunBytes, DontNeed);
            _spare.Push((nint)run);
            return;
        }
        _spareOfChunk.Remove(chunk);
        nint[] rest = [.. _spare.Where(other => ChunkOf(other) != chunk)];
        _spare.Clear();
        foreach (nint other in rest.AsSpan()) _spare.Push(other);
        NativeMemory.AlignedFree((void*)chunk);
    }

    // Safe because: chunks are aligned to ChunkBytes and runs lie inside their chunk.
    private static nint ChunkOf(nint run) => run & ~(nint)(ChunkBytes - 1);

    private void LinkLocked(Run* run, int index)
    {
        run->Previous = null;
        run->Next = _withRoom[index];
        if (run->Next is not null) run->Next->Previous = run;
        _withRoom[index] = run;
    }

    private void UnlinkLocked(Run* run, int index)
    {
        if (run->Previous is not null) run->Previous->Next = run->Next;
        else _withRoom[index] = run->Next;
        if (run->Next is not null) run->Next->Previous = run->Previous;
        run->Next = null;
        run->Previous = null;
    }

    /// <summary>madvise(2). Returns 0, or -1.</summary>
    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);

    [StructLayout(LayoutKind.Sequential)]
    private struct Run
    {
        static Run() => Debug.Assert(sizeof(Run) <= RunHeaderBytes, "the run header outgrew its place");

        public Run* Next;
        public Run* Previous;
        public byte* Free;
        public int BlockSize;
        public int Fresh;
        public int Live;
        public bool IsOfChunk;
    }
}
