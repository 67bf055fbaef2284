#!/usr/bin/env bash
# The cluster's DNS under load, alternating with name servers of Debian's on the same zone: questions per second of one core, and how long an answer
# takes at a steady rate. Loads: "full" (dnsperf, 200 questions on their way), "steady" (dnsperf at a rate: it asks in bursts, and its two threads
# share a core, so that most of what it tells of long answers is its own) and "paced" (one question each 1/rate, by a client that never sleeps).
#   bench/dns.sh [--seconds 10] [--rounds 3] [--services 10000] [--rate 50000] [--peers "knotd"]
# CPU per answer is the server's own time: it says what a core can do even where the machine is busy with other things.
# The server has one core to itself (0), the clients the rest. Needs dnsperf; peers that are not installed are left out. CoreDNS is in no Debian suite.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
SECONDS_EACH=10 ROUNDS=3 SERVICES=10000 RATE=50000 PEERS=knotd
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) SECONDS_EACH=$2 ;; --rounds) ROUNDS=$2 ;; --services) SERVICES=$2 ;; --rate) RATE=$2 ;; --peers) PEERS=$2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
PATH=$PATH:/usr/sbin
command -v dnsperf >/dev/null || { echo "needs dnsperf (apt-get install dnsperf)" >&2; exit 1; }
CORES=$(nproc); [ "$CORES" -gt 1 ] && CLIENTS=1-$((CORES - 1)) || CLIENTS=0
DIR=$(mktemp -d /tmp/k3sfast-dns-XXXXXX); PIDS=()
stop() { exec 9>&- || true; for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$DIR"; }
trap stop EXIT
[ -n "${DNS_BINARY:-}" ] || dotnet build bench/K3sFast.Benchmarks -c Release -v q --nologo -clp:ErrorsOnly >/dev/null
SERVER=${DNS_BINARY:-bench/K3sFast.Benchmarks/bin/Release/net10.0/K3sFast.Benchmarks}
mkfifo "$DIR/in"
DOTNET_TieredPGO=1 taskset -c 0 "$SERVER" dns --port 10053 --services "$SERVICES" --threads 1 --queries "$DIR/queries" --zone "$DIR/zone" <"$DIR/in" >"$DIR/ours.log" 2>&1 & PIDS+=($!); declare -A SERVERS=([ours]=$!)
exec 9>"$DIR/in"
for _ in $(seq 600); do grep -q ready "$DIR/ours.log" && break; sleep 0.1; done
cat "$DIR/ours.log"
declare -A PORTS=([ours]=10053)
NAMES=(ours)
for peer in $PEERS; do
  command -v "$peer" >/dev/null || { echo "$peer is not installed: left out"; continue; }
  case $peer in
    knotd)
      mkdir -p "$DIR/knot"
      printf 'server:\n  rundir: %s\n  listen: 127.0.0.1@10153\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\ndatabase:\n  storage: %s\nzone:\n  - domain: cluster.local\n    file: %s\n    zonefile-load: whole\n    journal-content: none\n' \
        "$DIR/knot" "$DIR/knot" "$DIR/zone" >"$DIR/knot.conf"
      taskset -c 0 knotd -c "$DIR/knot.conf" >"$DIR/knotd.log" 2>&1 & PIDS+=($!) ;;
    unbound)
      { printf 'server:\n  interface: 127.0.0.1@10153\n  num-threads: 1\n  do-daemonize: no\n  username: ""\n  chroot: ""\n  pidfile: "%s/unbound.pid"\n  use-syslog: no\n  local-zone: "cluster.local." static\n' "$DIR"
        awk 'NR > 4 {printf "  local-data: \"%s.cluster.local. 5 %s\"\n", $1, substr($0, length($1) + 2)}' "$DIR/zone"; printf 'remote-control:\n  control-enable: no\n'; } >"$DIR/unbound.conf"
      taskset -c 0 unbound -d -c "$DIR/unbound.conf" >"$DIR/unbound.log" 2>&1 & PIDS+=($!) ;;
    *) echo "how to start $peer is not known" >&2; exit 2 ;;
  esac
  PORTS[$peer]=10153 SERVERS[$peer]=${PIDS[-1]} NAMES+=("$peer")
  sleep 3
  break   # one peer at a time: they share port and core
done
# User and system time of a process in ticks of 10 ms.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{print $12 + $13}'; }
field() { sed -n "s/.*$1: *\([0-9.]*\).*/\1/p" "$2" | head -1; }
# Code that is compiled while it runs is so by now, and caches are filled.
for name in "${NAMES[@]}"; do taskset -c "$CLIENTS" dnsperf -s 127.0.0.1 -p "${PORTS[$name]}" -d "$DIR/queries" -l 4 -c 8 -T 1 -q 200 >/dev/null 2>&1; done
echo "| round | server | load | answers per second | lost | average us | largest us | CPU us per answer |"
echo "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |"
for round in $(seq "$ROUNDS"); do
  for name in "${NAMES[@]}"; do
    for load in full steady paced; do
      OPTIONS=(); [ $load = full ] || OPTIONS=(-Q "$RATE" -v)
      BEFORE=$(ticks "${SERVERS[$name]}")
      if [ $load = paced ]; then
        # Compiled before it runs: nothing shall take the client's core from it.
        DOTNET_TieredCompilation=0 taskset -c "$CLIENTS" "$SERVER" dns-client --server "127.0.0.1:${PORTS[$name]}" --queries "$DIR/queries" \
          --rate "$RATE" --seconds "$SECONDS_EACH" --warm-up-ms 200 >"$DIR/out" 2>&1 || true
        SPENT=$(($(ticks "${SERVERS[$name]}") - BEFORE))
        part() { sed -n "s/.*\b$1 \([0-9.-]*\).*/\1/p" "$DIR/out"; }
        echo "| $round | $name | $load, p50 $(part p50) us, p99 $(part p99) us, p99.9 $(part p99.9) us, unseen $(part unseen) | $(part rate) | $(part lost) | - | $(part largest) | $(awk -v t="$SPENT" -v n="$(part answers)" -v s="$SECONDS_EACH" 'BEGIN {printf "%.2f", t * 10000 / (n * (s + 0.2) / s)}') |"
        continue
      fi
      taskset -c "$CLIENTS" dnsperf -s 127.0.0.1 -p "${PORTS[$name]}" -d "$DIR/queries" -l "$SECONDS_EACH" -c 8 -T 1 -q 200 "${OPTIONS[@]}" >"$DIR/out" 2>&1
      SPENT=$(($(ticks "${SERVERS[$name]}") - BEFORE))
      P99=""
      if [ $load = steady ]; then
        # -v prints each answer with its time in seconds as the last word.
        P99=", p99 $(awk '/^> / {print $NF * 1e6}' "$DIR/out" | sort -n | awk '{v[NR] = $1} END {if (NR) printf "%d us", v[int(NR * 0.99)]}')"
      fi
      LATENCY=$(grep 'Average Latency' "$DIR/out")
      echo "| $round | $name | $load$P99 | $(field 'Queries per second' "$DIR/out") | $(field 'Queries lost' "$DIR/out") | $(echo "$LATENCY" | sed 's/.*(s): *\([0-9.]*\).*/\1/' | awk '{printf "%.0f", $1 * 1e6}') | $(echo "$LATENCY" | sed 's/.*max \([0-9.]*\).*/\1/' | awk '{printf "%.0f", $1 * 1e6}') | $(awk -v t="$SPENT" -v n="$(field 'Queries completed' "$DIR/out")" 'BEGIN {printf "%.2f", t * 10000 / n}') |"
    done
  done
done
