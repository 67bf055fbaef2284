namespace K3sFast.ApiMachinery;

internal static partial class TableRows
{
    private static void PodTemplate(ref TableCells cells, ApiNode template)
    {
        cells.Name(template);
        Containers(ref cells, template["template"u8]["spec"u8]["containers"u8]);
        cells.Text(FormatLabels(template["template"u8]["metadata"u8]["labels"u8]));
    }

    private static void ReplicationController(ref TableCells cells, ApiNode controller)
    {
        ReplicaCounts(ref cells, controller);
        cells.Text(FormatLabels(controller["spec"u8]["selector"u8]));
    }

    private static void ReplicaSet(ref TableCells cells, ApiNode replicaSet)
    {
        ReplicaCounts(ref cells, replicaSet);
        cells.Text(FormatSelector(replicaSet["spec"u8]["selector"u8], "<none>"));
    }

    private static void ReplicaCounts(ref TableCells cells, ApiNode obj)
    {
        cells.Name(obj);
        cells.Number(obj["spec"u8]["replicas"u8]);
        cells.Number(obj["status"u8]["replicas"u8]);
        cells.Number(obj["status"u8]["readyReplicas"u8]);
        cells.Age(obj);
        Containers(ref cells, TemplateContainers(obj["spec"u8]));
    }

    private static ApiNode TemplateContainers(ApiNode spec) => spec["template"u8]["spec"u8]["containers"u8];

    private static void Deployment(ref TableCells cells, ApiNode deployment)
    {
        var status = deployment["status"u8];
        cells.Name(deployment);
        cells.Text($"{status["readyReplicas"u8].AsInt64()}/{deployment["spec"u8]["replicas"u8].AsInt64()}");
        cells.Number(status["updatedReplicas"u8]);
        cells.Number(status["availableReplicas"u8]);
        cells.Age(deployment);
        Containers(ref cells, TemplateContainers(deployment["spec"u8]));
        string selector = FormatSelector(deployment["spec"u8]["selector"u8], "");
        cells.Text(selector == "<error>" ? "<invalid>" : selector);
    }

    private static void StatefulSet(ref TableCells cells, ApiNode statefulSet)
    {
        cells.Name(statefulSet);
        cells.Text($"{statefulSet["status"u8]["readyReplicas"u8].AsInt64()}/{statefulSet["spec"u8]["replicas"u8].AsInt64()}");
        cells.Age(statefulSet);
        Containers(ref cells, TemplateContainers(statefulSet["spec"u8]));
    }

    private static void DaemonSet(ref TableCells cells, ApiNode daemonSet)
    {
        var spec = daemonSet["spec"u8];
        var status = daemonSet["status"u8];
        cells.Name(daemonSet);
        cells.Number(status["desiredNumberScheduled"u8]);
        cells.Number(status["currentNumberScheduled"u8]);
        cells.Number(status["numberReady"u8]);
        cells.Number(status["updatedNumberScheduled"u8]);
        cells.Number(status["numberAvailable"u8]);
        cells.Text(FormatLabels(spec["template"u8]["spec"u8]["nodeSelector"u8]));
        cells.Age(daemonSet);
        Containers(ref cells, TemplateContainers(spec));
        cells.Text(FormatSelector(spec["selector"u8], "<none>"));
    }

    private static void ControllerRevision(ref TableCells cells, ApiNode revision)
    {
        string controller = "<none>";
        foreach (var owner in revision["metadata"u8]["ownerReferences"u8].Elements)
        {
            if (!owner["controller"u8].AsBool())
                continue;
            string apiVersion = owner["apiVersion"u8].AsString();
            int slash = apiVersion.IndexOf('/');
            string kind = owner["kind"u8].AsString().ToLowerInvariant();
            controller = $"{(slash < 0 ? kind : $"{kind}.{apiVersion[..slash].ToLowerInvariant()}")}/{owner["name"u8].AsString()}";
            break;
        }
        cells.Name(revision);
        cells.Text(controller);
        cells.Number(revision["revision"u8]);
        cells.Age(revision);
    }

    private static void Job(ref TableCells cells, ApiNode job)
    {
        var spec = job["spec"u8];
        var status = job["status"u8];
        long succeeded = status["succeeded"u8].AsInt64();
        long parallelism = spec["parallelism"u8].AsInt64();
        cells.Name(job);
        cells.Text(
            HasCondition(job, "Complete"u8) ? "Complete"
            : HasCondition(job, "Failed"u8) ? "Failed"
            : !job["metadata"u8]["deletionTimestamp"u8].IsNullOrUndefined ? "Terminating"
            : HasCondition(job, "Suspended"u8) ? "Suspended"
            : HasCondition(job, "FailureTarget"u8) ? "FailureTarget"
            : HasCondition(job, "SuccessCriteriaMet"u8) ? "SuccessCriteriaMet"
            : "Running");
        cells.Text(
            spec["completions"u8].TryGetInt64(out long completions) ? $"{succeeded}/{completions}"
            : parallelism > 1 ? $"{succeeded}/1 of {parallelism}"
            : $"{succeeded}/1");
        if (!TableCells.TryReadTime(status["startTime"u8], out var started))
            cells.Text(""u8);
        else
            cells.Text(TableCells.HumanDuration((TableCells.TryReadTime(status["completionTime"u8], out var completed) ? completed : cells.Now) - started));
        cells.Age(job);
        Containers(ref cells, TemplateContainers(spec));
        cells.Text(FormatSelector(spec["selector"u8], "<none>"));
    }

    private static void CronJob(ref TableCells cells, ApiNode cronJob)
    {
        var spec = cronJob["spec"u8];
        var status = cronJob["status"u8];
        cells.Name(cronJob);
        cells.Text(spec["schedule"u8]);
        if (spec["timeZone"u8].IsNullOrUndefined)
            cells.Text("<none>"u8);
        else
            cells.Text(spec["timeZone"u8]);
        cells.Text(spec["suspend"u8].IsNullOrUndefined ? "<unset>" : spec["suspend"u8].AsBool() ? "True" : "False");
        cells.Number(status["active"u8].Count);
        if (status["lastScheduleTime"u8].IsNullOrUndefined)
            cells.Text("<none>"u8);
        else
            cells.Since(status["lastScheduleTime"u8]);
        cells.Age(cronJob);
        var jobSpec = spec["jobTemplate"u8]["spec"u8];
        Containers(ref cells, TemplateContainers(jobSpec));
        cells.Text(FormatSelector(jobSpec["selector"u8], "<none>"));
    }

    private static void Scale(ref TableCells cells, ApiNode scale)
    {
        cells.Name(scale);
        cells.Number(scale["spec"u8]["replicas"u8]);
        cells.Number(scale["status"u8]["replicas"u8]);
        cells.Age(scale);
    }

    // v1 carries all but one metric in annotations; the row is that of v2.
    private static void HorizontalPodAutoscaler(ref TableCells cells, ApiNode autoscaler)
    {
        if (autoscaler["apiVersion"u8].Equals("autoscaling/v1"u8) || autoscaler["spec"u8]["targetCPUUtilizationPercentage"u8].IsDefined)
        {
            using var second = ApiObject.Rent();
            second.ReplaceRoot(autoscaler);
            AutoscalerConversion.ToSecond(second.Root);
            SecondAutoscaler(ref cells, second.Root);
        }
        else
        {
            SecondAutoscaler(ref cells, autoscaler);
        }
    }

    private static void SecondAutoscaler(ref TableCells cells, ApiNode autoscaler)
    {
        var spec = autoscaler["spec"u8];
        var status = autoscaler["status"u8];
        cells.Name(autoscaler);
        cells.Text($"{spec["scaleTargetRef"u8]["kind"u8].AsString()}/{spec["scaleTargetRef"u8]["name"u8].AsString()}");
        cells.Text(FormatMetrics(spec["metrics"u8], status["currentMetrics"u8]));
        cells.TextOr(spec["minReplicas"u8], "<unset>"u8);
        cells.Number(spec["maxReplicas"u8]);
        cells.Number(status["currentReplicas"u8]);
        cells.Age(autoscaler);
    }

    private static string Percent(ApiNode value, string whenAbsent) => value.TryGetInt64(out long percent) ? $"{percent}%" : whenAbsent;

    // At most two metrics are shown; current and target in the unit of the target.
    private static string FormatMetrics(ApiNode metrics, ApiNode current)
    {
        if (metrics.Count == 0)
            return "<none>";
        var texts = new List<string>();
        var statuses = current.Elements.GetEnumerator();
        foreach (var metric in metrics.Elements)
        {
            var status = statuses.MoveNext() ? statuses.Current : default;
            switch (metric["type"u8].AsString())
            {
                case "External":
                    texts.Add(FormatObjectMetric(metric["external"u8]["target"u8], status["external"u8]["current"u8]));
                    break;
                case "Object":
                    texts.Add(FormatObjectMetric(metric["object"u8]["target"u8], status["object"u8]["current"u8]));
                    break;
                case "Pods":
                    texts.Add($"{OrUnknown(status["pods"u8]["current"u8]["averageValue"u8])}/{metric["pods"u8]["target"u8]["averageValue"u8].AsString()}");
                    break;
                case "Resource":
                    texts.Add(FormatResourceMetric(metric["resource"u8], status["resource"u8]["current"u8]));
                    break;
                case "ContainerResource":
                    texts.Add(FormatResourceMetric(metric["containerResource"u8], status["containerResource"u8]["current"u8]));
                    break;
                default:
                    texts.Add("<unknown type>");
                    break;
            }
        }
        return texts.Count <= 2 ? string.Join(", ", texts) : $"{texts[0]}, {texts[1]} + {texts.Count - 2} more...";
    }

    private static string FormatObjectMetric(ApiNode target, ApiNode current) =>
        target["averageValue"u8].IsNullOrUndefined
            ? $"{OrUnknown(current["value"u8])}/{target["value"u8].AsString()}"
            : $"{OrUnknown(current["averageValue"u8])}/{target["averageValue"u8].AsString()} (avg)";

    private static string FormatResourceMetric(ApiNode metric, ApiNode current)
    {
        var target = metric["target"u8];
        string name = metric["name"u8].AsString();
        return target["averageValue"u8].IsNullOrUndefined
            ? $"{name}: {Percent(current["averageUtilization"u8], "<unknown>")}/{Percent(target["averageUtilization"u8], "<auto>")}"
            : $"{name}: {OrUnknown(current["averageValue"u8])}/{target["averageValue"u8].AsString()}";
    }

    private static string OrUnknown(ApiNode value) => value.IsNullOrUndefined ? "<unknown>" : value.AsString();
}
