#!/usr/bin/env bash
# K3sFast for bench/compare.sh: a server without node in a network namespace of its own. BINARY (default artifacts/bin/k3sfast), DIR (its files) and
# SERVER_ARGS can be set.
set -euo pipefail
BINARY=${BINARY:-$(dirname "$(readlink -f "$0")")/../artifacts/bin/k3sfast}
DIR=${DIR:-/var/tmp/compare-k3sfast}
NS=compare-ours
inside() { nsenter --net=/run/netns/$NS -- "$@"; }
running() { [ -f "$DIR/pid" ] && kill -0 "$(cat "$DIR/pid")" 2>/dev/null; }
case ${1:-} in
  name) echo K3sFast ;;
  kubeconfig) echo "$DIR/k3s.yaml" ;;
  pids) # Behind a wrapper the server is its child.
    PID=$(cat "$DIR/pid"); [ -z "${WRAP:-}" ] || PID=$(pgrep -P "$PID"); echo "$PID" ;;
  run) shift; inside "$@" ;;
  up|start)
    mkdir -p "$DIR"
    if ! ip netns list | grep -qw $NS; then
      ip netns add $NS
      ip -n $NS link set lo up
      ip -n $NS link add eth0 type veth peer name eth1
      ip -n $NS address add 192.0.2.11/24 dev eth0
      ip -n $NS link set eth0 up; ip -n $NS link set eth1 up
      ip -n $NS route add default via 192.0.2.1 dev eth0
    fi
    nsenter --net=/run/netns/$NS -- ${WRAP:-} "$BINARY" server --disable-agent --disable coredns --data-dir "$DIR/data" --write-kubeconfig "$DIR/k3s.yaml" --node-ip 192.0.2.11 ${SERVER_ARGS:-} >"$DIR/log" 2>&1 </dev/null &
    echo $! > "$DIR/pid"
    [ "$1" = up ] || exit 0
    for _ in $(seq 6000); do
      running || { tail -5 "$DIR/log" >&2; exit 1; }
      [ -f "$DIR/k3s.yaml" ] && inside curl -sk -m 2 -o /dev/null -w '%{http_code}' https://127.0.0.1:6443/readyz 2>/dev/null | grep -qE '200|401' && exit 0
      sleep 0.01
    done
    exit 1 ;;
  down)
    if running; then
      kill -TERM "$(cat "$DIR/pid")"
      for _ in $(seq 300); do running || break; sleep 0.1; done
      running && kill -KILL "$(cat "$DIR/pid")"
    fi
    rm -f "$DIR/pid" ;;
  wipe) rm -rf "$DIR"; ! ip netns list | grep -qw $NS || ip netns delete $NS ;;
  *) echo "usage: $0 up|start|down|wipe|kubeconfig|pids|name|run COMMAND..." >&2; exit 2 ;;
esac
