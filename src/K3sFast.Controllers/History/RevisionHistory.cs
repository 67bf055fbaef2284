using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Templates that a StatefulSet or DaemonSet had, kept as ControllerRevisions: found by content, numbered upwards, cut to a limit. Any thread.
/// </summary>
internal sealed class RevisionHistory<T>(ApiClient client, Resource<T> resource, Informer<V1ControllerRevision> revisions)
    where T : class, IKubernetesObject<V1ObjectMeta>
{
    internal const string HashLabel = "controller.kubernetes.io/hash";

    /// <summary>The owner's revisions, oldest first.</summary>
    internal async Task<List<V1ControllerRevision>> ListAsync(T owner, LabelMatcher selector, CancellationToken cancellationToken)
    {
        var candidates = revisions.ByIndex(PodIndex.ByController, owner.Metadata.Uid);
        candidates.AddRange(revisions.ByIndex(PodIndex.ByController, PodIndex.OrphansOf(owner.Metadata.NamespaceProperty)));
        var found = await Claims.ClaimAsync(
            client, resource, owner, Resources.ControllerRevisions, candidates, selector, cancellationToken).ConfigureAwait(false);
        found.Sort(static (a, b) =>
        {
            var order = Nullable.Compare(a.Revision, b.Revision);
            return order != 0 ? order : string.CompareOrdinal(a.Metadata.Name, b.Metadata.Name);
        });
        return found;
    }

    /// <summary>The revision of <paramref name="template"/>: the known one, raised to the newest, or a new one. Tells the collisions met.</summary>
    internal async Task<(V1ControllerRevision Revision, int Collisions)> GetAsync(
        T owner, V1PodTemplateSpec template, List<V1ControllerRevision> known, int collisions, CancellationToken cancellationToken)
    {
        var data = Data(template);
        var next = known.Count == 0 ? 1 : known[^1].Revision!.Value + 1;
        var equal = known.FindLast(revision => Same(revision, data));
        if (equal is not null)
        {
            if (ReferenceEquals(equal, known[^1])) return (equal, collisions);
            // A rollback: the old template is the newest again.
            var raised = await client.UpdateAsync(Resources.ControllerRevisions, equal with { Revision = next }, cancellationToken).ConfigureAwait(false);
            known.Remove(equal);
            known.Add(raised);
            return (raised, collisions);
        }
        while (true)
        {
            var hash = PodTemplates.Hash(Encoding.UTF8.GetBytes(data.GetRawText()), collisions);
            var created = new V1ControllerRevision
            {
                Metadata = new V1ObjectMeta
                {
                    Name = $"{owner.Metadata.Name}-{hash}",
                    NamespaceProperty = owner.Metadata.NamespaceProperty,
                    Labels = new Dictionary<string, string>(template.Metadata?.Labels ?? new Dictionary<string, string>()) { [HashLabel] = hash },
                    OwnerReferences = [Owners.Reference(resource, owner)],
                },
                Data = data,
                Revision = next,
            };
            try
            {
                created = await client.CreateAsync(Resources.ControllerRevisions, created, cancellationToken).ConfigureAwait(false);
                known.Add(created);
                return (created, collisions);
            }
            catch (ApiException exists) when (exists.IsAlreadyExists)
            {
                var other = await client.GetAsync(
                    Resources.ControllerRevisions, owner.Metadata.NamespaceProperty, created.Metadata.Name, cancellationToken).ConfigureAwait(false);
                if (Same(other, data) && Owners.IsControlledBy(other, owner))
                {
                    known.Add(other);
                    return (other, collisions);
                }
                // Another template with the same hash.
                collisions++;
            }
        }
    }

    /// <summary>Deletes the oldest revisions that are not in use, down to <paramref name="limit"/>.</summary>
    internal async Task TruncateAsync(List<V1ControllerRevision> known, int limit, Func<V1ControllerRevision, bool> isLive, CancellationToken cancellationToken)
    {
        var unused = known.Where(revision => !isLive(revision)).ToList();
        foreach (var revision in unused.Take(Math.Max(0, unused.Count - limit)))
        {
            try
            {
                await client.DeleteAsync(
                    Resources.ControllerRevisions, revision.Metadata.NamespaceProperty, revision.Metadata.Name, cancellationToken).ConfigureAwait(false);
            }
            catch (ApiException gone) when (gone.IsNotFound)
            {
                // That was the aim.
            }
        }
    }

    /// <summary>The template that a revision keeps.</summary>
    internal static V1PodTemplateSpec Template(V1ControllerRevision revision)
    {
        var template = JsonNode.Parse(((JsonElement)revision.Data).GetRawText())!["spec"]!["template"]!.AsObject();
        template.Remove("$patch");
        return JsonSerializer.Deserialize(template.ToJsonString(), ModelJson.TypeInfo<V1PodTemplateSpec>())!;
    }

    internal static string Hash(V1ControllerRevision revision) =>
        revision.Metadata.Labels is { } labels && labels.TryGetValue(HashLabel, out var hash) ? hash : revision.Revision!.Value.ToString(CultureInfo.InvariantCulture);

    // In the form that kubectl rollout undo applies: a strategic merge patch that replaces the template.
    private static JsonElement Data(V1PodTemplateSpec template)
    {
        var node = JsonNode.Parse(ModelJson.Serialize(template))!.AsObject();
        node["$patch"] = "replace";
        var data = new JsonObject { ["spec"] = new JsonObject { ["template"] = node } };
        using var document = JsonDocument.Parse(data.ToJsonString());
        return document.RootElement.Clone();
    }

    private static bool Same(V1ControllerRevision revision, JsonElement data) => revision.Data is JsonElement kept && JsonElement.DeepEquals(kept, data);
}
