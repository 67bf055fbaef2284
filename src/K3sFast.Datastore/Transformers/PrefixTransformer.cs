using System.Buffers;
using System.Text;

namespace K3sFast.Datastore.Transformers;

/// <summary>
/// Several forms by their prefixes (<c>k8s:enc:aescbc:v1:key1:</c> ...): the first one writes, all read. That is how keys are rotated. A form with an empty
/// prefix is the plain one.
/// </summary>
public sealed class PrefixTransformer : IValueTransformer
{
    private readonly (byte[] Prefix, IValueTransformer Form)[] _forms;
    private readonly Func<string, bool> _covers;

    /// <summary>Forms in the order in which an encryption configuration names them; the forms themselves know nothing of their prefix.</summary>
    /// <param name="forms">Prefix and form.</param>
    /// <param name="covers">Which keys are to be stored in the first form: those of the resources that the configuration names.</param>
    public PrefixTransformer(IReadOnlyList<(string Prefix, IValueTransformer Form)> forms, Func<string, bool> covers)
    {
        ArgumentNullException.ThrowIfNull(forms);
        ArgumentNullException.ThrowIfNull(covers);
        ArgumentOutOfRangeException.ThrowIfZero(forms.Count);
        _forms = [.. forms.Select(static form => (Encoding.UTF8.GetBytes(form.Prefix), form.Form))];
        _covers = covers;
    }

    /// <inheritdoc/>
    public bool Covers(ReadOnlySpan<byte> key) => _covers(Encoding.UTF8.GetString(key));

    /// <inheritdoc/>
    public void Encode(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, IBufferWriter<byte> stored)
    {
        var (prefix, form) = _forms[0];
        stored.Write(prefix);
        form.Encode(key, value, stored);
    }

    /// <inheritdoc/>
    public bool Recognizes(ReadOnlySpan<byte> stored) => Find(stored) >= 0;

    /// <inheritdoc/>
    public void Decode(ReadOnlySpan<byte> key, ReadOnlySpan<byte> stored, IBufferWriter<byte> value)
    {
        var (prefix, form) = _forms[Find(stored)];
        form.Decode(key, stored[prefix.Length..], value);
    }

    // The longest prefix: one key's name may begin with another's.
    private int Find(ReadOnlySpan<byte> stored)
    {
        int found = -1;
        for (int i = 0; i < _forms.Length; i++)
        {
            byte[] prefix = _forms[i].Prefix;
            if (stored.StartsWith(prefix) && (found < 0 || prefix.Length > _forms[found].Prefix.Length)) found = i;
        }
        return found >= 0 && _forms[found].Prefix.Length == 0 && TransformingDatastore.IsEncrypted(stored) ? -1 : found;
    }
}
