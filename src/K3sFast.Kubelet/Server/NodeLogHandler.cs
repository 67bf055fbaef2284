using System.Globalization;
using System.Net;
using System.Text;

namespace K3sFast.Kubelet.Server;

/// <summary>
/// GET /logs/…: the files below the node's log directory, and listings of its folders. A link is followed only as long as it stays below: whoever may read
/// the node's logs may not read the node, even if a pod that writes there helps.
/// </summary>
internal sealed class NodeLogHandler(string root = "/var/log")
{
    // The kernel's own limit on links in one path.
    private const int MaxLinks = 40;

    public async Task HandleAsync(KubeletRequest request)
    {
        if (request.Method is not ("GET" or "HEAD")) throw new KubeletRequestException(405, "405: Method Not Allowed");
        var path = Resolve(request.Path["/logs".Length..]);
        if (path is null || !Path.Exists(path))
        {
            await request.AnswerAsync(404, "404 page not found\n").ConfigureAwait(false);
        }
        else if (!Directory.Exists(path))
        {
            await SendAsync(request, path).ConfigureAwait(false);
        }
        else if (!request.Path.EndsWith('/'))
        {
            // Relative links of the listing only work below a folder.
            request.SetHeader("Location", Path.GetFileName(request.Path) + "/");
            await request.AnswerAsync(301, "").ConfigureAwait(false);
        }
        else
        {
            await request.AnswerAsync(200, List(path), "text/html; charset=utf-8").ConfigureAwait(false);
        }
    }

    // Where the path really is; null when that is outside.
    private string? Resolve(string path)
    {
        if (path.Contains('\0', StringComparison.Ordinal) || path.Split('/').Contains("..") || Real(root) is not { } top || Real(root + "/" + path) is not { } place) return null;
        return place == top || place.StartsWith(top + "/", StringComparison.Ordinal) ? place : null;
    }

    // The path with every link in it followed, as realpath(3) does; null for links in a circle.
    private static string? Real(string path)
    {
        var left = new Stack<string>(Parts(path));
        var place = "";
        for (var links = 0; left.TryPop(out var part);)
        {
            if (part == ".") continue;
            if (part == "..")
            {
                place = place[..Math.Max(0, place.LastIndexOf('/'))];
                continue;
            }
            var next = $"{place}/{part}";
            if (new FileInfo(next).LinkTarget is not { } target)
            {
                place = next;
                continue;
            }
            if (++links > MaxLinks) return null;
            if (target.StartsWith('/')) place = "";
            foreach (var step in Parts(target)) left.Push(step);
        }
        return place;
    }

    // Last part first.
    private static IEnumerable<string> Parts(string path) => path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse();

    private static string List(string folder)
    {
        var page = new StringBuilder("<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n");
        foreach (var entry in new DirectoryInfo(folder).EnumerateFileSystemInfos().OrderBy(static entry => entry.Name, StringComparer.Ordinal))
        {
            var name = entry.Name + (entry.Attributes.HasFlag(FileAttributes.Directory) ? "/" : "");
            page.Append(CultureInfo.InvariantCulture, $"<a href=\"{Uri.EscapeDataString(entry.Name)}{name[entry.Name.Length..]}\">{WebUtility.HtmlEncode(name)}</a>\n");
        }
        return page.Append("</pre>\n").ToString();
    }

    private static async Task SendAsync(KubeletRequest request, string path)
    {
        var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, useAsync: true);
        await using (file.ConfigureAwait(false))
        {
            request.StatusCode = 200;
            request.SetHeader("Content-Type", Path.GetExtension(path) is ".log" or ".txt" or "" ? "text/plain; charset=utf-8" : "application/octet-stream");
            // A log grows while it is read: what it had when it was opened is what is sent.
            var left = file.Length;
            request.SetHeader("Content-Length", left.ToString(CultureInfo.InvariantCulture));
            if (request.Method == "HEAD") return;
            while (left > 0)
            {
                var memory = request.Output.GetMemory(16 * 1024);
                var read = await file.ReadAsync(memory[..(int)Math.Min(memory.Length, left)], request.Aborted).ConfigureAwait(false);
                if (read == 0) throw new IOException($"{path} was cut while it was read");
                request.Output.Advance(read);
                left -= read;
                if ((await request.Output.FlushAsync(request.Aborted).ConfigureAwait(false)).IsCompleted) return;
            }
        }
    }
}
