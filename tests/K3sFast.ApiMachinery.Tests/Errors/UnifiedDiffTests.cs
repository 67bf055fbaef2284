namespace K3sFast.ApiMachinery.Tests;

public sealed class UnifiedDiffTests
{
    private static readonly string s_long = string.Join('\n', Enumerable.Range(0, 260).Select(static i => i % 4 == 0 ? " }" : $"n{i}"));

    [Fact]
    public void Of_EqualTexts_IsEmpty() => Assert.Empty(UnifiedDiff.Of("a\nb", "a\nb"));

    [Fact]
    public void Of_OneLine_HasNoCounts() => Assert.Equal("@@ -1 +1 @@\n-a\n+b\n", UnifiedDiff.Of("a", "b"));

    // The expected texts are what Python's difflib.unified_diff answers.
    [Fact]
    public void Of_ChangesApart_StandInGroupsWithContext()
    {
        const string Before = """
            {
             "a": 1,
             "b": [
              1,
              2
             ],
             "k0": null,
             "k1": null,
             "k2": null,
             "k3": null,
             "k4": null,
             "k5": null,
             "k6": null,
             "k7": null,
             "k8": null,
             "k9": null,
             "k10": null,
             "k11": null,
             "z": "y"
            }
            """;

        Assert.Equal(
            """
            @@ -1,7 +1,6 @@
             {
            - "a": 1,
            + "a": 2,
              "b": [
            -  1,
               2
              ],
              "k0": null,
            @@ -16,5 +15,5 @@
              "k9": null,
              "k10": null,
              "k11": null,
            - "z": "y"
            + "z": "x"
             }

            """,
            UnifiedDiff.Of(Before, Before.Replace("\"a\": 1", "\"a\": 2").Replace("  1,\n", "").Replace("\"z\": \"y\"", "\"z\": \"x\"")));
    }

    [Fact]
    public void Of_LongTextWithFrequentLines_IsMatchedByTheRareOnes()
    {
        var after = s_long.Replace("n9\n", "m9\n").Replace("n130\nn131\n", "m130\nm131\n").Replace("n57\n", "");

        Assert.Equal(
            """
            @@ -7,7 +7,7 @@
             n6
             n7
              }
            -n9
            +m9
             n10
             n11
              }
            @@ -55,7 +55,6 @@
             n54
             n55
              }
            -n57
             n58
             n59
              }
            @@ -128,8 +127,8 @@
             n127
              }
             n129
            -n130
            -n131
            +m130
            +m131
              }
             n133
             n134

            """,
            UnifiedDiff.Of(s_long, after));
    }
}
