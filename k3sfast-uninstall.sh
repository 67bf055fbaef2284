#!/usr/bin/env bash
# Removes K3sFast and all its data from this machine. Packages such as containerd stay.
# Takes the arguments of k3sfast-killall.sh; without any it is the node that install.sh made.
set -u
[ "$(id -u)" = 0 ] || { echo "run as root" >&2; exit 1; }
HERE=$(dirname "$(readlink -f "$0")")
BIN_DIR=${INSTALL_K3S_BIN_DIR:-/usr/local/bin}
SYSTEMD_DIR=${INSTALL_K3S_SYSTEMD_DIR:-/etc/systemd/system}

"$HERE/k3sfast-killall.sh" --purge "$@" || echo "something was left; see above" >&2

for NAME in k3sfast k3sfast-agent; do
  if [ -d /run/systemd/system ] && [ -f "$SYSTEMD_DIR/$NAME.service" ]; then
    systemctl disable --quiet "$NAME" 2>/dev/null
    systemctl reset-failed "$NAME" 2>/dev/null
  fi
  rm -f "$SYSTEMD_DIR/$NAME.service" "$SYSTEMD_DIR/$NAME.service.env"
done
[ ! -d /run/systemd/system ] || systemctl daemon-reload

rm -rf /etc/rancher/k3s /etc/rancher/node /var/log/k3sfast.log /run/k3sfast.pid /run/k3sfast.args
# Only when empty: others may have theirs beside ours.
rmdir /etc/rancher /var/lib/rancher /run/containerd/s /run/containerd 2>/dev/null
rm -f "$BIN_DIR/k3sfast" "$BIN_DIR/k3sfast-killall.sh" "$BIN_DIR/k3sfast-uninstall.sh" "$BIN_DIR/k3sfast-agent-uninstall.sh"
echo "K3sFast is removed"
