namespace K3sFast.ApiMachinery;

/// <summary>The variables of one evaluation.</summary>
public interface ICelVariables
{
    /// <summary>The value of a declared variable; false when it is not there.</summary>
    bool TryFind(string name, out CelValue value);
}

/// <summary>What an evaluation came to.</summary>
/// <param name="Value">The value, or an error.</param>
/// <param name="Cost">What it cost, in upstream's units.</param>
public readonly record struct CelOutcome(CelValue Value, long Cost);

/// <summary>A checked expression, ready to run. Immutable.</summary>
/// <remarks>Any thread.</remarks>
public sealed class CelProgram
{
    private readonly int _locals;

    internal CelProgram(string source, CelExpr tree)
    {
        Source = source;
        Tree = tree;
        _locals = Locals(tree);
    }

    /// <summary>The expression as it was given.</summary>
    public string Source { get; }

    /// <summary>The type of the result.</summary>
    public CelType ResultType => Tree.Type;

    internal CelExpr Tree { get; }

    /// <summary>Evaluates. Mistakes of the expression are values; nothing is thrown for them.</summary>
    public CelOutcome Evaluate(ICelVariables variables, long limit = CelLimits.PerCall)
    {
        var evaluator = new CelEvaluator(variables, _locals, limit);
        try
        {
            var value = evaluator.Evaluate(Tree);
            return new CelOutcome(value, evaluator.Cost);
        }
        catch (CelEvaluator.BudgetException)
        {
            return new CelOutcome(CelValue.Error("operation cancelled: actual cost limit exceeded"), evaluator.Cost);
        }
    }

    /// <summary>What an evaluation costs at worst, when variables are as large as the function tells.</summary>
    internal ulong WorstCase(CelSizeOf sizeOf) => CelEstimator.WorstCase(Tree, sizeOf);

    /// <summary>True if the expression looks at that field of a variable anywhere, were it only whether it is there.</summary>
    public bool Selects(string variable, string field) => Selects(Tree, variable, field);

    private static bool Selects(CelExpr tree, string variable, string field)
    {
        bool isIt = tree switch
        {
            CelExpr.Select { Operand: CelExpr.Ident operand } select => operand.Name == variable && select.Field == field,
            CelExpr.Call { Function: "_?._", Args: [CelExpr.Ident operand, CelExpr.Constant { Value: { Kind: CelKind.String } name }] } => operand.Name == variable && name.AsString == field,
            _ => false,
        };
        return isIt || tree.Children.Any(child => Selects(child, variable, field));
    }

    private static int Locals(CelExpr tree)
    {
        int most = tree is CelExpr.Loop loop ? loop.Slot + 3 : 0;
        foreach (var child in tree.Children)
            most = Math.Max(most, Locals(child));
        return most;
    }
}
