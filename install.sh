#!/usr/bin/env bash
# Builds K3sFast from this source tree, installs it, starts it and waits until the node is Ready.
#
#   sudo ./install.sh                build, install, start, wait, show the node
#   ./install.sh --build-only        only build artifacts/bin/k3sfast
#   sudo ./install.sh --server-args  everything after it goes to "k3sfast server" (or "k3sfast agent")
#   sudo K3S_URL=https://HOST:6443 K3S_TOKEN=... ./install.sh    the same for an agent that joins the cluster of HOST
#
# Environment, by k3s's names: INSTALL_K3S_EXEC (server or agent, and arguments; agent when K3S_URL is set), INSTALL_K3S_BIN_DIR, INSTALL_K3S_SYSTEMD_DIR,
# INSTALL_K3S_SKIP_START=true, INSTALL_K3S_SKIP_ENABLE=true; K3S_* variables go to the server.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

BIN_DIR=${INSTALL_K3S_BIN_DIR:-/usr/local/bin}
SYSTEMD_DIR=${INSTALL_K3S_SYSTEMD_DIR:-/etc/systemd/system}
READY_SECONDS=${INSTALL_K3S_READY_SECONDS:-180}
BUILD_ONLY=false
# k3s' rule: the first word says what it is, else whether there is a server to join.
SERVER_ARGS=${INSTALL_K3S_EXEC:-}
case ${SERVER_ARGS%% *} in
  server|agent) ROLE=${SERVER_ARGS%% *}; SERVER_ARGS=${SERVER_ARGS#"$ROLE"} ;;
  *) ROLE=server; [ -z "${K3S_URL:-}" ] || ROLE=agent ;;
esac
NAME=k3sfast
[ "$ROLE" = server ] || NAME=k3sfast-agent

step() { printf '[k3sfast] %s\n' "$*"; }
die() { printf '[k3sfast] ERROR: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

while [ $# -gt 0 ]; do
  case $1 in
    --build-only) BUILD_ONLY=true ;;
    --server-args) shift; SERVER_ARGS="$SERVER_ARGS $*"; break ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown argument $1; see ./install.sh --help" ;;
  esac
  shift
done

PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
[ "$(uname -s)" = Linux ] || die "K3sFast runs on Linux only"
case $(uname -m) in
  x86_64) RID=linux-x64 ;;
  aarch64) RID=linux-arm64 ;;
  *) die "no build for $(uname -m) yet" ;;
esac
if [ "$ROLE" = agent ] && ! $BUILD_ONLY; then
  [ -n "${K3S_URL:-}" ] || case $SERVER_ARGS in *--server*|*-s\ *) ;; *) grep -qs '^server:' "${K3S_CONFIG_FILE:-/etc/rancher/k3s/config.yaml}" || die "an agent needs a server: set K3S_URL=https://HOST:6443" ;; esac
  [ -n "${K3S_TOKEN:-}${K3S_TOKEN_FILE:-}" ] || case $SERVER_ARGS in *--token*|*-t\ *) ;; *) grep -qs '^token' "${K3S_CONFIG_FILE:-/etc/rancher/k3s/config.yaml}" || die "an agent needs a token: set K3S_TOKEN to the content of the server's /var/lib/rancher/k3s/server/node-token" ;; esac
fi
$BUILD_ONLY || [ "$(id -u)" = 0 ] || die "run as root: sudo ./install.sh (or ./install.sh --build-only)"

# --- prerequisites --------------------------------------------------------------------------------------------------
# need <program or file> <Debian package>: remembers the package when the thing is not there.
MISSING=()
need() {
  case $1 in
    /*) [ -e "$1" ] || MISSING+=("$2") ;;
    *) has "$1" || MISSING+=("$2") ;;
  esac
}
step "Looking for what the build and the node need"
need clang clang
need make make
need strip binutils
need /usr/include/zlib.h zlib1g-dev
need /usr/include/sqlite3.h libsqlite3-dev
need /usr/include/linux/netlink.h linux-libc-dev
if ! $BUILD_ONLY; then
  need containerd containerd
  need runc runc
fi
if [ ${#MISSING[@]} -gt 0 ]; then
  has apt-get || die "please install: ${MISSING[*]}"
  [ "$(id -u)" = 0 ] || die "please install: sudo apt-get install ${MISSING[*]}"
  step "Installing ${MISSING[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || step "apt-get update failed; going on with the package lists that are there"
  apt-get install -y -qq --no-install-recommends "${MISSING[@]}" >/dev/null || die "apt-get install ${MISSING[*]} failed"
fi
if ! $BUILD_ONLY && has systemctl && [ -d /run/systemd/system ] && systemctl is-active --quiet containerd 2>/dev/null; then
  step "The system's own containerd service is running; K3sFast runs a containerd of its own beside it"
fi

has dotnet || [ ! -x /usr/share/dotnet/dotnet ] || PATH=$PATH:/usr/share/dotnet
[ -z "${DOTNET_ROOT:-}" ] || PATH=$PATH:$DOTNET_ROOT
has dotnet || [ ! -x "$HOME/.dotnet/dotnet" ] || PATH=$PATH:$HOME/.dotnet
has dotnet || die "the .NET 10 SDK is needed to build and was not found.
  Debian/Ubuntu: https://learn.microsoft.com/dotnet/core/install/linux (package dotnet-sdk-10.0)
  or without a package: curl -fsSL https://dot.net/v1/dotnet-install.sh | bash -s -- --channel 10.0"
dotnet --list-sdks | grep -q '^10\.' || die "the .NET 10 SDK is needed to build; installed are only:
$(dotnet --list-sdks)
  see https://learn.microsoft.com/dotnet/core/install/linux (package dotnet-sdk-10.0)"

# --- build ----------------------------------------------------------------------------------------------------------
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
step "Building the native parts"
make -s -C native all
step "Building artifacts/bin/k3sfast (ahead of time; takes a minute or two)"
mkdir -p artifacts/bin artifacts/publish
dotnet publish src/K3sFast/K3sFast.csproj -c Release -r "$RID" -o artifacts/publish -v q -clp:ErrorsOnly --nologo </dev/null || die "the build failed"
# Renamed over the old one: a running server keeps the file it was started from.
cp artifacts/publish/k3sfast artifacts/bin/k3sfast.new
mv artifacts/bin/k3sfast.new artifacts/bin/k3sfast
step "Built $(artifacts/bin/k3sfast --version | head -1), $(du -m artifacts/bin/k3sfast | cut -f1) MB"
$BUILD_ONLY && exit 0

# --- install --------------------------------------------------------------------------------------------------------
step "Installing to $BIN_DIR"
mkdir -p "$BIN_DIR"
install -m 0755 artifacts/bin/k3sfast "$BIN_DIR/.k3sfast.new"
mv "$BIN_DIR/.k3sfast.new" "$BIN_DIR/k3sfast"
install -m 0755 k3sfast-killall.sh k3sfast-uninstall.sh "$BIN_DIR/"
[ "$ROLE" = server ] || ln -sf k3sfast-uninstall.sh "$BIN_DIR/k3sfast-agent-uninstall.sh"
if ! has kubectl && has apt-get && [ -n "$(apt-cache policy kubectl 2>/dev/null | sed -n 's/ *Candidate: \([^(].*\)/\1/p')" ]; then
  step "Installing kubectl"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kubectl >/dev/null || true
fi
if ! has kubectl; then
  step "kubectl is not installed and no package has it here; going on without. Get it from https://kubernetes.io/docs/tasks/tools/"
fi

# --- start ----------------------------------------------------------------------------------------------------------
# Which kubeconfig the server will write: flag, then variable, then default (a config file's word is found by looking).
KUBECONFIG_FILE=$(printf '%s\n' "$SERVER_ARGS" | sed -nE 's/.*(--write-kubeconfig|-o)[= ]([^ ]+).*/\2/p')
[ -n "$KUBECONFIG_FILE" ] || KUBECONFIG_FILE=$(sed -nE 's/^write-kubeconfig: *"?([^" ]+)"?.*/\1/p' "${K3S_CONFIG_FILE:-/etc/rancher/k3s/config.yaml}" 2>/dev/null | tail -1 || true)
KUBECONFIG_FILE=${KUBECONFIG_FILE:-${K3S_KUBECONFIG_OUTPUT:-/etc/rancher/k3s/k3s.yaml}}
LOG=/var/log/k3sfast.log

env_file() { env | grep -E '^(K3S_|K3SFAST_|CONTAINERD_|HTTP_PROXY=|HTTPS_PROXY=|NO_PROXY=|http_proxy=|https_proxy=|no_proxy=)' || true; }

if has systemctl && [ -d /run/systemd/system ]; then
  step "Writing $SYSTEMD_DIR/$NAME.service"
  # An agent may wait long for its server, and whoever starts it need not: ready is when it runs.
  TYPE=notify; [ "$ROLE" = server ] || TYPE=exec
  sed -e "s|@BINARY@|$BIN_DIR/k3sfast|" -e "s|@ROLE@|$ROLE|" -e "s|@TYPE@|$TYPE|" -e "s|@NAME@|$NAME|" -e "s|@ARGUMENTS@|${SERVER_ARGS//|/\\|}|" packaging/k3sfast.service > "$SYSTEMD_DIR/$NAME.service"
  (umask 077; env_file > "$SYSTEMD_DIR/$NAME.service.env")
  systemctl daemon-reload
  [ "${INSTALL_K3S_SKIP_ENABLE:-}" = true ] || systemctl enable --quiet "$NAME"
  [ "${INSTALL_K3S_SKIP_START:-}" = true ] && { step "Not started (INSTALL_K3S_SKIP_START)"; exit 0; }
  step "Starting with systemd: systemctl status $NAME; log: journalctl -u $NAME"
  systemctl restart "$NAME"
  running() { systemctl is-active --quiet "$NAME" || systemctl show -p ActiveState --value "$NAME" | grep -q activating; }
  last_words() { journalctl -u "$NAME" -n 20 --no-pager; }
else
  [ "${INSTALL_K3S_SKIP_START:-}" = true ] && { step "Not started (INSTALL_K3S_SKIP_START)"; exit 0; }
  # The server that may be running lets go of its directory first; pods stay.
  if [ -f /run/k3sfast.pid ] && kill -0 "$(cat /run/k3sfast.pid)" 2>/dev/null; then
    step "Stopping the running server (pods go on)"
    kill -TERM "$(cat /run/k3sfast.pid)"
    for _ in $(seq 100); do kill -0 "$(cat /run/k3sfast.pid)" 2>/dev/null || break; sleep 0.1; done
  fi
  step "systemd does not run here: starting as a daemon of its own session; log: $LOG; it does not start again at boot"
  # shellcheck disable=SC2086
  setsid "$BIN_DIR/k3sfast" "$ROLE" $SERVER_ARGS >>"$LOG" 2>&1 </dev/null &
  echo $! > /run/k3sfast.pid
  # What killall and uninstall must know to find this node's files.
  printf '%s\n' "$SERVER_ARGS" > /run/k3sfast.args
  running() { kill -0 "$(cat /run/k3sfast.pid)" 2>/dev/null; }
  last_words() { tail -20 "$LOG"; }
fi

if [ "$ROLE" = agent ]; then
  # The node itself may ask about itself.
  DATA=$(printf '%s\n' "$SERVER_ARGS" | sed -nE 's/.*(--data-dir|-d)[= ]([^ ]+).*/\2/p')
  DATA=${DATA:-${K3S_DATA_DIR:-/var/lib/rancher/k3s}}
  NODE=$(printf '%s\n' "$SERVER_ARGS" | sed -nE 's/.*--node-name[= ]([^ ]+).*/\1/p')
  [ -n "$NODE" ] || NODE=$(sed -nE 's/^node-name: *"?([^" ]+)"?.*/\1/p' "${K3S_CONFIG_FILE:-/etc/rancher/k3s/config.yaml}" 2>/dev/null | tail -1 || true)
  NODE=${NODE:-${K3S_NODE_NAME:-$(hostname)}}
  KUBECONFIG_FILE=$DATA/agent/kubelet.kubeconfig
  step "Waiting for node ${NODE,,} to be Ready (at most $READY_SECONDS s)"
  DEADLINE=$(( $(date +%s) + READY_SECONDS ))
  until if has kubectl; then kubectl --kubeconfig "$KUBECONFIG_FILE" get node "${NODE,,}" --no-headers 2>/dev/null | awk '{print $2}' | grep -q '^Ready'; else [ -s "$KUBECONFIG_FILE" ]; fi; do
    running || { last_words >&2; die "the agent ended; its last words are above"; }
    [ "$(date +%s)" -lt "$DEADLINE" ] || { last_words >&2; die "node ${NODE,,} is not Ready after $READY_SECONDS s; the agent's last words are above"; }
    sleep 0.3
  done
  step "Node ${NODE,,} has joined; see it on a server: k3sfast kubectl get nodes   remove: k3sfast-agent-uninstall.sh"
  exit 0
fi
step "Waiting for the node to be Ready (at most $READY_SECONDS s)"
DEADLINE=$(( $(date +%s) + READY_SECONDS ))
if has kubectl; then
  until kubectl --kubeconfig "$KUBECONFIG_FILE" get nodes --no-headers 2>/dev/null | awk '{print $2}' | grep -q '^Ready'; do
    running || { last_words >&2; die "the server ended; its last words are above"; }
    [ "$(date +%s)" -lt "$DEADLINE" ] || { last_words >&2; kubectl --kubeconfig "$KUBECONFIG_FILE" describe nodes 2>&1 | tail -40 >&2 || true; die "the node is not Ready after $READY_SECONDS s; the server's last words are above"; }
    sleep 0.3
  done
  step "The node is Ready"
  kubectl --kubeconfig "$KUBECONFIG_FILE" get nodes
else
  until [ -s "$KUBECONFIG_FILE" ] && running; do
    [ "$(date +%s)" -lt "$DEADLINE" ] || { last_words >&2; die "the server is not up after $READY_SECONDS s"; }
    sleep 0.3
  done
  step "The server runs; without kubectl nothing more can be shown"
fi
step "kubeconfig: $KUBECONFIG_FILE   try: k3sfast kubectl get pods -A   remove: k3sfast-uninstall.sh"
