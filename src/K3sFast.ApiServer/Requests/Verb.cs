namespace K3sFast.ApiServer;

/// <summary>What a request wants, in the words of RBAC rules. <see cref="Other"/> is a method that no resource serves.</summary>
public enum Verb : byte
{
    Other,
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
    Proxy,
    Head,
    Post,
    Put,
    Options,
}

/// <summary>The verbs as text, in both forms that are needed.</summary>
internal static class Verbs
{
    private static readonly string[] s_text =
        ["", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "proxy", "head", "post", "put", "options"];

    internal static string Text(this Verb verb) => s_text[(int)verb];

    internal static ReadOnlySpan<byte> Utf8(this Verb verb) => verb switch
    {
        Verb.Get => "get"u8,
        Verb.List => "list"u8,
        Verb.Watch => "watch"u8,
        Verb.Create => "create"u8,
        Verb.Update => "update"u8,
        Verb.Patch => "patch"u8,
        Verb.Delete => "delete"u8,
        Verb.DeleteCollection => "deletecollection"u8,
        Verb.Proxy => "proxy"u8,
        Verb.Head => "head"u8,
        Verb.Post => "post"u8,
        Verb.Put => "put"u8,
        Verb.Options => "options"u8,
        _ => default,
    };
}
