using System.Text.RegularExpressions;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Patterns of RE2: matches, find, findAll.</summary>
internal static class CelRegexLibrary
{
    private static readonly CelType s_string = CelType.String;

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("matches", static args => With(args, "", static (regex, text, _) => CelValue.Of(regex.IsMatch(text))),
            Global("matches", [s_string, s_string], CelType.Bool), Member("matches_string", [s_string, s_string], CelType.Bool)),
        Function("find", Member("string_find_string", [s_string, s_string], s_string,
            static args => With(args, "Illegal regex: ", static (regex, text, _) => CelValue.Of(regex.Match(text).Value)))),
        Function("findAll",
            Member("string_find_all_string", [s_string, s_string], CelType.List(s_string), static args => With(args, "Illegal regex: ", FindAll)),
            Member("string_find_all_string_int", [s_string, s_string, CelType.Int], CelType.List(s_string), static args => With(args, "Illegal regex: ", FindAll))),
    ];

    private static CelValue With(ReadOnlySpan<CelValue> args, string complaint, Func<Regex, string, long, CelValue> use)
    {
        if (args[0].Kind != CelKind.String || args[1].Kind != CelKind.String)
            return CelValue.NoSuchOverload;
        return CelRegex.TryGet(args[1].AsString, out var regex, out string problem) ? use(regex, args[0].AsString, args.Length > 2 ? args[2].AsInt : -1) : CelValue.Error(complaint + problem);
    }

    private static CelValue FindAll(Regex regex, string text, long count)
    {
        var found = new List<string>();
        for (var match = regex.Match(text); match.Success && (count < 0 || found.Count < count); match = match.NextMatch())
            found.Add(match.Value);
        return CelValue.Of(found);
    }
}
