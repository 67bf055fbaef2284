namespace K3sFast.ApiMachinery;

/// <summary>What a node of an <see cref="ApiObject"/> holds. <see cref="Undefined"/> is the absence of a node.</summary>
public enum NodeKind : byte { Undefined, Null, False, True, Number, String, Object, Array }
