namespace K3sFast.ApiMachinery;

/// <summary>Files of one volume that stand in each other's way.</summary>
internal static class OverlapWarnings
{
    private readonly record struct Place(string Path, string Source)
    {
        public override string ToString() => Source.Length > 0 ? $"{GoText.Quote(Path)} ({Source})" : GoText.Quote(Path);
    }

    internal static void Of(ref WarningList warnings, ApiNode volume)
    {
        var name = volume["name"u8];
        Items(ref warnings, name, volume["configMap"u8], "ConfigMap", "name");
        Items(ref warnings, name, volume["secret"u8], "Secret", "secretName");
        Items(ref warnings, name, volume["downwardAPI"u8], "DownwardAPI", "");
        var places = new List<Place>();
        foreach (var source in volume["projected"u8]["sources"u8].Elements)
        {
            if (source.Count == 0)
            {
                warnings.Add($"volume {GoText.Quote(name.Utf8)} (Projected) has no sources provided");
                continue;
            }
            foreach (var place in PlacesOf(source))
                Check(ref warnings, places, place, $"volume {GoText.Quote(name.Utf8)} (Projected)");
        }
    }

    private static void Items(ref WarningList warnings, ApiNode name, ApiNode source, string kind, string nameField)
    {
        if (source["items"u8].Count < 2)
            return;
        string shown = nameField.Length == 0 ? kind : $"{kind} {GoText.Quote(source[System.Text.Encoding.ASCII.GetBytes(nameField)].Utf8)}";
        var places = new List<Place>();
        foreach (var item in source["items"u8].Elements)
            Check(ref warnings, places, new Place(item["path"u8].AsString(), ""), $"volume {GoText.Quote(name.Utf8)} ({shown})");
    }

    private static List<Place> PlacesOf(ApiNode source)
    {
        foreach (var (field, kind) in new[] { ("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "DownwardAPI") })
        {
            var value = source[System.Text.Encoding.ASCII.GetBytes(field)];
            if (value["items"u8].Kind != NodeKind.Array)
                continue;
            string shown = field == "downwardAPI" ? kind : $"{kind} {GoText.Quote(value["name"u8].Utf8)}";
            var places = new List<Place>();
            foreach (var item in value["items"u8].Elements)
                places.Add(new Place(item["path"u8].AsString(), shown));
            return places;
        }
        if (source["serviceAccountToken"u8].Kind == NodeKind.Object)
            return [new Place(source["serviceAccountToken"u8]["path"u8].AsString(), "ServiceAccountToken")];
        if (source["clusterTrustBundle"u8] is { Kind: NodeKind.Object } bundle)
            return [new Place(bundle["path"u8].AsString(), $"ClusterTrustBundle {GoText.Quote((bundle["name"u8].IsNullOrUndefined ? bundle["signerName"u8] : bundle["name"u8]).Utf8)}")];
        return [];
    }

    private static void Check(ref WarningList warnings, List<Place> places, Place place, string volume)
    {
        place = place with { Path = place.Path.TrimEnd('/') };
        foreach (var other in places)
        {
            if (place.Path.Length > 0 && other.Path.Length > 0
                && ($"{other.Path}/".StartsWith($"{place.Path}/", StringComparison.Ordinal) || $"{place.Path}/".StartsWith($"{other.Path}/", StringComparison.Ordinal)))
                warnings.Add($"{volume}: overlapping paths: {place} with {other}");
        }
        places.Add(place);
    }
}
