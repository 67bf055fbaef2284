#!/usr/bin/env bash
# Start-up and size of an empty node: from exec to /readyz, to the node Ready; and once it is idle, the server's memory, CPU and what it writes to disk
# (over a minute; containerd, its child, apart).
#   sudo bench/start.sh [runs]        uses artifacts/bin/k3sfast; each run has a cold data directory
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
RUNS=${1:-3}
BINARY=$PWD/artifacts/bin/k3sfast
NS=k3fast-bench
ip netns add $NS; trap 'ip netns delete $NS' EXIT
ip -n $NS link set lo up
ip -n $NS link add eth0 type veth peer name eth1
ip -n $NS address add 192.0.2.11/24 dev eth0
ip -n $NS link set eth0 up; ip -n $NS link set eth1 up
ip -n $NS route add default via 192.0.2.1 dev eth0
inside() { nsenter --net=/run/netns/$NS -- "$@"; }
now() { date +%s%N; }
echo "| run | to /readyz ms | to Ready ms | PSS idle MB | CPU idle % of a core | written idle KiB/s | by containerd KiB/s |"
echo "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
for run in $(seq "$RUNS"); do
  DIR=$(mktemp -d /tmp/k3sfast-start-XXXXXX)
  printf 'data-dir: %s\nwrite-kubeconfig: %s\nnode-name: bench\nnode-ip: 192.0.2.11\nkubelet-arg: [root-dir=%s, pod-logs-dir=%s, cgroup-root=/%s]\n' \
    "$DIR/data" "$DIR/k3s.yaml" "$DIR/kubelet" "$DIR/logs" "$(basename "$DIR")" > "$DIR/config.yaml"
  KUBECTL="kubectl --kubeconfig $DIR/k3s.yaml"
  BEGIN=$(now)
  nsenter --net=/run/netns/$NS -- "$BINARY" server --config "$DIR/config.yaml" >"$DIR/log" 2>&1 </dev/null & PID=$!
  until [ -f "$DIR/k3s.yaml" ] && inside curl -sk -m 1 -o /dev/null -w '%{http_code}' https://127.0.0.1:6443/readyz 2>/dev/null | grep -qE '200|401'; do :; done
  READYZ=$(( ($(now) - BEGIN) / 1000000 ))
  until [ "$(inside $KUBECTL get node bench -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]; do :; done
  READY=$(( ($(now) - BEGIN) / 1000000 ))
  sleep 20
  ticks() { awk '{print $14 + $15}' "/proc/$PID/stat"; }
  CONTAINERD=$(pgrep -P "$PID" containerd || true)
  written() { awk '/^write_bytes/ {w = $2} /^cancelled/ {c = $2} END {print w - c}' "/proc/$1/io"; }
  T0=$(ticks); W0=$(written "$PID"); C0=$(written "${CONTAINERD:-$PID}")
  sleep 60
  T1=$(ticks); W1=$(written "$PID"); C1=$(written "${CONTAINERD:-$PID}")
  PSS=$(awk '/^Pss:/ {print int($2 / 1024)}' "/proc/$PID/smaps_rollup")
  echo "| $run | $READYZ | $READY | $PSS | $(awk "BEGIN {printf \"%.2f | %.1f | %.1f\", ($T1 - $T0) / 60, ($W1 - $W0) / 61440, ($C1 - $C0) / 61440}") |"
  kill "$PID"; wait "$PID" || true
  K3SFAST_BINARY=$BINARY inside ./k3sfast-killall.sh --config "$DIR/config.yaml" >/dev/null
  rm -rf "$DIR"
done
