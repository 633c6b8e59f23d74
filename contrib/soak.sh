#!/usr/bin/env bash
# A long day on a real mount: random load, random trouble, a second device. Ends with a table.
#
#   contrib/soak.sh [MINUTES]     60 if not given
#
# SOAK_SEED=NUMBER repeats a run as far as threads allow. See tests/it/soak.rs.
set -euo pipefail
cd "$(dirname "$0")/.."
export SOAK_MINUTES=${1:-60}
exec cargo test --locked --test it -- --ignored --nocapture soak::
