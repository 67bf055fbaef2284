#!/usr/bin/env bash
# The fault rig: hits the datastore with kills, power cuts, failing, slow and full media under load, and judges what its clients saw.
#   sudo tests/faults.sh [--kills N] [--cuts N] [--kine-cuts N] [--others N] [--servers N] [--seed N] [--seconds N]      (500, 500, 100, 5, 0)
# --servers: kills and power cuts of the whole API server, and kills of two and three that share a database; of $K3SFAST_BINARY or artifacts/bin/k3sfast.
# --seconds: strikes no longer than that; what has run until then is judged and told.
# Prints a line per kind of fault, and what kine's settings lose on the same medium. Exit code 1 = something was lost, seen twice or
# served wrong. Needs root and /dev/fuse.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
dotnet build tests/K3sFast.FaultRig -c Release -v q --nologo -clp:ErrorsOnly
exec tests/K3sFast.FaultRig/bin/Release/net10.0/K3sFast.FaultRig "$@"
