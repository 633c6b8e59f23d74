#!/usr/bin/env bash
# Tries to make the program lose something, in every way that there is a test for, many more times than the usual tests
# do, and writes what came of it into docs/trials.md.
#
#   contrib/trials.sh [short|full] [TRIAL...]
#
# TRIAL: power kills commits deaths writers faults flips hostile large fuzz soak; all if none is named. `full` takes
# some five hours on two cores, `short` (the default) some 25 minutes; POWER_POINTS, KILLS and so on, if set, say
# otherwise. `commits` needs strace.
# A trial that was not run keeps its line from the run before.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
# shellcheck source=contrib/prepare.sh
. contrib/prepare.sh

size=short
case ${1-} in short | full) size=$1; shift ;; -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
pick() { if [ "$size" = full ]; then echo "$2"; else echo "$1"; fi; }

trials=("$@")
[ ${#trials[@]} -gt 0 ] || trials=(power kills commits deaths writers faults flips hostile large fuzz soak)
need_rust
need_fuse
need_fuse_control
out=docs/trials.md
rows=$(mktemp -d)
log=$(mktemp)
trap 'rm -rf "$rows" "$log"' EXIT
mkdir -p docs
failed=0

cargo test --locked --test it --no-run || exit

# numbers PATTERN: the sum of what the pattern's first group caught.
numbers() { sed -nE "s/.*$1.*/\\1/p" "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }

# trial NAME WHAT PATTERN COMMAND...: runs it and keeps a line of the table.
trial() {
    local name=$1 what=$2 pattern=$3 start=$SECONDS
    shift 3
    printf '\n== %s: %s\n' "$name" "$*"
    local lost=0
    if ! "$@" >"$log" 2>&1; then
        lost=FAILED
        failed=1
        grep -a -A5 'panicked at' "$log" | cut -c1-400 | head -20
        cp "$log" "$(target_dir)/trial-$name.log" && say "all of it: $(target_dir)/trial-$name.log"
    fi
    local tried
    tried=$(numbers "$pattern")
    if [ "$tried" = 0 ]; then lost=FAILED; failed=1; fi
    printf '| %s | %s | %s | %s s | %s, %s |\n' "$what" "$tried" "$lost" $((SECONDS - start)) \
        "$(date -u +%F)" "$(git rev-parse --short HEAD)" | tee "$rows/$name"
}
# shellcheck disable=SC2317 # called by name, by trial
it() { cargo test --locked --test it -- --nocapture "$@"; }

for name in "${trials[@]}"; do
    case $name in
        power)
            POWER_POINTS=${POWER_POINTS:-$(pick 3000 34000)} trial power \
                'loss of power at a moment of random work: what was not synced is lost, torn or out of order' \
                'power losses, .*: ([0-9]+), nothing lost' it power_loss ;;
        kills)
            KILLS=${KILLS:-$(pick 50 500)} trial kills 'the daemon of a real mount killed at a random moment' \
                'real kills, .*: ([0-9]+), and' it kills ;;
        commits)
            need strace
            KILLS=${KILLS:-$(pick 30 300)} trial commits \
                'the daemon of a real mount killed at a counted change of a file, SQLite'"'"'s among them' \
                'at a counted change of a file, .*: ([0-9]+)' it --ignored killed_in_the_middle ;;
        deaths)
            CRASH_CASES=${CRASH_CASES:-$(pick 100 1500)} trial deaths \
                'death at the n-th change of the disk or moment of an exchange' \
                'crash points, .*: ([0-9]+) deaths' it crash_points ;;
        writers)
            WRITERS_CASES=${WRITERS_CASES:-$(pick 150 5000)} trial writers 'interleavings of two writers' \
                'two writers, .*: ([0-9]+) interleavings' it two_writers ;;
        faults)
            FAULT_MATRIX=${FAULT_MATRIX:-$(pick default full)} trial faults \
                'faults of network and service, each in each operation that meets it' \
                'faults x operations, .*: ([0-9]+) cases met' it faults_matrix ;;
        flips)
            FLIPS=${FLIPS:-$(pick 90 2000)} trial flips 'damage to files on the local disk' \
                'bit flips tried: ([0-9]+),' it bit_flips ;;
        hostile)
            trial hostile 'answers of a hostile service' 'hostile-server cases.*: ([0-9]+)' it hostile ;;
        large)
            LIVE_MEGABYTES=${LIVE_MEGABYTES:-$(pick 50 300)} trial large \
                'bytes by BITS, through the mount and by onedrive-cli put, each cut three times: connection, death, token' \
                'large uploads, .*: ([0-9]+) bytes' it a_large_file_survives_a_cut a_large_file_that_is_cut ;;
        fuzz)
            trial fuzz 'executions of fuzz targets' '^all +([0-9]+)' contrib/fuzz.sh "$(pick 10 60)" ;;
        soak)
            trial soak 'seconds of random work with trouble, other devices and deaths, the same everywhere at each rest' \
                'soak, .*: ([0-9]+) seconds, .*, 0 lost' contrib/soak.sh "$(pick 2 60)" ;;
        *) echo "$0: there is no trial $name" >&2; exit 2 ;;
    esac
done

# A line of the run before stays where this one has none.
for name in power kills commits deaths writers faults flips hostile large fuzz soak; do
    if [ ! -f "$rows/$name" ] && [ -f "$out" ]; then
        sed -n "/^$name$/{n;p;}" "$out" >"$rows/$name"
        [ -s "$rows/$name" ] || rm -f "$rows/$name"
    fi
done
{
    echo '# What was tried to make it lose something'
    echo
    echo "Made by \`contrib/trials.sh\`; each line says when and with which commit. \"Lost\" counts content, versions and"
    echo 'files that were gone, torn, twice, or in the wrong place; a trial that finds one fails.'
    echo
    echo '| trial | tried | lost | time | run |'
    echo '| --- | --- | --- | --- | --- |'
    cat "$rows"/* 2>/dev/null
    echo
    echo '<!-- the same lines for the next run:'
    for row in "$rows"/*; do
        [ -f "$row" ] && basename "$row" && cat "$row"
    done
    echo '-->'
} >"$out.new"
mv "$out.new" "$out"
exit $failed
