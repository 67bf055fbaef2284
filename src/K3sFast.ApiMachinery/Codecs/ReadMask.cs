using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// The members of objects that somebody reads, so that the others need not become a tree. Elements of a list are looked at with the list's mask.
/// Immutable.
/// </summary>
internal sealed class ReadMask
{
    private readonly List<(byte[] Name, ReadMask Mask)> _members = [];
    private readonly bool _takesOthers;

    private ReadMask(bool takesOthers) => _takesOthers = takesOthers;

    /// <summary>Takes whatever there is.</summary>
    public static ReadMask Everything { get; } = new(takesOthers: true);

    /// <summary>Takes nothing.</summary>
    public static ReadMask Nothing { get; } = new(takesOthers: false);

    /// <summary>Takes what is named (<c>metadata.name</c>) with everything in it, and nothing else.</summary>
    public static ReadMask Of(params ReadOnlySpan<string> paths) => Make(takesOthers: false, paths);

    /// <summary>Takes everything but what is named.</summary>
    public static ReadMask AllBut(params ReadOnlySpan<string> paths) => Make(takesOthers: true, paths);

    /// <summary>The mask for a member's value.</summary>
    public ReadMask For(ReadOnlySpan<byte> name)
    {
        foreach (var (known, mask) in _members)
        {
            if (name.SequenceEqual(known))
                return mask;
        }
        return _takesOthers ? Everything : Nothing;
    }

    private static ReadMask Make(bool takesOthers, ReadOnlySpan<string> paths)
    {
        var root = new ReadMask(takesOthers);
        foreach (var path in paths)
        {
            var mask = root;
            var names = path.Split('.');
            for (var i = 0; i < names.Length; i++)
            {
                var name = Encoding.UTF8.GetBytes(names[i]);
                var next = mask._members.Find(member => member.Name.AsSpan().SequenceEqual(name)).Mask;
                if (next is null)
                {
                    next = i < names.Length - 1 ? new ReadMask(takesOthers) : takesOthers ? Nothing : Everything;
                    mask._members.Add((name, next));
                }
                mask = next;
            }
        }
        return root;
    }
}
