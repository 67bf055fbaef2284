#!/usr/bin/env bash
# A node that joins: from the agent's exec to its node Ready, as the server tells, with a cold data directory each time.
#   sudo bench/join.sh [runs]        uses artifacts/bin/k3sfast; server and agent have a network namespace each, with a link between them
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
RUNS=${1:-5}
BINARY=$PWD/artifacts/bin/k3sfast
SERVER=k3fast-join1 AGENT=k3fast-join2
DIR=$(mktemp -d /tmp/k3sfast-join-XXXXXX)
in_server() { nsenter --net=/run/netns/$SERVER -- "$@"; }
in_agent() { nsenter --net=/run/netns/$AGENT -- "$@"; }
now() { date +%s%N; }
stop() {
  [ -z "${SERVER_PID:-}" ] || { kill "$SERVER_PID" && wait "$SERVER_PID" || true; }
  ip netns delete $SERVER; ip netns delete $AGENT; rm -rf "$DIR"
}
ip netns add $SERVER; ip netns add $AGENT; trap stop EXIT
ip -n $SERVER link add eth0 type veth peer name eth0 netns $AGENT
for side in "$SERVER 192.0.2.11" "$AGENT 192.0.2.12"; do
  set -- $side
  ip -n "$1" link set lo up; ip -n "$1" address add "$2/24" dev eth0; ip -n "$1" link set eth0 up; ip -n "$1" route add default via 192.0.2.1
done
nsenter --net=/run/netns/$SERVER -- "$BINARY" server --disable-agent --data-dir "$DIR/server" --write-kubeconfig "$DIR/k3s.yaml" --node-ip 192.0.2.11 >"$DIR/server.log" 2>&1 </dev/null & SERVER_PID=$!
KUBECTL="kubectl --kubeconfig $DIR/k3s.yaml"
until [ -f "$DIR/k3s.yaml" ] && in_server $KUBECTL get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
echo "| run | exec to Ready ms |"
echo "| ---: | ---: |"
for run in $(seq "$RUNS"); do
  A=$DIR/agent$run
  mkdir -p "$A"
  printf 'server: https://192.0.2.11:6443\ntoken: %s\ndata-dir: %s\nnode-name: joined%s\nnode-ip: 192.0.2.12\nkubelet-arg: [root-dir=%s, pod-logs-dir=%s, cgroup-root=/%s-%s]\n' \
    "$(cat "$DIR/server/server/node-token")" "$A/data" "$run" "$A/kubelet" "$A/logs" "$(basename "$DIR")" "$run" > "$A/config.yaml"
  BEGIN=$(now)
  nsenter --net=/run/netns/$AGENT -- "$BINARY" agent --config "$A/config.yaml" >"$A/log" 2>&1 </dev/null & PID=$!
  until in_server $KUBECTL wait --for=condition=Ready "node/joined$run" --timeout=60s >/dev/null 2>&1; do kill -0 $PID; done
  echo "| $run | $(( ($(now) - BEGIN) / 1000000 )) |"
  kill "$PID"; wait "$PID" || true
  K3SFAST_BINARY=$BINARY in_agent ./k3sfast-killall.sh --config "$A/config.yaml" >/dev/null
done
