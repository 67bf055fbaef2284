#!/usr/bin/env bash
# Makes an image without a registry: Debian's busybox-static as docker.io/library/busybox:1.35, in the folder that the node imports from.
#   sudo examples/busybox-image.sh [images folder]
set -euo pipefail
IMAGES=${1:-/var/lib/rancher/k3s/agent/images}
dpkg -s busybox-static >/dev/null 2>&1 || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq busybox-static >/dev/null; }
WORK=$(mktemp -d); trap 'rm -rf "$WORK"' EXIT
mkdir -p "$WORK"/root/{bin,etc,tmp,var,www/cgi-bin,root}
chmod 1777 "$WORK/root/tmp"
cp /bin/busybox "$WORK/root/bin/"
for applet in $(/bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$WORK/root/bin/$applet"; done
echo 'root:x:0:0:root:/root:/bin/sh' > "$WORK/root/etc/passwd"
tar -C "$WORK/root" --owner=0 --group=0 -cf "$WORK/layer.tar" .
LAYER=$(sha256sum "$WORK/layer.tar" | cut -d' ' -f1)
cat > "$WORK/config.json" <<X
{"architecture":"$(dpkg --print-architecture)","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:$LAYER"]},"history":[]}
X
echo '[{"Config":"config.json","RepoTags":["docker.io/library/busybox:1.35"],"Layers":["layer.tar"]}]' > "$WORK/manifest.json"
mkdir -p "$IMAGES"
# Written beside and renamed: the node imports whole files only.
tar -C "$WORK" -cf "$IMAGES/.busybox.tar.new" config.json layer.tar manifest.json
mv "$IMAGES/.busybox.tar.new" "$IMAGES/busybox.tar"
echo "$IMAGES/busybox.tar holds docker.io/library/busybox:1.35"
