#!/usr/bin/env bash
# Runs every fuzz target for a while, one after the other, and prints how often each was executed.
#
#   contrib/fuzz.sh [SECONDS]     for each target; 60 if not given
#
# Needs a nightly toolchain (rustup toolchain install nightly) and cargo-fuzz (cargo install cargo-fuzz --locked). What
# is found is left in contrib/fuzz/artifacts, and the exit code is 1. `cargo test fuzzing` runs the same targets for a
# moment without either.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
case $seconds in *[!0-9]* | '') echo "usage: $0 [SECONDS]" >&2; exit 2 ;; esac
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz or a nightly toolchain is missing:" >&2
    echo "  rustup toolchain install nightly && cargo install cargo-fuzz --locked" >&2
    exit 1
fi

fuzz() { cargo +nightly fuzz "$1" --fuzz-dir contrib/fuzz "${@:2}"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
fuzz build
failed=0
printf '\n%-16s %12s %10s %s\n' target executions 'per second' result
total=0
for program in contrib/fuzz/fuzz_targets/*.rs; do
    name=$(basename "$program" .rs)
    corpus=contrib/fuzz/corpus/$name
    mkdir -p "$corpus"
    result=ok
    if ! fuzz run "$name" "$corpus" "contrib/fuzz/seeds/$name" -- \
        -max_total_time="$seconds" -max_len=16384 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
        result=FAILED
        failed=1
    fi
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log" | tail -1)
    printf '%-16s %12s %10s %s\n' "$name" "${executions:-?}" "${rate:-?}" "$result"
    total=$((total + ${executions:-0}))
    if [ "$result" = FAILED ]; then tail -40 "$log" >&2; fi
done
printf '%-16s %12s\n' all "$total"
exit "$failed"
