#!/usr/bin/env bash
# Goodput between pods of two nodes: over VXLAN and with host-gw, beside plain routing by the kernel alone, by turns in one run.
#   sudo bench/goodput.sh [rounds] [seconds] [Mbit/s of the network; 0 = unbounded, so that the CPU is the bound]
# Three pairs of nodes hang on one bridge, each link held to the given rate. A TCP segment over VXLAN carries 1398 of the 1514 bytes that the network counts,
# without it 1448: that ratio is the ceiling that headers set. Needs iperf3 (Debian) and artifacts/bin/k3sfast.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
ROUNDS=${1:-3} SECONDS_EACH=${2:-5} RATE=${3:-1000}
BINARY=${K3SFAST_BINARY:-$PWD/artifacts/bin/k3sfast}
command -v iperf3 >/dev/null || { echo "iperf3 is missing: apt-get install iperf3" >&2; exit 1; }
P=k3gp DIR=$(mktemp -d /tmp/k3sfast-goodput-XXXXXX) PIDS=() SPACES=() NODES=()
inside() { local name=$1; shift; nsenter --net="/run/netns/$name" -- "$@"; }
space() { ip netns add "$1"; SPACES+=("$1"); ip -n "$1" link set lo up; }

finish() {
  set +e
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
  for node in "${NODES[@]}"; do K3SFAST_BINARY=$BINARY inside "$P-$node" ./k3sfast-killall.sh --config "$DIR/$node/config.yaml" >/dev/null; done
  for name in "${SPACES[@]}"; do ip netns delete "$name"; done
  rm -rf "$DIR"
}
trap finish EXIT

# A machine on the bridge: name, number of its address.
machine() {
  space "$P-$1"
  ip -n $P-lan link add "n$2" type veth peer name eth0 netns "$P-$1"
  ip -n $P-lan link set "n$2" master br0 up
  ip -n "$P-$1" address add "192.0.2.$2/24" dev eth0
  ip -n "$P-$1" link set eth0 up
  ip -n "$P-$1" route add default via 192.0.2.1
  [ "$RATE" = 0 ] || ip netns exec "$P-$1" tc qdisc add dev eth0 root tbf rate "${RATE}mbit" burst 32kb latency 20ms
}

# A node of ours: name, number, its role, further settings.
node() {
  local name=$1 number=$2 role=$3; shift 3
  machine "$name" "$number"; NODES+=("$name")
  mkdir -p "$DIR/$name"
  examples/busybox-image.sh "$DIR/$name/data/agent/images" >/dev/null
  printf '%s\n' "data-dir: $DIR/$name/data" "node-name: $name" "node-ip: 192.0.2.$number" "kubelet-arg: [root-dir=$DIR/$name/kubelet, pod-logs-dir=$DIR/$name/logs, cgroup-root=/$P-$name]" "$@" > "$DIR/$name/config.yaml"
  inside "$P-$name" "$BINARY" "$role" --config "$DIR/$name/config.yaml" >"$DIR/$name/log" 2>&1 </dev/null & PIDS+=($!)
}

# A cluster of two nodes with a pod on each: backend, names, numbers. Leaves the pods' addresses and namespaces in files.
cluster() {
  local backend=$1 one=$2 two=$3 number=$4
  node "$one" "$number" server "write-kubeconfig: $DIR/$one/k3s.yaml" "flannel-backend: $backend"
  local kubectl="inside $P-$one kubectl --kubeconfig $DIR/$one/k3s.yaml"
  until $kubectl get node "$one" >/dev/null 2>&1; do sleep 0.3; done
  node "$two" $((number + 1)) agent "server: https://192.0.2.$number:6443" "token: $(cat "$DIR/$one/data/server/node-token")"
  until $kubectl get node "$two" >/dev/null 2>&1; do sleep 0.3; done
  for name in "$one" "$two"; do
    printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"nodeName":"%s","terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"busybox:1.35","command":["sleep","100000"]}]}}\n' "$name" "$name" | $kubectl apply -f - >/dev/null
  done
  $kubectl wait --for=condition=Ready --timeout=180s pod --all >/dev/null
  for name in "$one" "$two"; do
    local address; address=$($kubectl get pod "$name" -o 'jsonpath={.status.podIP}')
    # Both clusters give the same addresses; the pod's process is found by its node's cgroup.
    local pid; pid=$(for cgroup in $(find /sys/fs/cgroup -path "*/$P-$name/*" -name cgroup.procs); do cat "$cgroup"; done 2>/dev/null | sort -nu | while read -r candidate; do
      if nsenter -t "$candidate" -n ip -o address 2>/dev/null | grep "inet $address/" >/dev/null; then echo "$candidate"; fi; done | tail -n 1)
    echo "$address $pid" > "$DIR/$name.pod"
  done
}

# Plain routing: two machines that forward for a namespace each.
plain() {
  for i in 1 2; do
    machine "p$i" "3$i"; space "$P-q$i"
    ip -n "$P-p$i" link add inner type veth peer name eth0 netns "$P-q$i"
    ip -n "$P-p$i" address add "10.9$i.0.1/24" dev inner; ip -n "$P-p$i" link set inner up
    ip -n "$P-q$i" address add "10.9$i.0.2/24" dev eth0; ip -n "$P-q$i" link set eth0 up; ip -n "$P-q$i" route add default via "10.9$i.0.1"
    ip -n "$P-p$i" route add "10.9$((3 - i)).0.0/24" via "192.0.2.3$((3 - i))"
    inside "$P-p$i" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
  done
}

# Mbit/s from one to another: how to enter each, and the address of the second.
measure() {
  local from=$1 to=$2 address=$3
  # shellcheck disable=SC2086
  nsenter $to -- iperf3 -s -1 -B "$address" >/dev/null 2>&1 & local server=$!
  until nsenter $to -- ss -Hltn "sport = :5201" | grep -q .; do sleep 0.1; done
  nsenter $from -- iperf3 -c "$address" -t "$SECONDS_EACH" -O 1 -J | sed -n '/"sum_received"/,/}/s/.*"bits_per_second":[[:space:]]*\([0-9.e+]*\).*/\1/p' | awk '{printf "%.1f\n", $1 / 1e6}'
  wait "$server" || true
}

space $P-lan
ip -n $P-lan link add br0 type bridge
ip -n $P-lan address add 192.0.2.1/24 dev br0
ip -n $P-lan link set br0 up
plain
cluster vxlan v1 v2 11
cluster host-gw h1 h2 21
pod() { cut -d' ' -f"$2" "$DIR/$1.pod"; }
echo "| round | plain Mbit/s | host-gw Mbit/s | of plain | VXLAN Mbit/s | of the ceiling |"
echo "| ---: | ---: | ---: | ---: | ---: | ---: |"
for round in $(seq "$ROUNDS"); do
  A=$(measure "--net=/run/netns/$P-q1" "--net=/run/netns/$P-q2" 10.92.0.2)
  B=$(measure "-n -t $(pod h1 2)" "-n -t $(pod h2 2)" "$(pod h2 1)")
  C=$(measure "-n -t $(pod v1 2)" "-n -t $(pod v2 2)" "$(pod v2 1)")
  echo "| $round | $A | $B | $(awk "BEGIN {printf \"%.1f %%\", $B / $A * 100}") | $C | $(awk "BEGIN {printf \"%.1f %%\", $C / ($A * 1398 / 1448) * 100}") |"
done
