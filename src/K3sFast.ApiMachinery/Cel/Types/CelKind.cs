namespace K3sFast.ApiMachinery;

/// <summary>What a CEL value or type is.</summary>
public enum CelKind : byte
{
    /// <summary>A mistake: of evaluation in values, of an earlier message in types.</summary>
    Error,

    /// <summary>null.</summary>
    Null,

    /// <summary>true or false.</summary>
    Bool,

    /// <summary>A whole number of 64 bits with sign.</summary>
    Int,

    /// <summary>A whole number of 64 bits without sign.</summary>
    Uint,

    /// <summary>A floating point number.</summary>
    Double,

    /// <summary>Text.</summary>
    String,

    /// <summary>Bytes.</summary>
    Bytes,

    /// <summary>A span of time in nanoseconds.</summary>
    Duration,

    /// <summary>A point in time.</summary>
    Timestamp,

    /// <summary>A list.</summary>
    List,

    /// <summary>A map.</summary>
    Map,

    /// <summary>An object with declared fields, or an extension's object.</summary>
    Struct,

    /// <summary>A type as a value.</summary>
    Type,

    /// <summary>A value that is seen through functions only: an optional, an address.</summary>
    Opaque,

    /// <summary>Any value; judged at run time.</summary>
    Dyn,

    /// <summary>A type that is found out by inference.</summary>
    Parameter,
}
