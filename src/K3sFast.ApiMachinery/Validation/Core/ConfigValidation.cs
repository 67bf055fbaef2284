using System.Buffers.Text;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of configuration: config maps and secrets.</summary>
internal static class ConfigValidation
{
    // 1 MiB of values: what etcd can hold in one request, less the rest of the object.
    private const int MaxBytes = 1024 * 1024;
    private const string Frozen = "field is immutable when `immutable` is set";

    internal static void ConfigMap(At at, ApiNode map)
    {
        long size = 0;
        foreach (var entry in map["data"u8].Members)
        {
            Key(at["data"], entry);
            if (map["binaryData"u8][entry.Name].IsDefined)
                at["data"].Key(entry).Invalid(Encoding.UTF8.GetString(entry.Name), "duplicate of key present in binaryData");
            size += entry.Value.Utf8.Length;
        }
        foreach (var entry in map["binaryData"u8].Members)
        {
            Key(at["binaryData"], entry);
            size += DecodedLength(entry.Value);
        }
        if (size > MaxBytes)
            at.Key("").TooLong(MaxBytes);
    }

    internal static void ConfigMapUpdate(At at, ApiNode map, ApiNode old)
    {
        if (old["immutable"u8].AsBool())
        {
            if (!map["immutable"u8].AsBool())
                at["immutable"].Forbidden(Frozen);
            KeepFrozen(at["data"], map["data"u8], old["data"u8]);
            KeepFrozen(at["binaryData"], map["binaryData"u8], old["binaryData"u8]);
        }
        ConfigMap(at, map);
    }

    internal static void Secret(At at, ApiNode secret)
    {
        var data = secret["data"u8];
        long size = 0;
        foreach (var entry in data.Members)
        {
            Key(at["data"], entry);
            size += DecodedLength(entry.Value);
        }
        if (size > MaxBytes)
            at["data"].TooLong(MaxBytes);
        switch (secret["type"u8].AsString())
        {
            case "kubernetes.io/service-account-token":
                if (secret["metadata"u8]["annotations"u8]["kubernetes.io/service-account.name"u8].Utf8.IsEmpty)
                    at["metadata"]["annotations"].Key("kubernetes.io/service-account.name").Required();
                break;
            case "kubernetes.io/dockercfg":
                DockerConfig(at["data"], data, ".dockercfg");
                break;
            case "kubernetes.io/dockerconfigjson":
                DockerConfig(at["data"], data, ".dockerconfigjson");
                break;
            case "kubernetes.io/basic-auth":
                if (data["username"u8].IsDefined || data["password"u8].IsDefined)
                    break;
                at["data"].Key("username").Required();
                at["data"].Key("password").Required();
                break;
            case "kubernetes.io/ssh-auth":
                if (data["ssh-privatekey"u8].Utf8.IsEmpty)
                    at["data"].Key("ssh-privatekey").Required();
                break;
            case "kubernetes.io/tls":
                if (!data["tls.crt"u8].IsDefined)
                    at["data"].Key("tls.crt").Required();
                if (!data["tls.key"u8].IsDefined)
                    at["data"].Key("tls.key").Required();
                break;
        }
    }

    internal static void SecretUpdate(At at, ApiNode secret, ApiNode old)
    {
        if (!secret["type"u8].Utf8.SequenceEqual(old["type"u8].Utf8))
            at["type"].Invalid(secret["type"u8], "field is immutable");
        if (old["immutable"u8].AsBool())
        {
            if (!secret["immutable"u8].AsBool())
                at["immutable"].Forbidden(Frozen);
            KeepFrozen(at["data"], secret["data"u8], old["data"u8]);
        }
        Secret(at, secret);
    }

    private static void Key(At at, in ApiMember entry)
    {
        if (!Formats.Is(Format.ConfigKey, entry.Name))
            at.Key(entry).Format(Format.ConfigKey, Encoding.UTF8.GetString(entry.Name));
    }

    private static void KeepFrozen(At at, ApiNode value, ApiNode old)
    {
        if (value.Count != old.Count || value.Count > 0 && !value.DeepEquals(old))
            at.Forbidden(Frozen);
    }

    private static void DockerConfig(At at, ApiNode data, string key)
    {
        var value = data[Encoding.ASCII.GetBytes(key)];
        if (!value.IsDefined)
        {
            at.Key(key).Required();
            return;
        }
        var decoded = new byte[value.Utf8.Length];
        if (!Convert.TryFromBase64String(value.AsString(), decoded, out int length))
            return;
        using var document = JsonCodec.TryDecode(decoded.AsSpan(0, length), null, DecodeOptions.Free, null, out var error, out _);
        if (document is not null && document.Root.Kind is not (NodeKind.Object or NodeKind.Null))
            error = $"json: cannot unmarshal {GoKind(document.Root.Kind)} into Go value of type map[string]interface {{}}";
        if (error is not null)
            at.Key(key).Invalid("<secret contents redacted>", error);
    }

    private static string GoKind(NodeKind kind) => kind switch
    {
        NodeKind.Array => "array",
        NodeKind.String => "string",
        NodeKind.Number => "number",
        _ => "bool",
    };

    private static long DecodedLength(ApiNode base64)
    {
        var text = base64.Utf8;
        int padding = text.EndsWith("=="u8) ? 2 : text.EndsWith("="u8) ? 1 : 0;
        return Base64.GetMaxDecodedFromUtf8Length(text.Length) - padding;
    }
}
