#!/usr/bin/env bash
# An hour, or a day if you say so, on real mounts: random load, random trouble, a second device, deaths of the daemon. Ends with a table.
#
#   contrib/soak.sh [MINUTES]     60 if not given
#
# SOAK_SEED=NUMBER, which every run prints, draws the same operations and troubles again; how they meet is up to the
# machine. See tests/it/soak.rs.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=contrib/prepare.sh
. contrib/prepare.sh
need_rust
need_fuse
need_fuse_control
export SOAK_MINUTES=${1:-60}
exec cargo test --locked --test it -- --include-ignored --nocapture --test-threads 1 soak::
