using System.Globalization;
using System.Text.Json;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Pod templates compared and hashed. Pure.</summary>
internal static class PodTemplates
{
    internal const string HashLabel = "pod-template-hash";

    // No vowels and nothing that looks like one: names made of it spell no words (upstream's alphabet).
    private const string SafeAlphabet = "bcdfghjklmnpqrstvwxz2456789";

    // FNV-1a, 32 bits.
    private const uint FnvOffset = 2166136261;
    private const uint FnvPrime = 16777619;

    /// <summary>The same but for the hash label that a replica set's template carries.</summary>
    internal static bool EqualButHash(V1PodTemplateSpec a, V1PodTemplateSpec b)
    {
        using var left = JsonDocument.Parse(ModelJson.Serialize(WithoutHash(a)));
        using var right = JsonDocument.Parse(ModelJson.Serialize(WithoutHash(b)));
        return JsonElement.DeepEquals(left.RootElement, right.RootElement);
    }

    /// <summary>A short name part for a template; <paramref name="collisions"/> gives another one when two templates got the same.</summary>
    internal static string Hash(V1PodTemplateSpec template, int? collisions) => Hash(ModelJson.Serialize(template), collisions);

    internal static string Hash(ReadOnlySpan<byte> json, int? collisions)
    {
        var hash = FnvOffset;
        foreach (var value in json) hash = (hash ^ value) * FnvPrime;
        if (collisions is { } count)
        {
            for (var shift = 0; shift < 32; shift += 8) hash = (hash ^ (byte)(count >> shift)) * FnvPrime;
        }
        return Safe(hash);
    }

    private static V1PodTemplateSpec WithoutHash(V1PodTemplateSpec template)
    {
        if (template.Metadata?.Labels?.ContainsKey(HashLabel) != true) return template;
        var labels = template.Metadata.Labels.Where(static pair => pair.Key != HashLabel).ToDictionary();
        return template with { Metadata = template.Metadata with { Labels = labels.Count == 0 ? null : labels } };
    }

    private static string Safe(uint hash)
    {
        var digits = hash.ToString(CultureInfo.InvariantCulture);
        return string.Create(digits.Length, digits, static (name, digits) =>
        {
            for (var i = 0; i < name.Length; i++) name[i] = SafeAlphabet[digits[i] % SafeAlphabet.Length];
        });
    }
}
