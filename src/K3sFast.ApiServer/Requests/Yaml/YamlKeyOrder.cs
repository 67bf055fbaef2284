using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The order of a map's keys in upstream's encoder: where two differ, letters stand behind everything else, and numbers by their value.</summary>
internal static class YamlKeyOrder
{
    // So few are put in their places one by one.
    private const int FewMembers = 8;

    /// <summary>Sorts a map's members. Whatever the keys are, it ends: numbers that overflow leave no order that a sort could rely on.</summary>
    internal static void Sort(Span<ApiNode> members, Span<ApiNode> spare)
    {
        if (members.Length <= FewMembers)
        {
            for (var i = 1; i < members.Length; i++)
            {
                var member = members[i];
                var place = i;
                for (; place > 0 && Compare(members[place - 1].Name, member.Name) > 0; place--)
                    members[place] = members[place - 1];
                members[place] = member;
            }
            return;
        }
        Span<ApiNode> left = members[..(members.Length / 2)], right = members[left.Length..];
        Sort(left, spare[..left.Length]);
        Sort(right, spare[left.Length..]);
        left.CopyTo(spare);
        int fromLeft = 0, fromRight = 0, to = 0;
        while (fromLeft < left.Length && fromRight < right.Length)
            members[to++] = Compare(right[fromRight].Name, spare[fromLeft].Name) < 0 ? right[fromRight++] : spare[fromLeft++];
        spare[fromLeft..left.Length].CopyTo(members[to..]);
    }

    /// <summary>Below 0: the left key comes first.</summary>
    internal static int Compare(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        var at = left.CommonPrefixLength(right);
        if (at == left.Length || at == right.Length)
            return left.Length.CompareTo(right.Length);
        while (at > 0 && (left[at] & 0xC0) == 0x80)
            at--;
        Rune.DecodeFromUtf8(left[at..], out var a, out _);
        Rune.DecodeFromUtf8(right[at..], out var b, out _);
        bool isLetter = Rune.IsLetter(a), isOtherLetter = Rune.IsLetter(b);
        if (isLetter && isOtherLetter)
            return a.CompareTo(b);
        if (isLetter || isOtherLetter)
            return isLetter ? 1 : -1;
        // Zeros count within a number, not before it.
        long x = 0, y = 0;
        if ((a.Value == '0' || b.Value == '0') && EndsWithinNumber(left[..at]))
            x = y = 1;
        var digits = TakeNumber(left[at..], ref x);
        var otherDigits = TakeNumber(right[at..], ref y);
        return x != y ? x.CompareTo(y) : digits != otherDigits ? digits.CompareTo(otherDigits) : a.CompareTo(b);
    }

    private static bool EndsWithinNumber(ReadOnlySpan<byte> text)
    {
        while (Rune.DecodeLastFromUtf8(text, out var rune, out var length) == System.Buffers.OperationStatus.Done && Rune.IsDigit(rune))
        {
            if (rune.Value != '0')
                return true;
            text = text[..^length];
        }
        return false;
    }

    // Answers how many digits there are.
    private static int TakeNumber(ReadOnlySpan<byte> text, ref long number)
    {
        var digits = 0;
        while (Rune.DecodeFromUtf8(text, out var rune, out var length) == System.Buffers.OperationStatus.Done && Rune.IsDigit(rune))
        {
            number = unchecked((number * 10) + (rune.Value - '0'));
            text = text[length..];
            digits++;
        }
        return digits;
    }
}
