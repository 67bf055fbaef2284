#!/usr/bin/env bash
# Two servers under the same loads, alternating: each round starts ours, loads it, stops it, then the same with the peer.
#
#   bench/compare.sh --ours DRIVER --peer DRIVER [options]
#     --rounds N          default 3
#     --scenarios A,B     of K3sFast.LoadTest; default: all that say something about a peer
#     --seconds N         of each timed load; default 10
#     --scale X           counts, rates and watchers times this; for a trial
#     --slow-sync MS      every flush to disk takes this much longer, for both (native/slowsync); only "create" is run then unless told
#     --out FILE          default bench/results/DATE.json, which perf-dashboards/compare.html shows
#     --machine TEXT      what the figures were taken on; default: CPU, kernel
#     --cpus CLIENT       a list of cores for the load generator (taskset), when the machine has cores to spare
#
# A DRIVER is a program that knows one server: `DRIVER up` starts it and returns when it is ready, `DRIVER start` starts it and returns at once, `DRIVER down`
# stops it and keeps its data, `DRIVER wipe` removes its data and all else, `DRIVER kubeconfig` and `DRIVER pids` print where its kubeconfig is and its
# processes, `DRIVER run CMD...` runs a command where the server can be reached, `DRIVER name` prints what it is called. It finds in $WRAP a command to put
# before each server process ("slowsync 10"), or nothing. bench/k3sfast-driver.sh is ours. A start that is timed is waited for by the load generator alone:
# who polls beside it competes with the server for its cores.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
ROUNDS=3 SECONDS_EACH=10 SCALE=1 SLOW= OUT= SCENARIOS= MACHINE= CPUS=
while [ $# -gt 1 ]; do
  case $1 in
    --ours) OURS=$2 ;; --peer) PEER=$2 ;; --rounds) ROUNDS=$2 ;; --scenarios) SCENARIOS=$2 ;; --seconds) SECONDS_EACH=$2 ;; --scale) SCALE=$2 ;;
    --slow-sync) SLOW=$2 ;; --out) OUT=$2 ;; --machine) MACHINE=$2 ;; --cpus) CPUS="taskset -c $2" ;;
    *) echo "unknown argument $1; the head of this file tells them" >&2; exit 2 ;;
  esac
  shift 2
done
: "${OURS:?--ours DRIVER is missing}" "${PEER:?--peer DRIVER is missing}"
[ -n "$SCENARIOS" ] || { [ -n "$SLOW" ] && SCENARIOS=create || SCENARIOS=create,steady-create,read-after-write,steady-get,watch,idle-watches,growth,list-many,idle,start; }
[ -n "$MACHINE" ] || MACHINE="$(nproc) x $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), Linux $(uname -r)${SLOW:+, flushes +$SLOW ms}"
[ -n "$OUT" ] || OUT=bench/results/$(date +%Y-%m-%d)${SLOW:+-slow-$SLOW}.json
mkdir -p "$(dirname "$OUT")"
DIR=$(mktemp -d /tmp/compare-XXXXXX)
trap 'rm -rf "$DIR"; for side in "$OURS" "$PEER"; do "$side" down >/dev/null 2>&1 || true; "$side" wipe || true; done' EXIT
export WRAP=
if [ -n "$SLOW" ]; then
  make -s -C native slowsync
  WRAP="$PWD/artifacts/native/slowsync $SLOW"
fi
dotnet build bench/K3sFast.LoadTest -c Release -v q --nologo -clp:ErrorsOnly
LOAD=$PWD/bench/K3sFast.LoadTest/bin/Release/net10.0/K3sFast.LoadTest

load() { # DRIVER FILE SCENARIOS: a failed load is in the figures, so it does not end the comparison
  "$1" run $CPUS "$LOAD" "$("$1" kubeconfig)" --pid "$("$1" pids | paste -sd,)" --scenarios "$3" --seconds "$SECONDS_EACH" --scale "$SCALE" --keep true --out "$2" >&2 || echo "some loads failed on $("$1" name)" >&2
}
FILES=()
for round in $(seq "$ROUNDS"); do
  for side in "$OURS" "$PEER"; do
    NAME=$("$side" name)
    for scenario in ${SCENARIOS//,/ }; do
      FILE=$DIR/$round-$([ "$side" = "$OURS" ] && echo ours || echo peer)-$scenario.json
      echo "$(date +%H:%M:%S) round $round: $NAME, $scenario" >&2
      # Each load finds a server that was just started on an empty store: none pays for another's leftovers.
      "$side" wipe; "$side" up
      if [ "$scenario" = start ]; then
        load "$side" "$DIR/fill.json" fill
        "$side" run $CPUS "$LOAD" started "$("$side" kubeconfig)" "$DIR/begun" --out "$FILE" >&2 & ASKER=$!
        until [ -f "$DIR/begun.warm" ] || ! kill -0 $ASKER 2>/dev/null; do sleep 0.1; done
        "$side" down
        date +%s%3N > "$DIR/begun.new"; mv "$DIR/begun.new" "$DIR/begun"
        "$side" start
        wait $ASKER || echo "$NAME did not start" >&2
        rm -f "$DIR/begun" "$DIR/begun.warm"
      else
        load "$side" "$FILE" "$scenario"
      fi
      "$side" down
    done
  done
done
for round in $(seq "$ROUNDS"); do
  for scenario in ${SCENARIOS//,/ }; do FILES+=("$DIR/$round-ours-$scenario.json" "$DIR/$round-peer-$scenario.json"); done
done
"$LOAD" compare "$("$OURS" name)" "$("$PEER" name)" "$MACHINE" "$OUT" "${FILES[@]}"
echo "written to $OUT" >&2
