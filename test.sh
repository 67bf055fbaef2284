#!/usr/bin/env bash
# Builds everything and runs all tests. Ends with one line: "N passed, N failed, N skipped"; the exit code says the same.
#   sudo ./test.sh [project ...]     such as: sudo ./test.sh K3sFast.Tests
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")"
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
PATH=$PATH:/usr/sbin:/sbin
# No project may take longer: what hangs ends. A machine may be many times slower than one on which the longest takes five minutes.
PROJECT_SECONDS=${TEST_PROJECT_SECONDS:-3600}
OUT=artifacts/test; mkdir -p "$OUT"

step() { printf '[test] %s\n' "$*"; }
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  PACKAGES=()
  command -v containerd >/dev/null || PACKAGES+=(containerd)
  command -v runc >/dev/null || PACKAGES+=(runc)
  command -v ip >/dev/null || PACKAGES+=(iproute2)
  command -v nft >/dev/null || PACKAGES+=(nftables)
  command -v nsenter >/dev/null || PACKAGES+=(util-linux)
  command -v strace >/dev/null || PACKAGES+=(strace)
  command -v curl >/dev/null || PACKAGES+=(curl)
  command -v musl-gcc >/dev/null || PACKAGES+=(musl-tools)
  command -v prometheus >/dev/null || PACKAGES+=(prometheus)
  command -v etcd >/dev/null || PACKAGES+=(etcd-server)
  command -v mariadbd >/dev/null || PACKAGES+=(mariadb-server)
  ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || PACKAGES+=(postgresql)
  [ -e /usr/lib/cni/tuning ] || PACKAGES+=(containernetworking-plugins)
  dpkg -s busybox-static >/dev/null 2>&1 || PACKAGES+=(busybox-static)
  if [ ${#PACKAGES[@]} -gt 0 ]; then
    step "Installing ${PACKAGES[*]}"
    # The tests start their own servers; the packages' would only sit there. invoke-rc.d asks this file before it starts one.
    POLICY=/usr/sbin/policy-rc.d
    if [ -e $POLICY ]; then POLICY=; else printf '#!/bin/sh\nexit 101\n' >$POLICY; chmod 755 $POLICY; fi
    install_packages() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$OUT/apt.log" 2>&1; }
    apt-get update -qq >"$OUT/apt.log" 2>&1
    # One that cannot be had must not keep the others away.
    if ! install_packages "${PACKAGES[@]}"; then
      for package in "${PACKAGES[@]}"; do install_packages "$package" || step "apt-get failed for $package (see $OUT/apt.log); tests that need it will say so"; done
    fi
    [ -z "$POLICY" ] || rm -f "$POLICY"
    case " ${PACKAGES[*]} " in *" prometheus "*) systemctl disable --now prometheus >/dev/null 2>&1 || true ;; esac
  fi
fi

step "Building the product"
./install.sh --build-only || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }

PROJECTS=("$@")
[ ${#PROJECTS[@]} -gt 0 ] || PROJECTS=($(cd tests && ls -d *.Tests | grep -v EndToEnd) K3sFast.EndToEnd.Tests)
PASSED=0 FAILED=0 SKIPPED=0
for project in "${PROJECTS[@]}"; do
  step "$project"
  if ! dotnet build "tests/$project" -c Release -v q -clp:ErrorsOnly --nologo </dev/null >"$OUT/$project.build.log" 2>&1; then
    cat "$OUT/$project.build.log"; FAILED=$((FAILED + 1)); continue
  fi
  # Projects without a test yet are no failure.
  [ -n "$(find "tests/$project" -name '*.cs' -not -path '*/obj/*' -not -path '*/bin/*' -print -quit)" ] || { step "no tests in $project"; continue; }
  rm -f "$OUT/$project.xml"
  timeout --kill-after=20 "$PROJECT_SECONDS" "tests/$project/bin/Release/net10.0/$project" -noColor -xml "$OUT/$project.xml" </dev/null >"$OUT/$project.log" 2>&1
  code=$?
  # The assembly element carries the sums: total, passed, failed, skipped, errors.
  sums=$(grep -o '<assembly [^>]*>' "$OUT/$project.xml" 2>/dev/null | head -1)
  number() { printf '%s' "$sums" | sed -n "s/.* $1=\"\([0-9]*\)\".*/\1/p"; }
  p=$(number passed) f=$(number failed) s=$(number skipped) e=$(number errors)
  p=${p:-0} f=$(( ${f:-0} + ${e:-0} )) s=${s:-0}
  if [ $code -ne 0 ] && [ "$f" -eq 0 ]; then f=1; step "$project ended with code $code"; fi
  [ $code -eq 0 ] || sed -n '/\[FAIL\]/,$p' "$OUT/$project.log" | tail -400
  [ "$s" -eq 0 ] || grep -A1 '\[SKIP\]' "$OUT/$project.log" || true
  step "$project: $p passed, $f failed, $s skipped"
  PASSED=$((PASSED + p)) FAILED=$((FAILED + f)) SKIPPED=$((SKIPPED + s))
done
echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
[ "$FAILED" -eq 0 ]
