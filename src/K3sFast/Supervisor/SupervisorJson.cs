using System.Text.Json.Serialization;

namespace K3sFast.Supervisor;

/// <summary>Small documents between servers and agents.</summary>
[JsonSerializable(typeof(string[]))]
internal sealed partial class SupervisorJson : JsonSerializerContext;
