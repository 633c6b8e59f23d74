#!/usr/bin/env bash
# Measures onedrive-mount and rclone's mount side by side, over the same simulated line to the same emulator.
#
#   ./contrib/bench/run.sh [--runs N] [--rtt MS] [--rate BYTES_PER_SECOND] [--no-build] [SCENARIO...]
#
# Without scenarios all of them; `--list` names them. Figures of scenarios that were not run stay as they are in
# docs/benchmarks.json, from which docs/benchmarks.md and docs/benchmarks.svg are made. Leave the machine alone
# meanwhile. Needs cargo, python3 with pip, /dev/fuse and fusermount3; installs rclone below target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=contrib/prepare.sh
. contrib/prepare.sh

build=yes
arguments=()
for argument in "$@"; do
    case $argument in
        -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        --no-build) build=no ;;
        *) arguments+=("$argument") ;;
    esac
done

need_rust
need python3
need_fuse
target=$(target_dir)
install_rclone "$target"
if [ $build = yes ]; then cargo build --locked --release --features lab; fi
PYTHONPATH=contrib/bench exec python3 -m onedrive_bench --binaries "$target/release" \
    --rclone "$target/rclone/bin/rclone" "${arguments[@]}"
