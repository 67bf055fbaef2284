using System.Runtime.CompilerServices;
using System.Text;

namespace K3sFast.Interop.Bpf;

/// <summary>A map in the kernel. Keys and values are blittable structs of exactly its sizes.</summary>
/// <remarks>Any thread; every call is one syscall (batches: a few).</remarks>
internal sealed unsafe class BpfMap : IDisposable
{
    // Bounds the scratch memory of a batch, and how long the kernel works without coming back.
    private const int BatchEntries = 4096;

    private readonly FileDescriptor _descriptor;

    private BpfMap(BpfMapSpec spec, FileDescriptor descriptor) => (Spec, _descriptor) = (spec, descriptor);

    /// <summary>What it is.</summary>
    internal BpfMapSpec Spec { get; }

    /// <summary>Its number, for programs. Valid until disposed.</summary>
    internal int Descriptor => _descriptor.DangerousNumber;

    /// <summary>Makes a map.</summary>
    /// <exception cref="KernelException">Not permitted, or this kernel does not have the type.</exception>
    internal static BpfMap Create(BpfMapSpec spec)
    {
        var attributes = new bpf_attr_map_create
        {
            map_type = spec.Type,
            key_size = spec.KeySize,
            value_size = spec.ValueSize,
            max_entries = spec.MaxEntries,
            map_flags = spec.Flags,
        };
        Encoding.ASCII.GetBytes(KernelName(spec.Name), new Span<byte>(attributes.map_name, (int)BpfConstants.BPF_OBJ_NAME_LEN - 1));
        return new BpfMap(spec, new FileDescriptor(BpfCall.Do(BpfConstants.BPF_MAP_CREATE, ref attributes, "bpf map create " + spec.Name)));
    }

    /// <summary>Opens a pinned map; null = nothing is there, or it is not like <paramref name="spec"/>. It may have room for another number of entries.</summary>
    internal static BpfMap? OpenPinned(string path, BpfMapSpec spec)
    {
        if (BpfCall.OpenPinned(path) is not { } descriptor) return null;
        var info = new bpf_map_info();
        var attributes = new bpf_attr_info { bpf_fd = (uint)descriptor.DangerousNumber, info_len = (uint)sizeof(bpf_map_info), info = (ulong)&info };
        var isSame = BpfCall.Try(BpfConstants.BPF_OBJ_GET_INFO_BY_FD, ref attributes) >= 0
            && (info.type, info.key_size, info.value_size, info.map_flags) == (spec.Type, spec.KeySize, spec.ValueSize, spec.Flags);
        if (isSame) return new BpfMap(spec with { MaxEntries = info.max_entries }, descriptor);
        descriptor.Dispose();
        return null;
    }

    /// <summary>A map of constants, which neither programs nor anybody else can change.</summary>
    internal static BpfMap CreateConstants(ReadOnlySpan<byte> content)
    {
        var map = Create(new BpfMapSpec("constants", BpfConstants.BPF_MAP_TYPE_ARRAY, sizeof(uint), (uint)content.Length, 1, BpfConstants.BPF_F_RDONLY_PROG));
        try
        {
            var key = 0u;
            fixed (byte* value = content)
            {
                var element = map.Element(&key, value);
                BpfCall.Do(BpfConstants.BPF_MAP_UPDATE_ELEM, ref element, "bpf map update constants");
            }
            var attributes = new bpf_attr_map_elem { map_fd = (uint)map.Descriptor };
            BpfCall.Do(BpfConstants.BPF_MAP_FREEZE, ref attributes, "bpf map freeze constants");
            return map;
        }
        catch
        {
            map.Dispose();
            throw;
        }
    }

    /// <summary>Makes the map outlive this process.</summary>
    internal void Pin(string path) => BpfCall.Pin(_descriptor, path);

    /// <summary>The value of a key; false = it has none.</summary>
    internal bool TryGet<TKey, TValue>(TKey key, out TValue value) where TKey : unmanaged where TValue : unmanaged
    {
        CheckSizes<TKey, TValue>();
        value = default;
        var found = default(TValue);
        var element = Element(&key, &found);
        var result = BpfCall.Try(BpfConstants.BPF_MAP_LOOKUP_ELEM, ref element);
        if (result is < 0 and not -Errno.ENOENT) throw new KernelException("bpf map lookup " + Spec.Name, -result);
        value = found;
        return result >= 0;
    }

    /// <summary>Sets keys to values: one by one or as a batch, whatever is less work.</summary>
    /// <exception cref="KernelException">Refused (E2BIG: the map is full); those before the refused one are set.</exception>
    internal void Set<TKey, TValue>(ReadOnlySpan<TKey> keys, ReadOnlySpan<TValue> values) where TKey : unmanaged where TValue : unmanaged
    {
        CheckSizes<TKey, TValue>();
        for (var done = 0; done < keys.Length; done += BatchEntries)
        {
            var count = Math.Min(BatchEntries, keys.Length - done);
            fixed (TKey* key = keys[done..])
            fixed (TValue* value = values[done..])
            {
                // Batches for networks came long after the rest.
                if (count == 1 || Spec.Type == BpfConstants.BPF_MAP_TYPE_LPM_TRIE)
                {
                    for (var i = 0; i < count; i++)
                    {
                        var element = Element(key + i, value + i);
                        Check(BpfCall.Try(BpfConstants.BPF_MAP_UPDATE_ELEM, ref element));
                    }
                    continue;
                }
                var batch = new bpf_attr_batch { keys = (ulong)key, values = (ulong)value, count = (uint)count, map_fd = (uint)Descriptor };
                Check(BpfCall.Try(BpfConstants.BPF_MAP_UPDATE_BATCH, ref batch));
            }
        }
    }

    /// <summary>Sets keys to values as far as there is room; answers how many were refused for want of it.</summary>
    internal int SetWhatFits<TKey, TValue>(ReadOnlySpan<TKey> keys, ReadOnlySpan<TValue> values) where TKey : unmanaged where TValue : unmanaged
    {
        try
        {
            Set(keys, values);
            return 0;
        }
        catch (KernelException full) when (full.Errno is Errno.E2BIG or Errno.ENOSPC)
        {
            var refused = 0;
            for (var i = 0; i < keys.Length; i++)
            {
                TKey key = keys[i];
                TValue value = values[i];
                var element = Element(&key, &value);
                var result = BpfCall.Try(BpfConstants.BPF_MAP_UPDATE_ELEM, ref element);
                if (result is -Errno.E2BIG or -Errno.ENOSPC) refused++;
                else Check(result);
            }
            return refused;
        }
    }

    /// <summary>Deletes keys; those that are not there are fine.</summary>
    internal void Delete<TKey>(ReadOnlySpan<TKey> keys) where TKey : unmanaged
    {
        if (sizeof(TKey) != Spec.KeySize) ThrowSizes();
        fixed (TKey* first = keys)
        {
            for (var i = 0; i < keys.Length; i++)
            {
                var element = Element(first + i, null);
                var result = BpfCall.Try(BpfConstants.BPF_MAP_DELETE_ELEM, ref element);
                if (result is < 0 and not -Errno.ENOENT) throw new KernelException("bpf map delete " + Spec.Name, -result);
            }
        }
    }

    /// <summary>Sets a key that has no value yet; false = it has one, or there is no room.</summary>
    internal bool TryAdd<TKey, TValue>(TKey key, TValue value) where TKey : unmanaged where TValue : unmanaged
    {
        CheckSizes<TKey, TValue>();
        var element = Element(&key, &value);
        element.flags = BpfConstants.BPF_NOEXIST;
        return BpfCall.Try(BpfConstants.BPF_MAP_UPDATE_ELEM, ref element) >= 0;
    }

    /// <summary>All keys, one by one: for maps of networks, which every kernel lists in no other way. Nobody may change them meanwhile.</summary>
    internal List<TKey> ReadKeys<TKey>() where TKey : unmanaged
    {
        if (sizeof(TKey) != Spec.KeySize) ThrowSizes();
        var keys = new List<TKey>();
        TKey key, next;
        // Where the kernel writes the next key, as it does where a value goes.
        var element = Element(null, &next);
        while (true)
        {
            var result = BpfCall.Try(BpfConstants.BPF_MAP_GET_NEXT_KEY, ref element);
            if (result == -Errno.ENOENT) return keys;
            if (result < 0) throw new KernelException("bpf map read " + Spec.Name, -result);
            keys.Add(next);
            key = next;
            element.key = (ulong)&key;
        }
    }

    /// <summary>Everything in a map of hashes. What others change meanwhile may or may not be seen.</summary>
    internal List<KeyValuePair<TKey, TValue>> ReadAll<TKey, TValue>() where TKey : unmanaged where TValue : unmanaged
    {
        CheckSizes<TKey, TValue>();
        var entries = new List<KeyValuePair<TKey, TValue>>();
        var (keys, values) = (new TKey[BatchEntries], new TValue[BatchEntries]);
        // The kernel's place in the map: the number of a bucket.
        var position = 0ul;
        var isStart = true;
        while (true)
        {
            uint count;
            int result;
            fixed (TKey* key = keys)
            fixed (TValue* value = values)
            {
                var batch = new bpf_attr_batch
                {
                    in_batch = isStart ? 0 : (ulong)&position, out_batch = (ulong)&position, keys = (ulong)key, values = (ulong)value,
                    count = (uint)keys.Length, map_fd = (uint)Descriptor,
                };
                result = BpfCall.Try(BpfConstants.BPF_MAP_LOOKUP_BATCH, ref batch);
                count = batch.count;
            }
            // A bucket that has more than there was room for.
            if (result == -Errno.ENOSPC)
            {
                (keys, values) = (new TKey[keys.Length * 2], new TValue[keys.Length * 2]);
                continue;
            }
            if (result is < 0 and not -Errno.ENOENT) throw new KernelException("bpf map read " + Spec.Name, -result);
            for (var i = 0; i < count; i++) entries.Add(new(keys[i], values[i]));
            if (result < 0) return entries;
            isStart = false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _descriptor.Dispose();

    private bpf_attr_map_elem Element(void* key, void* value) => new() { map_fd = (uint)Descriptor, key = (ulong)key, value = (ulong)value };

    private void CheckSizes<TKey, TValue>() where TKey : unmanaged where TValue : unmanaged
    {
        if (sizeof(TKey) != Spec.KeySize || sizeof(TValue) != Spec.ValueSize) ThrowSizes();
    }

    private void Check(int result)
    {
        if (result < 0) throw new KernelException("bpf map update " + Spec.Name, -result, result == -Errno.E2BIG ? $"it is full: {Spec.MaxEntries} entries" : null);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void ThrowSizes() => throw new InvalidOperationException($"map {Spec.Name} has keys of {Spec.KeySize} and values of {Spec.ValueSize} bytes");

    internal static string KernelName(string name) => name.Length < BpfConstants.BPF_OBJ_NAME_LEN ? name : name[..(int)(BpfConstants.BPF_OBJ_NAME_LEN - 1)];
}
