extern alias TypedClient;
using System.Reflection;
using System.Runtime.CompilerServices;
using TypedClient::k8s;
using TypedClient::k8s.Models;

namespace K3sFast.ApiServer.Tests;

/// <summary>The client's generated operations by name, with every optional argument left out.</summary>
internal static class TypedOperations
{
    /// <summary>The operations of each group and version, such as CoreV1 and AppsV1.</summary>
    internal static IEnumerable<PropertyInfo> Groups => typeof(Kubernetes).GetInterfaces().SelectMany(static face => face.GetProperties())
        .Where(static property => property.PropertyType.Name.EndsWith("Operations", StringComparison.Ordinal) && property.Name is not "CustomObjects").DistinctBy(static property => property.Name);

    internal static object Of(Kubernetes client, string name) =>
        Groups.First(property => property.Name == name).GetValue(client) ?? throw new InvalidOperationException(name);

    /// <summary>The operation of that name in a group, or null.</summary>
    internal static MethodInfo? Find(string name, string group) => Groups.First(property => property.Name == group).PropertyType.GetMethods()
        .FirstOrDefault(method => method.Name == name + "WithHttpMessagesAsync" && !method.IsGenericMethod);

    /// <summary>Watches a kind with the generated watch: type of change and object.</summary>
    internal static async IAsyncEnumerable<(WatchEventType Type, IKubernetesObject<V1ObjectMeta> Object)> WatchAsync(
        object operations, string group, string name, Dictionary<string, object?> named, [EnumeratorCancellation] CancellationToken cancel)
    {
        var watch = typeof(Kubernetes).Assembly.GetType($"k8s.{group}OperationsExtensions")!.GetMethods().First(method => method.Name == $"WatchList{name}Async" && !method.IsGenericMethod);
        var arguments = watch.GetParameters().Select((parameter, i) =>
            i == 0 ? operations : parameter.ParameterType == typeof(CancellationToken) ? cancel : named.TryGetValue(parameter.Name!, out var value) ? value : null).ToArray();
        var changes = watch.Invoke(null, arguments)!;
        var pair = watch.ReturnType.GetGenericArguments()[0];
        var enumerator = watch.ReturnType.GetMethod("GetAsyncEnumerator")!.Invoke(changes, [cancel])!;
        var face = typeof(IAsyncEnumerator<>).MakeGenericType(pair);
        await using var disposal = (IAsyncDisposable)enumerator;
        while (await (ValueTask<bool>)face.GetMethod("MoveNextAsync")!.Invoke(enumerator, null)!)
        {
            var current = (ITuple)face.GetProperty("Current")!.GetValue(enumerator)!;
            yield return ((WatchEventType)current[0]!, (IKubernetesObject<V1ObjectMeta>)current[1]!);
        }
    }

    /// <summary>Calls an operation; the answer's typed body.</summary>
    internal static async Task<object> CallAsync(object operations, MethodInfo method, params object?[] leading)
    {
        var arguments = method.GetParameters().Select((parameter, i) => i < leading.Length ? leading[i] : parameter.HasDefaultValue ? parameter.DefaultValue : null).ToArray();
        for (var i = leading.Length; i < arguments.Length; i++)
        {
            if (method.GetParameters()[i].ParameterType == typeof(CancellationToken))
                arguments[i] = TestContext.Current.CancellationToken;
        }
        var task = (Task)method.Invoke(operations, arguments)!;
        await task;
        var response = task.GetType().GetProperty("Result")!.GetValue(task)!;
        return response.GetType().GetProperty("Body")!.GetValue(response)!;
    }
}
