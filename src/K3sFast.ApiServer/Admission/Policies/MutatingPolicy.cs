using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>A mutating admission policy, compiled: its mutations in order, each an apply configuration or a JSON patch.</summary>
internal sealed class MutatingPolicy : AdmissionPolicy
{
    internal MutatingPolicy(ApiNode policy) : base(policy)
    {
        var spec = policy["spec"u8];
        MayBeReinvoked = spec["reinvocationPolicy"u8].Equals("IfNeeded"u8);
        var mutations = new List<Mutation>();
        foreach (var mutation in spec["mutations"u8].Elements)
        {
            var isPatch = mutation["patchType"u8].Equals("JSONPatch"u8);
            var expression = (isPatch ? mutation["jsonPatch"u8] : mutation["applyConfiguration"u8])["expression"u8].AsString();
            mutations.Add(new Mutation(isPatch, Compiler.Compile(expression, isPatch ? AdmissionExpressionUse.JsonPatch : AdmissionExpressionUse.ApplyConfiguration)));
        }
        Mutations = mutations;
    }

    /// <summary>Asked again when others have changed the object after it.</summary>
    internal bool MayBeReinvoked { get; }

    internal IReadOnlyList<Mutation> Mutations { get; }

    /// <summary>One mutation.</summary>
    internal sealed record Mutation(bool IsJsonPatch, AdmissionExpression Expression);
}
