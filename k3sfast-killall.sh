#!/usr/bin/env bash
# Stops server or agent, containerd and all pods of this node, and removes mounts, links, rules, namespaces and cgroups they leave. Data stays.
# Arguments are those of "k3sfast server" or "k3sfast agent" that say where its files are (--config, --data-dir, ...); without any it is the node that
# install.sh made. Run it in the node's network namespace.
set -u
[ "$(id -u)" = 0 ] || { echo "run as root" >&2; exit 1; }
HERE=$(dirname "$(readlink -f "$0")")
UNIT=${INSTALL_K3S_SYSTEMD_DIR:-/etc/systemd/system}/k3sfast.service
[ -f "$UNIT" ] || UNIT=${UNIT%.service}-agent.service
BINARY=${K3SFAST_BINARY:-}
for candidate in "$HERE/k3sfast" "$HERE/artifacts/bin/k3sfast" /usr/local/bin/k3sfast; do
  [ -n "$BINARY" ] || [ ! -x "$candidate" ] || BINARY=$candidate
done
[ -n "$BINARY" ] || { echo "k3sfast was not found; set K3SFAST_BINARY" >&2; exit 1; }

# --purge (of the uninstall script) comes first and also deletes the node's files.
PURGE=()
[ "${1:-}" != --purge ] || { PURGE=(--purge); shift; }
if [ $# -eq 0 ]; then
  if [ -f "$UNIT" ]; then
    [ ! -d /run/systemd/system ] || systemctl stop "$(basename "$UNIT" .service)" 2>/dev/null
    # shellcheck disable=SC2046
    set -- $(sed -n 's/^ExecStart=[^ ]* \(server\|agent\)//p' "$UNIT")
    if [ -f "$UNIT.env" ]; then set -a; . "$UNIT.env"; set +a; fi
  elif [ -f /run/k3sfast.args ]; then
    # shellcheck disable=SC2046
    set -- $(cat /run/k3sfast.args)
  fi
  rm -f /run/k3sfast.pid
fi
exec "$BINARY" cleanup ${PURGE[@]+"${PURGE[@]}"} "$@"
