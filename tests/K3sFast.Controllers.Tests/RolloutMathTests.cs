using k8s.Models;

namespace K3sFast.Controllers.Tests;

public sealed class RolloutMathTests
{
    // Upstream's worked examples (deployment util, ResolveFenceposts) and the defaults.
    [Theory]
    [InlineData("0%", "1%", 2, 0, 1)]
    [InlineData("0%", "1%", 1, 0, 1)]
    [InlineData("1%", "25%", 2, 1, 0)]
    [InlineData("1%", "0%", 2, 1, 0)]
    [InlineData("25%", "25%", 10, 3, 2)]
    [InlineData("3", "2", 10, 3, 2)]
    [InlineData("0", "0", 5, 0, 1)]
    public void Fenceposts_RoundSurgeUpAndUnavailableDown(string surge, string unavailable, int desired, int expectedSurge, int expectedUnavailable) =>
        Assert.Equal((expectedSurge, expectedUnavailable), RolloutMath.Fenceposts(surge, unavailable, desired));

    [Theory]
    [InlineData(10, "3", 10, 0, 3)]
    [InlineData(10, "3", 13, 3, 3)]
    [InlineData(10, "3", 11, 8, 10)]
    [InlineData(4, "25%", 4, 0, 1)]
    public void NewSet_GrowsUpToTheSurge(int desired, string surge, int all, int now, int expected) =>
        Assert.Equal(expected, RolloutMath.NewSetSize(Deployment(desired, surge), all, now));

    [Theory]
    [InlineData(15, "5,5", "8,7")]
    [InlineData(6, "8,2", "5,1")]
    [InlineData(0, "8,2", "0,0")]
    [InlineData(10, "5,5", "5,5")]
    public void Proportions_OfAResizedRollout_AddUp(int desired, string sizes, string expected)
    {
        var age = 0;
        var sets = sizes.Split(',').Select(size => new V1ReplicaSet
        {
            Metadata = new V1ObjectMeta
            {
                Name = $"rs{age}",
                CreationTimestamp = DateTime.UnixEpoch.AddDays(age++),
                Annotations = new Dictionary<string, string> { [RolloutMath.MaxReplicasAnnotation] = "10" },
            },
            Spec = new V1ReplicaSetSpec { Replicas = int.Parse(size) },
        }).ToList();
        var result = RolloutMath.Proportions(Deployment(desired, "0"), sets);
        Assert.Equal(expected, string.Join(',', result.Select(static entry => entry.Size)));
    }

    [Fact]
    public void Revision_OfASetThatComesBack_GoesIntoItsHistory()
    {
        var annotations = new Dictionary<string, string> { [RolloutMath.RevisionAnnotation] = "1" };
        Assert.True(RevisionAnnotations.SetRevision(annotations, 3));
        Assert.True(RevisionAnnotations.SetRevision(annotations, 5));
        Assert.False(RevisionAnnotations.SetRevision(annotations, 5));
        Assert.Equal("5", annotations[RolloutMath.RevisionAnnotation]);
        Assert.Equal("1,3", annotations[RolloutMath.RevisionHistoryAnnotation]);
    }

    [Fact]
    public void Template_ComparedButForItsHash_IsTheSame()
    {
        var plain = TestCluster.Template("web");
        var hashed = TestCluster.Template("web");
        hashed.Metadata.Labels[PodTemplates.HashLabel] = "abc";
        Assert.True(PodTemplates.EqualButHash(plain, hashed));
        Assert.False(PodTemplates.EqualButHash(plain, TestCluster.Template("web", "image:2")));
        Assert.NotEqual(PodTemplates.Hash(plain, null), PodTemplates.Hash(plain, 1));
    }

    private static V1Deployment Deployment(int replicas, string surge) => new()
    {
        Metadata = new V1ObjectMeta { Name = "d" },
        Spec = new V1DeploymentSpec
        {
            Replicas = replicas,
            Strategy = new V1DeploymentStrategy { Type = "RollingUpdate", RollingUpdate = new V1RollingUpdateDeployment { MaxSurge = surge, MaxUnavailable = "1" } },
        },
    };
}
