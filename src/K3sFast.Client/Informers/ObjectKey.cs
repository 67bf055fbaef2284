using System.Buffers;
using System.Text;
using k8s;
using k8s.Models;

namespace K3sFast.Client;

/// <summary>Namespace ("" for cluster-scoped objects) and name: what queues and stores are keyed by.</summary>
public readonly record struct ObjectKey(string Namespace, string Name)
{
    /// <summary>The key of an object.</summary>
    public static ObjectKey Of(IKubernetesObject<V1ObjectMeta> value) => new(value.Metadata.NamespaceProperty ?? "", value.Metadata.Name ?? "");

    /// <summary>A hash that is the same for a key in bytes and for the key in strings; this process' alone. Allocates nothing.</summary>
    public static int HashOf(ReadOnlySpan<byte> namespaceName, ReadOnlySpan<byte> name)
    {
        var hash = default(HashCode);
        hash.AddBytes(namespaceName);
        // No name holds a slash.
        hash.Add((byte)'/');
        hash.AddBytes(name);
        return hash.ToHashCode();
    }

    /// <summary>The same of this key.</summary>
    internal int Utf8Hash()
    {
        var most = Encoding.UTF8.GetMaxByteCount(Namespace.Length + Name.Length);
        var rented = most > 512 ? ArrayPool<byte>.Shared.Rent(most) : null;
        Span<byte> buffer = rented ?? stackalloc byte[512];
        var first = Encoding.UTF8.GetBytes(Namespace, buffer);
        var second = Encoding.UTF8.GetBytes(Name, buffer[first..]);
        var hash = HashOf(buffer[..first], buffer.Slice(first, second));
        if (rented is not null) ArrayPool<byte>.Shared.Return(rented);
        return hash;
    }

    /// <summary>As people and logs write it: namespace/name, or name.</summary>
    public override string ToString() => Namespace.Length == 0 ? Name : $"{Namespace}/{Name}";
}
