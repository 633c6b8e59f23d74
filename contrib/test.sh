#!/usr/bin/env bash
# Runs every test: the checks of the sources, the unit and integration tests (through real mounts), and two
# foreign file-system test suites (pjdfstest, fsx) against a mount.
#
#   ./contrib/test.sh [--no-checks] [--no-suites] [CARGO TEST ARGUMENTS...]
#
# Installs what the tests need. Without /dev/fuse it fails: nothing is left out silently, and what was left
# out on request is named at the end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
# shellcheck source=contrib/prepare.sh
. contrib/prepare.sh

# The versions that the lists of expected results in contrib/suites were made with.
PJDFSTEST=0.2.2
FSX=0.3.2

checks=yes suites=yes
while [ $# -gt 0 ]; do
    case $1 in
        --no-checks) checks=no ;;
        --no-suites) suites=no ;;
        -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) break ;;
    esac
    shift
done

need_rust
need cc sqlite3 vim rsync git tar python3 setfattr setpriv tmux pgrep strace dbus-daemon
need_fuse
need_fuse_control
need_null

# What was mounted before, perhaps by a run that was cut off, is not ours to judge.
mounts() { awk '/ - fuse[^ ]* onedrive /{print $5}' /proc/self/mountinfo | sort; }
mounted_before=$(mounts)

# Everybody opens it, and root can spoil it for the others.
null_device() { stat -c '%A %t,%T %U' /dev/null; }
null_before=$(null_device)

failed=0
summary=()
step() {
    local name=$1 start=$SECONDS
    shift
    say "$name: $*"
    if "$@"; then
        summary+=("passed   $name ($((SECONDS - start)) s)")
    else
        summary+=("FAILED   $name ($((SECONDS - start)) s)")
        failed=1
    fi
}
not_run() { summary+=("not run  $1: $2"); }

if [ $checks = yes ]; then step "checks" ./contrib/check; else not_run checks "--no-checks"; fi

# Everything is compiled before the clock of any test starts.
step "build" cargo test --locked --no-run
step "tests" cargo test --locked --no-fail-fast --lib --bins --test "*" "$@"
if [ "$(id -u)" -ne 0 ]; then
    not_run "a really full disk; another user at the door; a forced unmount" "only root can try them"
fi
# Where a container forbids it, it is said at the end.
if strace -f -o /dev/null -e trace=none true 2>/dev/null; then
    step "deaths in the middle of a commit" cargo test --locked --test it -- --ignored --nocapture killed_in_the_middle
else
    not_run "deaths in the middle of a commit" "strace may not trace here"
fi
step "documentation examples" cargo test --locked --doc

if [ $suites = yes ]; then
    bin=${ONEDRIVE_SUITES:-$(target_dir)/suites/bin}
    # shellcheck disable=SC2317 # called by name, by step
    install_suite() {
        [ -x "$bin/$1" ] && return 0
        cargo install --locked --root "$(dirname "$bin")" "$1@$2"
    }
    step "installing pjdfstest" install_suite pjdfstest $PJDFSTEST
    step "installing fsx" install_suite fsx $FSX
    export ONEDRIVE_SUITES=$bin
    step "fsx" cargo test --locked --test it -- --ignored --nocapture suites::fsx
    if [ "$(id -u)" -eq 0 ]; then
        step "pjdfstest" cargo test --locked --test it -- --ignored --nocapture suites::pjdfstest
    else
        # It switches between users, which only root can.
        it=$(cargo test --locked --test it --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')
        step "pjdfstest" as_root env ONEDRIVE_SUITES="$bin" "$it" --ignored --nocapture suites::pjdfstest
    fi
    # Somebody else's program against the emulator; the proxy that leads it there is not part of what is shipped.
    step "installing rclone" install_rclone "$(target_dir)"
    ONEDRIVE_RCLONE=$(target_dir)/rclone/bin/rclone
    export ONEDRIVE_RCLONE
    step "rclone" cargo test --locked --features lab --test it -- --ignored --nocapture --test-threads=1 rclone::
else
    not_run suites "--no-suites"
fi

if [ "$(null_device)" != "$null_before" ]; then
    # Whether that was a test or somebody else on this machine is not known here.
    summary+=("changed  /dev/null, which was \"$null_before\", is \"$(null_device)\"")
fi
left=$(comm -13 <(printf '%s\n' "$mounted_before") <(mounts))
if [ -n "$left" ]; then
    summary+=("FAILED   clean-up: left behind: ${left//$'\n'/, }")
    failed=1
fi

printf '\n'
printf '%s\n' "${summary[@]}"
exit $failed
