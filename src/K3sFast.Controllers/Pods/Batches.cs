namespace K3sFast.Controllers;

/// <summary>Many equal calls at once without a storm. Stateless.</summary>
internal static class Batches
{
    /// <summary>
    /// Makes <paramref name="count"/> calls in batches of 1, 2, 4 ...: when the first one is refused (quota, admission), the rest is not tried.
    /// </summary>
    /// <returns>How many calls succeeded, and the first failure.</returns>
    internal static async Task<(int Successes, Exception? Failure)> SlowStartAsync(int count, Func<int, Task> call)
    {
        var done = 0;
        for (var size = 1; done < count; size *= 2)
        {
            var batch = Math.Min(size, count - done);
            var (successes, failure) = await AllAsync(batch, done, call).ConfigureAwait(false);
            if (failure is not null) return (done + successes, failure);
            done += batch;
        }
        return (done, null);
    }

    /// <summary>Makes all calls at once; each is made whatever happens to the others.</summary>
    internal static Task<(int Successes, Exception? Failure)> AllAsync(int count, Func<int, Task> call) => AllAsync(count, 0, call);

    private static async Task<(int Successes, Exception? Failure)> AllAsync(int count, int first, Func<int, Task> call)
    {
        var calls = new Task[count];
        for (var i = 0; i < count; i++) calls[i] = call(first + i);
        var successes = 0;
        Exception? failure = null;
        foreach (var one in calls)
        {
            try
            {
                await one.ConfigureAwait(false);
                successes++;
            }
            catch (Exception refused)
            {
                failure ??= refused;
            }
        }
        return (successes, failure);
    }
}
