namespace K3sFast.ApiMachinery;

/// <summary>All containers of a pod spec with their places, init containers first, as upstream visits them. Allocates nothing.</summary>
internal struct PodContainers
{
    private readonly ApiNode _spec;
    private int _list;
    private int _index;
    private ElementEnumerable.Enumerator _containers;

    private PodContainers(ApiNode spec)
    {
        _spec = spec;
        _index = -1;
        _containers = spec["initContainers"u8].Elements.GetEnumerator();
    }

    internal static PodContainers Of(ApiNode spec) => new(spec);

    /// <summary>The list's name, the place in it and the container.</summary>
    public readonly (string List, int Index, ApiNode Container) Current =>
        (_list switch { 0 => "initContainers", 1 => "containers", _ => "ephemeralContainers" }, _index, _containers.Current);

    public readonly PodContainers GetEnumerator() => this;

    public bool MoveNext()
    {
        while (!_containers.MoveNext())
        {
            if (++_list > 2)
                return false;
            _index = -1;
            _containers = (_list == 1 ? _spec["containers"u8] : _spec["ephemeralContainers"u8]).Elements.GetEnumerator();
        }
        _index++;
        return true;
    }
}
