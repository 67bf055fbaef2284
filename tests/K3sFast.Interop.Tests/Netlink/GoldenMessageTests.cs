using System.Reflection;
using System.Runtime.CompilerServices;
using K3sFast.Interop.Netlink;
using K3sFast.Interop.NfTables;

namespace K3sFast.Interop.Tests.Netlink;

/// <summary>
/// Every message, byte by byte. The file messages.golden was compared with the kernel's headers by hand; that the kernel understands them so is the round trips' to show.
/// </summary>
public sealed class GoldenMessageTests
{
    private const BindingFlags Declared = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    // Parts of messages, and what is done with messages that others wrote.
    private static readonly HashSet<string> s_noMessages =
        ["RouteBatch.Address", "GenericNetlink.Begin", "NftExpression.WriteValue", "NftExpression.WriteVerdict", "RouteSocket.Execute", "RouteSocket.Collect", "IpvsSocket.Execute", "NftBatch.Clear"];

    [Fact]
    public void Messages_Written_AreThoseOfTheGoldenFile()
    {
        var golden = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Netlink", "messages.golden"));
        var written = string.Concat(GoldenMessages.All.Select(static message => $"{message.Name}\n{MessageText.Of(message.Write(), message.FamilyBytes)}"));
        Assert.Equal(golden, written);
    }

    [Fact]
    public void Messages_ThatCanBeWritten_AreAllInTheTable()
    {
        var covered = GoldenMessages.All.Select(static message => message.Name.Split(' ')[0]).ToHashSet();
        var all = Writers().ToHashSet();
        Assert.True(all.Count > 60, $"only {all.Count} writers were found");
        Assert.Empty(all.Except(covered));
        Assert.Empty(covered.Except(all));
    }

    // Who is given a batch writes into it; who is given or has a socket asks; each step of a rule is a message's part of its own.
    private static IEnumerable<string> Writers()
    {
        foreach (var type in typeof(NetlinkBatch).Assembly.GetTypes())
        {
            if (type.IsDefined(typeof(CompilerGeneratedAttribute), false) || type == typeof(NftTable) || type == typeof(NetlinkSocket)) continue;
            if (type.IsSubclassOf(typeof(NftExpression)) && !type.IsAbstract) yield return type.Name;
            if (typeof(NftExpression).IsAssignableFrom(type) && type != typeof(NftExpression)) continue;
            var hasSocket = type.GetFields(Declared).Any(static field => field.FieldType == typeof(NetlinkSocket));
            foreach (var method in type.GetMethods(Declared))
            {
                if (method.IsPrivate || method.IsSpecialName || method.Name.Contains('<', StringComparison.Ordinal)) continue;
                var first = method.GetParameters().FirstOrDefault()?.ParameterType;
                var writes = method.IsStatic ? first == typeof(NetlinkBatch) || first == typeof(NetlinkSocket) || first == typeof(RouteSocket) : (hasSocket || type == typeof(NftBatch)) && method.Name != "Dispose";
                var name = $"{type.Name}.{method.Name}";
                if (writes && !s_noMessages.Contains(name)) yield return name;
            }
        }
    }
}
