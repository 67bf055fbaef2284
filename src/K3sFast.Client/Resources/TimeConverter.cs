using System.Text.Json;
using System.Text.Json.Serialization;
using k8s;

namespace K3sFast.Client;

/// <summary>
/// Times of models. A time that must be there may still be null in what the API serves: clients of upstream's leave it so, and it is stored as they sent it.
/// It is read as <c>default</c>, and written as null again.
/// </summary>
internal sealed class TimeConverter : JsonConverter<DateTime>
{
    private static readonly KubernetesJson.KubernetesDateTimeConverter s_present = new();

    public override bool HandleNull => true;

    public override DateTime Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Null ? default : s_present.Read(ref reader, typeToConvert, options);

    public override void Write(Utf8JsonWriter writer, DateTime value, JsonSerializerOptions options)
    {
        if (value == default) writer.WriteNullValue();
        else s_present.Write(writer, value, options);
    }
}
