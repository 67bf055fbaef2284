using System.Runtime.CompilerServices;

namespace K3sFast.Datastore;

/// <summary>
/// Conditions that must always hold, checked in release builds too when switched on (all tests switch them on).
/// While off, a check costs one static read and its message is never formatted.
/// </summary>
public static class Invariant
{
    /// <summary>True = check and throw. Read from K3SFAST_VERIFY=1 at start; tests set it.</summary>
    public static bool IsOn { get; set; } = Environment.GetEnvironmentVariable("K3SFAST_VERIFY") == "1";

    /// <summary>Throws <see cref="InvariantException"/> when checks are on and <paramref name="condition"/> is false.</summary>
    public static void Verify(bool condition, [InterpolatedStringHandlerArgument(nameof(condition))] ref Message message)
    {
        if (!condition && IsOn) throw new InvariantException(message.Text());
    }

    /// <summary>Formats only when the check is on and has failed.</summary>
    [InterpolatedStringHandler]
    public ref struct Message
    {
        private DefaultInterpolatedStringHandler _inner;

        /// <summary>Called by the compiler.</summary>
        public Message(int literalLength, int formattedCount, bool condition, out bool isEnabled)
        {
            isEnabled = !condition && IsOn;
            if (isEnabled) _inner = new DefaultInterpolatedStringHandler(literalLength, formattedCount);
        }

        /// <summary>Called by the compiler.</summary>
        public void AppendLiteral(string text) => _inner.AppendLiteral(text);

        /// <summary>Called by the compiler.</summary>
        public void AppendFormatted<T>(T value) => _inner.AppendFormatted(value);

        internal string Text() => _inner.ToStringAndClear();
    }
}

/// <summary>A condition that must always hold did not: a bug of ours.</summary>
public sealed class InvariantException(string message) : Exception(message);
