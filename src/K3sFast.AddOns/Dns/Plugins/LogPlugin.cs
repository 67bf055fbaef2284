using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>Writes a line for each question (log), in CoreDNS' formats.</summary>
internal sealed class LogPlugin(IReadOnlyList<(ZoneSet Names, string Format, IReadOnlyList<string> Classes)> rules, IPAddress local, ILogger logger) : Plugin
{
    internal const string Common = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";
    internal const string Combined = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration} {>opcode}";

    internal override string Name => "log";

    internal override bool IsForQuestionOnly => true;

    internal override Step Finish(Exchange exchange)
    {
        if (exchange.Notes.IsRefresh) return Step.Answered;
        foreach (var (names, format, classes) in rules)
        {
            if (names.Match(exchange.Question) is null) continue;
            if (classes.Count == 0 || classes.Contains("all") || classes.Contains(ClassOf(exchange))) Log.Query(logger, Fill(format, exchange));
            break;
        }
        return Step.Answered;
    }

    private static string ClassOf(Exchange exchange) => exchange.Code switch
    {
        DnsCode.NameError => "denial",
        DnsCode.NoError => exchange.Answers > 0 ? "success" : "denial",
        _ => "error",
    };

    private string Fill(string format, Exchange exchange)
    {
        var line = new StringBuilder(format.Length + 64);
        for (var i = 0; i < format.Length; i++)
        {
            var end = format[i] == '{' ? format.IndexOf('}', i) : -1;
            if (end < 0)
            {
                line.Append(format[i]);
                continue;
            }
            line.Append(Value(format[(i + 1)..end], exchange));
            i = end;
        }
        return line.ToString();
    }

    private string Value(string word, Exchange exchange)
    {
        var client = exchange.ClientEndPoint();
        return word switch
        {
            "type" => DnsWords.Type((DnsType)DnsMessage.U16(exchange.Query[(exchange.QuestionEnd - 4)..])),
            "class" => DnsWords.Class(DnsMessage.U16(exchange.Query[(exchange.QuestionEnd - 2)..])),
            "name" => NameText.Of(exchange.Question),
            "proto" => exchange.IsUdp ? "udp" : "tcp",
            "remote" => Bracketed(client.Address),
            "local" => Bracketed(local),
            "port" => client.Port.ToString(CultureInfo.InvariantCulture),
            "size" => exchange.QueryLength.ToString(CultureInfo.InvariantCulture),
            "rsize" => exchange.Length.ToString(CultureInfo.InvariantCulture),
            "rcode" => DnsWords.Code(exchange.Code),
            "duration" => string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetElapsedTime(exchange.StartedAt).TotalSeconds:0.000000000}s"),
            ">id" => DnsMessage.U16(exchange.Query).ToString(CultureInfo.InvariantCulture),
            ">opcode" => ((exchange.Query[2] >> 3) & 0xF).ToString(CultureInfo.InvariantCulture),
            ">do" => exchange.WantsDnssec ? "true" : "false",
            ">bufsize" => (exchange.HasOpt ? exchange.Opt.UdpSize : DnsMessage.PlainUdpSize).ToString(CultureInfo.InvariantCulture),
            ">rflags" => Flags(exchange),
            _ => "-",
        };
    }

    private static string Flags(Exchange exchange)
    {
        var flags = new List<string> { "qr" };
        if (exchange.IsAuthoritative) flags.Add("aa");
        if (exchange.IsTruncated) flags.Add("tc");
        if (exchange.RecursionDesired) flags.Add("rd");
        if (exchange.IsRecursionAvailable) flags.Add("ra");
        if (exchange.IsAuthentic) flags.Add("ad");
        if (exchange.ChecksDisabled) flags.Add("cd");
        return string.Join(',', flags);
    }

    private static string Bracketed(IPAddress address) => address.GetAddressBytes().Length == 16 ? $"[{address}]" : address.ToString();
}
