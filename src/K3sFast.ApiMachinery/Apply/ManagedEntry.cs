using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>One manager of an object's fields, by one operation on one (sub)resource. Owns its set.</summary>
internal sealed class ManagedEntry : IDisposable
{
    private FieldSet _fields;

    public ManagedEntry(string manager, bool isApply, string apiVersion, string subresource, FieldSet fields)
    {
        Manager = manager;
        IsApply = isApply;
        ApiVersion = apiVersion;
        Subresource = subresource;
        _fields = fields;
    }

    public string Manager { get; }

    public bool IsApply { get; }

    /// <summary>The version in which the paths are meant.</summary>
    public string ApiVersion { get; set; }

    public string Subresource { get; }

    /// <summary>When the set was last changed, as metav1.Time; null when it is not known.</summary>
    public string? Time { get; set; }

    /// <summary>The paths; a new set takes the place of the old one, which is returned.</summary>
    public FieldSet Fields
    {
        get => _fields;
        set
        {
            if (!ReferenceEquals(_fields, value))
                _fields.Dispose();
            _fields = value;
        }
    }

    /// <summary>Seconds since the epoch; 0 when there is no time.</summary>
    public long Seconds => Time is not null && ScalarText.TryParseTime(Encoding.UTF8.GetBytes(Time), isMicro: false, out var time) is null ? time.UnixSeconds : 0;

    /// <summary>Takes over what another entry of the same manager has.</summary>
    public void Become(ManagedEntry other)
    {
        Fields = other.Fields;
        ApiVersion = other.ApiVersion;
        Time = other.Time;
    }

    /// <summary>The order of entries that differ in nothing but who they are; that of upstream's manager identifiers.</summary>
    public int CompareIdentity(ManagedEntry other)
    {
        var order = string.CompareOrdinal(Manager, other.Manager);
        if (order == 0)
            order = IsApply.CompareTo(other.IsApply) * -1;
        if (order == 0)
            order = string.CompareOrdinal(ApiVersion, other.ApiVersion);
        return order != 0 ? order : string.CompareOrdinal(Subresource, other.Subresource);
    }

    /// <summary>The manager as conflicts name it.</summary>
    public string Describe()
    {
        var text = GoText.Quote(Manager);
        if (Subresource.Length > 0)
            text += $" with subresource {GoText.Quote(Subresource)}";
        return IsApply ? text : $"{text} using {ApiVersion}";
    }

    public void Dispose() => _fields.Dispose();
}
