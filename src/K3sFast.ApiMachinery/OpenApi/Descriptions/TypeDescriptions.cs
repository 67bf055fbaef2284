using System.IO.Compression;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// What types, their members and the parameters of operations mean, in upstream's words. The texts come out of descriptions.gz, whose form is told in
/// MakeDescriptions.cs; they are unpacked while documents are made and let go afterwards.
/// </summary>
/// <remarks>Any thread. Unpacked it is 1.1 MB that only a weak reference holds.</remarks>
internal sealed class TypeDescriptions
{
    private const string TypePrefix = "io.k8s.";

    private static readonly WeakReference<TypeDescriptions?> s_loaded = new(null);

    private readonly byte[] _text;
    private readonly Dictionary<string, int> _sections = new(1024);

    private TypeDescriptions(byte[] text)
    {
        _text = text;
        for (var at = 0; at < text.Length;)
        {
            var name = ReadText(ref at);
            _sections[name] = at;
            Skip(ref at);
            while (text[at] != 0)
            {
                Skip(ref at);
                Skip(ref at);
            }
            at++;
        }
    }

    internal static TypeDescriptions Current
    {
        get
        {
            lock (s_loaded)
            {
                if (s_loaded.TryGetTarget(out var loaded))
                    return loaded;
                loaded = new TypeDescriptions(Unpack());
                s_loaded.SetTarget(loaded);
                return loaded;
            }
        }
    }

    /// <summary>What the type is; "" when nobody says.</summary>
    internal string OfType(string fullName) => _sections.TryGetValue(Key(fullName), out var at) ? ReadText(ref at) : "";

    /// <summary>What the type's member is; "" when nobody says.</summary>
    internal string OfMember(string fullName, string jsonName) => _sections.TryGetValue(Key(fullName), out var at) ? Member(at, jsonName) : "";

    /// <summary>What a parameter of an operation is ("ListNamespacedPod", "limit").</summary>
    internal string OfParameter(string operation, string name) => _sections.TryGetValue("@" + operation, out var at) ? Member(at, name) : "";

    private static string Key(string fullName) => fullName.StartsWith(TypePrefix, StringComparison.Ordinal) ? fullName[TypePrefix.Length..] : fullName;

    private string Member(int at, string name)
    {
        Skip(ref at);
        while (_text[at] != 0)
        {
            var end = at + _text.AsSpan(at).IndexOf((byte)0);
            var isIt = IsSameName(_text.AsSpan(at, end - at), name);
            at = end + 1;
            if (isIt)
                return ReadText(ref at);
            Skip(ref at);
        }
        return "";
    }

    // The documentation has C#'s names: ContainerPort for containerPort, RefPath's like for $ref.
    private static bool IsSameName(ReadOnlySpan<byte> documented, string jsonName)
    {
        var at = 0;
        foreach (var c in jsonName)
        {
            if (!char.IsAsciiLetterOrDigit(c))
                continue;
            if (at == documented.Length || (documented[at++] | 0x20) != (c | 0x20))
                return false;
        }
        return at == documented.Length;
    }

    private string ReadText(ref int at)
    {
        var length = _text.AsSpan(at).IndexOf((byte)0);
        var text = Encoding.UTF8.GetString(_text, at, length);
        at += length + 1;
        return text;
    }

    private void Skip(ref int at) => at += _text.AsSpan(at).IndexOf((byte)0) + 1;

    private static byte[] Unpack()
    {
        using var packed = typeof(TypeDescriptions).Assembly.GetManifestResourceStream("descriptions.gz") ?? throw new InvalidOperationException("resource descriptions.gz is not in the assembly");
        using var gzip = new GZipStream(packed, CompressionMode.Decompress);
        using var text = new MemoryStream(1200 * 1024);
        gzip.CopyTo(text);
        return text.ToArray();
    }
}
