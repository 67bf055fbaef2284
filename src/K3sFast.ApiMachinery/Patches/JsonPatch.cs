using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// JSON patch, RFC 6902, in the dialect of the library that kube-apiserver uses: negative array indexes count from the end, replace of an absent
/// member adds it, test of an absent member succeeds against null.
/// </summary>
public static class JsonPatch
{
    /// <summary>More operations are refused, as upstream.</summary>
    public const int MaxOperations = 10_000;

    // What finding places in arrays may cost one patch: the elements stepped over. Ten thousand operations on lists of a thousand take at most ten million.
    private const int MaxSteps = 16 * 1024 * 1024;

    // What all copy operations of one patch may add together; upstream's limit, so that a small patch cannot grow an object without bound.
    private const int MaxCopiedBytes = 3 * 1024 * 1024;

    /// <summary>Changes the target by the operations. When it throws, the target is half changed: dispose it.</summary>
    /// <exception cref="ApiStatusException">400 for a body that is no patch, 413 for too many operations, 422 when an operation does not apply.</exception>
    public static void Apply(ApiObject target, ReadOnlySpan<byte> patch, ICollection<string>? strictErrors = null) =>
        Apply(target, patch, strictErrors, []);

    /// <summary>The same; notes the objects that operations went through, which upstream writes again with their members sorted.</summary>
    internal static void Apply(ApiObject target, ReadOnlySpan<byte> patch, ICollection<string>? strictErrors, List<ApiNode> touched)
    {
        var duplicates = strictErrors is null ? null : new List<string>();
        using var document = PatchBody.Parse(patch, duplicates, "error decoding patch: ", null);
        CheckShape(document.Root, isStrict: strictErrors is not null);
        foreach (var duplicate in duplicates ?? [])
            strictErrors!.Add($"json patch {duplicate}");
        if (document.Root.Count > MaxOperations)
        {
            throw ApiStatus.RequestEntityTooLarge(string.Create(
                CultureInfo.InvariantCulture, $"The allowed maximum operations in a JSON patch is {MaxOperations}, got {document.Root.Count}")).ToException();
        }
        int copied = 0, index = 0;
        var walked = 0L;
        foreach (var operation in document.Root.Elements)
        {
            if (strictErrors is not null)
                CheckMembers(operation, index, strictErrors);
            if (!TryApply(target, operation, touched, ref copied, ref walked))
                throw ApiStatus.Unprocessable().ToException();
            if (walked > MaxSteps)
                throw ApiStatus.RequestEntityTooLarge("the operations of the JSON patch reach too far into lists too often").ToException();
            index++;
        }
    }

    // A null in the place of the list or of an operation is an empty one. Only the strict reader looks at the members' types.
    private static void CheckShape(ApiNode patch, bool isStrict)
    {
        if (patch.Kind is not (NodeKind.Array or NodeKind.Null))
            throw Wrong(patch, isStrict ? "Go value of type []handlers.jsonPatchOp" : "Go value of type jsonpatch.Patch", isStrict);
        foreach (var operation in patch.Elements)
        {
            if (operation.Kind is not (NodeKind.Object or NodeKind.Null))
                throw Wrong(operation, isStrict ? "Go value of type handlers.jsonPatchOp" : "Go value of type jsonpatch.Operation", isStrict);
            if (!isStrict)
                continue;
            foreach (var name in (ReadOnlySpan<string>)["op", "path", "from"])
            {
                var member = operation[Encoding.UTF8.GetBytes(name)];
                if (!member.IsNullOrUndefined && member.Kind != NodeKind.String)
                    throw Wrong(member, $"Go struct field jsonPatchOp.{name} of type string", isStrict);
            }
        }
    }

    private static ApiStatusException Wrong(ApiNode found, string place, bool isStrict) =>
        ApiStatus.BadRequest($"{(isStrict ? "error decoding patch: " : "")}json: cannot unmarshal {PatchBody.NameOf(found)} into {place}").ToException();

    private static bool TryApply(ApiObject target, ApiNode operation, List<ApiNode> touched, ref int copied, ref long walked)
    {
        var path = operation["path"u8];
        if (path.Kind != NodeKind.String)
            return false;
        var kind = operation["op"u8];
        var value = operation["value"u8];
        if (kind.Equals("add"u8))
            return TryAdd(target, path.Utf8, value, touched, ref walked);
        if (kind.Equals("remove"u8))
            return TryRemove(target, path.Utf8, touched, ref walked);
        if (kind.Equals("replace"u8))
            return TryReplace(target, path.Utf8, value, touched, ref walked);
        if (kind.Equals("test"u8))
            return TryGet(target, path.Utf8, touched, ref walked, out var found) && (found.IsNullOrUndefined ? value.IsNullOrUndefined : found.DeepEquals(value));
        var from = operation["from"u8];
        if (from.Kind != NodeKind.String || !TryGet(target, from.Utf8, touched, ref walked, out var source))
            return false;
        if (kind.Equals("copy"u8))
        {
            copied += Weigh(source);
            return copied <= MaxCopiedBytes && TryAdd(target, path.Utf8, Detached(target, source), touched, ref walked);
        }
        if (!kind.Equals("move"u8) || !source.IsDefined)
            return false;
        // Taken out of its place the value is free to go to the other, so that moving costs nothing however big it is.
        if (source.Index == target.RootIndex)
            return false;
        return TryRemove(target, from.Utf8, touched, ref walked) && TryAdd(target, path.Utf8, source, touched, ref walked);
    }

    private static bool TryAdd(ApiObject target, ReadOnlySpan<byte> path, ApiNode value, List<ApiNode> touched, ref long walked)
    {
        if (!TryFindContainer(target, path, touched, ref walked, out var container, out var key))
            return false;
        if (container.Kind == NodeKind.Object)
        {
            Put(container, key, value);
            return true;
        }
        var count = container.Count;
        if (!key.AsSpan().SequenceEqual("-"u8))
        {
            if (!TryIndex(key, count + 1, out var index))
                return false;
            walked += index;
            container.Insert(index, value.IsDefined ? value : default);
            return true;
        }
        container.Append(value);
        return true;
    }

    private static bool TryRemove(ApiObject target, ReadOnlySpan<byte> path, List<ApiNode> touched, ref long walked)
    {
        if (!TryFindContainer(target, path, touched, ref walked, out var container, out var key))
            return false;
        if (container.Kind == NodeKind.Object)
            return container.Remove(key);
        if (!TryIndex(key, container.Count, out var index))
            return false;
        walked += index;
        container.RemoveAt(index);
        return true;
    }

    private static bool TryReplace(ApiObject target, ReadOnlySpan<byte> path, ApiNode value, List<ApiNode> touched, ref long walked)
    {
        if (path.Length == 0)
        {
            if (value.Kind is not (NodeKind.Object or NodeKind.Array))
                return false;
            target.ReplaceRoot(value);
            return true;
        }
        if (!TryFindContainer(target, path, touched, ref walked, out var container, out var key))
            return false;
        if (container.Kind == NodeKind.Object)
        {
            Put(container, key, value);
            return true;
        }
        if (!TryIndex(key, container.Count, out var index))
            return false;
        walked += index;
        container[index].ReplaceWith(value);
        return true;
    }

    // An absent member of an object is found as undefined; an absent element of an array is not found.
    private static bool TryGet(ApiObject target, ReadOnlySpan<byte> path, List<ApiNode> touched, ref long walked, out ApiNode found)
    {
        found = target.Root;
        if (path.Length == 0)
            return true;
        if (!TryFindContainer(target, path, touched, ref walked, out var container, out var key))
            return false;
        if (container.Kind == NodeKind.Object)
        {
            found = container[key.AsSpan()];
            return true;
        }
        if (!TryIndex(key, container.Count, out var index))
            return false;
        walked += index;
        found = container[index];
        return true;
    }

    private static bool TryFindContainer(
        ApiObject target, ReadOnlySpan<byte> path, List<ApiNode> touched, ref long walked, out ApiNode container, out byte[] key)
    {
        container = target.Root;
        key = [];
        var first = path.IndexOf((byte)'/');
        if (first < 0)
            return false;
        // As upstream: what stands before the first slash is not looked at.
        path = path[(first + 1)..];
        while (true)
        {
            if (container.Kind == NodeKind.Object)
                touched.Add(container);
            var slash = path.IndexOf((byte)'/');
            key = Unescape(slash < 0 ? path : path[..slash]);
            if (slash < 0)
                return container.Kind is NodeKind.Object or NodeKind.Array;
            path = path[(slash + 1)..];
            if (container.Kind == NodeKind.Array)
            {
                if (!TryIndex(key, container.Count, out var index))
                    return false;
                walked += index;
                container = container[index];
            }
            else
            {
                container = container[key.AsSpan()];
                if (!container.IsDefined)
                    return false;
            }
        }
    }

    private static byte[] Unescape(ReadOnlySpan<byte> key) => key.IndexOf((byte)'~') < 0
        ? key.ToArray()
        : Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(key).Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal));

    private static bool TryIndex(ReadOnlySpan<byte> key, int count, out int index) =>
        int.TryParse(key, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out index) && (index < 0 ? index += count : index) >= 0 && index < count;

    private static void Put(ApiNode container, ReadOnlySpan<byte> key, ApiNode value)
    {
        if (value.IsDefined)
            container.Set(key, value);
        else
            container.SetNull(key);
    }

    // A copy, because the value may lie inside the place that it goes to, or be removed from where it is.
    private static ApiNode Detached(ApiObject target, ApiNode value) => value.IsDefined ? new ApiNode(target, target.CopyFrom(value.Document, value.Index)) : default;

    private static int Weigh(ApiNode node)
    {
        StackGuard.Enter();
        var bytes = node.Utf8.Length + node.Name.Length + 4;
        foreach (var member in node.Members)
            bytes += Weigh(member.Value);
        foreach (var element in node.Elements)
            bytes += Weigh(element);
        return bytes;
    }

    private static void CheckMembers(ApiNode operation, int index, ICollection<string> strictErrors)
    {
        foreach (var member in operation.Members)
        {
            if (!(member.Name.SequenceEqual("op"u8) || member.Name.SequenceEqual("path"u8) || member.Name.SequenceEqual("from"u8) || member.Name.SequenceEqual("value"u8)))
                strictErrors.Add($"json patch unknown field {GoText.Quote($"[{index}].{Encoding.UTF8.GetString(member.Name)}")}");
        }
    }
}
