using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Where YAML is written: bytes with the column they stand in, and room to sort the members of the maps that are open. Flush once, dispose once.</summary>
internal ref struct YamlOutput(IBufferWriter<byte> output)
{
    private const int ChunkSize = 4096;

    private readonly IBufferWriter<byte> _output = output;
    private Span<byte> _span;
    private int _used;

    // Members of the open maps, each map's behind those of the map around it.
    private ApiNode[] _members = [];
    private int _memberCount;

    /// <summary>Characters since the last line break.</summary>
    internal int Column { get; private set; }

    /// <summary>The last thing written was a line end.</summary>
    internal bool IsLineEnded { get; private set; }

    internal void Write(byte ascii)
    {
        if (_used == _span.Length)
            Renew(1);
        _span[_used++] = ascii;
        Column++;
        IsLineEnded = false;
    }

    internal void Write(scoped ReadOnlySpan<byte> utf8)
    {
        if (_span.Length - _used < utf8.Length)
            Renew(utf8.Length);
        utf8.CopyTo(_span[_used..]);
        _used += utf8.Length;
        Column += Ascii.IsValid(utf8) ? utf8.Length : CharactersOf(utf8);
        IsLineEnded = false;
    }

    /// <summary>Writes a character that breaks lines for YAML, though it is no line end.</summary>
    internal void WriteBreak(scoped ReadOnlySpan<byte> character)
    {
        Write(character);
        Column = 0;
    }

    internal void EndLine()
    {
        Write((byte)'\n');
        Column = 0;
        IsLineEnded = true;
    }

    internal void Indent(int width)
    {
        while (width-- > 0)
            Write((byte)' ');
    }

    /// <summary>The members of a map in the order they are written in; <see cref="Leave"/> gives their room back. A place is good for <see cref="Member"/> until then.</summary>
    internal Range Enter(ApiNode map)
    {
        var (start, count) = (_memberCount, map.Count);
        // The sort wants as much room again.
        if (_members.Length - start < count * 2)
            GrowMembers(start + (count * 2));
        foreach (var member in map.Members)
            _members[_memberCount++] = member.Value;
        YamlKeyOrder.Sort(_members.AsSpan(start, count), _members.AsSpan(start + count, count));
        return start.._memberCount;
    }

    internal readonly ApiNode Member(int place) => _members[place];

    internal void Leave(Range members) => _memberCount = members.Start.Value;

    internal void Flush()
    {
        if (_used > 0)
            _output.Advance(_used);
        _span = default;
        _used = 0;
    }

    public void Dispose()
    {
        if (_members.Length > 0)
            ArrayPool<ApiNode>.Shared.Return(_members, clearArray: true);
        _members = [];
    }

    private static int CharactersOf(ReadOnlySpan<byte> utf8)
    {
        var count = 0;
        foreach (var value in utf8)
            count += (value & 0xC0) == 0x80 ? 0 : 1;
        return count;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Renew(int needed)
    {
        Flush();
        _span = _output.GetSpan(Math.Max(needed, ChunkSize));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void GrowMembers(int needed)
    {
        var larger = ArrayPool<ApiNode>.Shared.Rent(Math.Max(needed, 256));
        _members.AsSpan(0, _memberCount).CopyTo(larger);
        Dispose();
        _members = larger;
    }
}
