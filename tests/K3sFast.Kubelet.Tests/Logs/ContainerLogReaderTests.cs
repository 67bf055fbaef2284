using System.Text;
using K3sFast.Kubelet.Logs;

namespace K3sFast.Kubelet.Tests.Logs;

public sealed class ContainerLogReaderTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("kubelet-log-").FullName;

    private string LogPath => Path.Combine(_directory, "0.log");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Copy_PartialLines_AreJoined()
    {
        Append("2026-01-02T03:04:05.123456789Z stdout P hel\n2026-01-02T03:04:05.123456790Z stdout F lo\n2026-01-02T03:04:06Z stderr F bye\n");
        Assert.Equal("hello\nbye\n", await CopyAsync(new ContainerLogOptions()));
        Assert.Equal("2026-01-02T03:04:05.123456789Z hello\n2026-01-02T03:04:06Z bye\n", await CopyAsync(new ContainerLogOptions { WithTimestamps = true }));
    }

    [Theory]
    [InlineData(0, "")]
    [InlineData(1, "3\n")]
    [InlineData(2, "2\n3\n")]
    [InlineData(9, "1\n2\n3\n")]
    public async Task Copy_Tail_IsTheLastLines(int lines, string expected)
    {
        Append("2026-01-02T03:04:05Z stdout F 1\n2026-01-02T03:04:06Z stdout F 2\n2026-01-02T03:04:07Z stdout F 3\n");
        Assert.Equal(expected, await CopyAsync(new ContainerLogOptions { TailLines = lines }));
    }

    [Fact]
    public async Task Copy_SinceAndLimit_CutBothEnds()
    {
        Append("2026-01-02T03:04:05Z stdout F old\n2026-01-02T03:04:06.5Z stdout F new\n");
        var since = new DateTimeOffset(2026, 1, 2, 3, 4, 6, TimeSpan.Zero);
        Assert.Equal("ne", await CopyAsync(new ContainerLogOptions { Since = since, LimitBytes = 2 }));
    }

    [Fact]
    public async Task Follow_OverRotation_LosesNothingAndEndsWithTheContainer()
    {
        Append("2026-01-02T03:04:05Z stdout F 1\n");
        var isRunning = true;
        var step = 0;
        var output = new MemoryStream();
        await ContainerLogReader.CopyAsync(LogPath, new ContainerLogOptions { IsFollowing = true }, NextAsync, output, TestContext.Current.CancellationToken);
        Assert.Equal("1\n2\n3\n4\n", Encoding.UTF8.GetString(output.ToArray()));

        // Each time the reader has caught up, something happens to the log.
        Task<bool> NextAsync(CancellationToken cancellationToken)
        {
            switch (step++)
            {
                case 0:
                    Append("2026-01-02T03:04:06Z stdout F 2\n");
                    File.Move(LogPath, LogPath + ".20260102-030406");
                    Append("2026-01-02T03:04:07Z stdout F 3\n");
                    break;
                case 2:
                    Append("2026-01-02T03:04:08Z stdout F 4\n");
                    isRunning = false;
                    break;
                default:
                    break;
            }
            return Task.FromResult(isRunning);
        }
    }

    private void Append(string text) => File.AppendAllText(LogPath, text);

    private async Task<string> CopyAsync(ContainerLogOptions options)
    {
        var output = new MemoryStream();
        await ContainerLogReader.CopyAsync(LogPath, options, _ => Task.FromResult(false), output, TestContext.Current.CancellationToken);
        return Encoding.UTF8.GetString(output.ToArray());
    }
}
