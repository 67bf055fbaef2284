using System.Globalization;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Semantic versions (semver.org 2.0.0), version 1 of the library: with normalization.</summary>
internal static class CelSemverLibrary
{
    internal static readonly CelType Type = CelType.Extension("kubernetes.Semver");

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("semver",
            Global("string_to_semver", [CelType.String], Type, static args => Parse(args[0].AsString, false)),
            Global("string_bool_to_semver", [CelType.String, CelType.Bool], Type, static args => Parse(args[0].AsString, args[1].AsBool))),
        Function("isSemver",
            Global("is_semver_string", [CelType.String], CelType.Bool, static args => CelValue.Of(!Parse(args[0].AsString, false).IsError)),
            Global("is_semver_string_bool", [CelType.String, CelType.Bool], CelType.Bool, static args => CelValue.Of(!Parse(args[0].AsString, args[1].AsBool).IsError))),
        Function("isGreaterThan", Member("semver_is_greater_than", [Type, Type], CelType.Bool, static args => CelValue.Of(Compare(args) > 0))),
        Function("isLessThan", Member("semver_is_less_than", [Type, Type], CelType.Bool, static args => CelValue.Of(Compare(args) < 0))),
        Function("compareTo", Member("semver_compare_to", [Type, Type], CelType.Int, static args => CelValue.Of((long)Compare(args)))),
        Function("major", Member("semver_major", [Type], CelType.Int, static args => CelValue.Of((long)Of(args[0]).Major))),
        Function("minor", Member("semver_minor", [Type], CelType.Int, static args => CelValue.Of((long)Of(args[0]).Minor))),
        Function("patch", Member("semver_patch", [Type], CelType.Int, static args => CelValue.Of((long)Of(args[0]).Patch))),
    ];

    /// <summary>A version as a value; an error in upstream's words when the text is none.</summary>
    internal static CelValue Parse(string text, bool isNormalized)
    {
        if (isNormalized && Normalize(ref text) is { } short_)
            return CelValue.Error(short_);
        var (version, problem) = Semver.Parse(text);
        return version is null ? CelValue.Error(problem) : CelValue.Struct(version);
    }

    private static Semver Of(CelValue value) => (Semver)value.Reference!;

    private static int Compare(ReadOnlySpan<CelValue> args) => Of(args[0]).CompareTo(Of(args[1]));

    // A leading v, leading zeros and missing parts are forgiven.
    private static string? Normalize(ref string text)
    {
        var parts = (text.StartsWith('v') ? text[1..] : text).Split('.', 3);
        for (int i = 0; i < parts.Length; i++)
        {
            if (parts[i].Length <= 1)
                continue;
            string trimmed = parts[i].TrimStart('0');
            parts[i] = trimmed.Length == 0 || !char.IsAsciiDigit(trimmed[0]) ? "0" + trimmed : trimmed;
        }
        if (parts.Length < 3 && parts[^1].AsSpan().IndexOfAny('+', '-') >= 0)
            return "short version cannot contain PreRelease/Build meta data";
        text = string.Join('.', parts.Concat(Enumerable.Repeat("0", 3 - parts.Length)));
        return null;
    }

    private sealed class Semver(ulong major, ulong minor, ulong patch, string[] pre, string[] build) : ICelObject
    {
        internal ulong Major { get; } = major;

        internal ulong Minor { get; } = minor;

        internal ulong Patch { get; } = patch;

        public string TypeName => "kubernetes.Semver";

        internal static (Semver? Version, string Problem) Parse(string text)
        {
            if (text.Length == 0)
                return (null, "Version string empty");
            var parts = text.Split('.', 3);
            if (parts.Length != 3)
                return (null, "No Major.Minor.Patch elements found");
            string rest = parts[2];
            string[] pre = [], build = [];
            if (rest.IndexOf('+', StringComparison.Ordinal) is var plus and >= 0)
                (rest, build) = (rest[..plus], rest[(plus + 1)..].Split('.'));
            if (rest.IndexOf('-', StringComparison.Ordinal) is var dash and >= 0)
                (rest, pre) = (rest[..dash], rest[(dash + 1)..].Split('.'));
            var numbers = new ulong[3];
            string[] texts = [parts[0], parts[1], rest];
            string[] names = ["major", "minor", "patch"];
            for (int i = 0; i < 3; i++)
            {
                if (texts[i].AsSpan().IndexOfAnyExceptInRange('0', '9') >= 0)
                    return (null, $"Invalid character(s) found in {names[i]} number {GoText.Quote(texts[i])}");
                if (texts[i].Length > 1 && texts[i][0] == '0')
                    return (null, $"{char.ToUpperInvariant(names[i][0])}{names[i][1..]} number must not contain leading zeroes {GoText.Quote(texts[i])}");
                if (!ulong.TryParse(texts[i], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i]))
                    return (null, $"strconv.ParseUint: parsing {GoText.Quote(texts[i])}: invalid syntax");
            }
            foreach (string part in pre)
            {
                if (part.Length == 0)
                    return (null, "Prerelease is empty");
                if (part.Any(static unit => !char.IsAsciiLetterOrDigit(unit) && unit != '-'))
                    return (null, $"Invalid character(s) found in prerelease {GoText.Quote(part)}");
                if (part.All(char.IsAsciiDigit) && part.Length > 1 && part[0] == '0')
                    return (null, $"Numeric PreRelease version must not contain leading zeroes {GoText.Quote(part)}");
            }
            foreach (string part in build)
            {
                if (part.Length == 0)
                    return (null, "Build meta data is empty");
                if (part.Any(static unit => !char.IsAsciiLetterOrDigit(unit) && unit != '-'))
                    return (null, $"Invalid character(s) found in build meta data {GoText.Quote(part)}");
            }
            return (new Semver(numbers[0], numbers[1], numbers[2], pre, build), "");
        }

        internal int CompareTo(Semver other)
        {
            int order = Major.CompareTo(other.Major);
            order = order != 0 ? order : Minor.CompareTo(other.Minor);
            order = order != 0 ? order : Patch.CompareTo(other.Patch);
            return order != 0 ? order : ComparePre(Pre, other.Pre);
        }

        private string[] Pre { get; } = pre;

        private static int ComparePre(string[] first, string[] second)
        {
            if (first.Length == 0 || second.Length == 0)
                return second.Length.CompareTo(first.Length) is var order && order != 0 ? Math.Sign(order) : 0;
            for (int i = 0; i < Math.Min(first.Length, second.Length); i++)
            {
                bool isNumber = first[i].All(char.IsAsciiDigit), isOtherNumber = second[i].All(char.IsAsciiDigit);
                int order = isNumber && isOtherNumber ? first[i].Length != second[i].Length ? first[i].Length - second[i].Length : string.CompareOrdinal(first[i], second[i])
                    : isNumber != isOtherNumber ? isNumber ? -1 : 1
                    : string.CompareOrdinal(first[i], second[i]);
                if (order != 0)
                    return Math.Sign(order);
            }
            return Math.Sign(first.Length - second.Length);
        }

        public CelValue EqualTo(CelValue other) => other.Reference is Semver version ? CelValue.Of(CompareTo(version) == 0) : CelValue.NoSuchOverload;

        public override string ToString() => string.Create(CultureInfo.InvariantCulture,
            $"{Major}.{Minor}.{Patch}{(Pre.Length > 0 ? "-" + string.Join('.', Pre) : "")}{(build.Length > 0 ? "+" + string.Join('.', build) : "")}");
    }
}
