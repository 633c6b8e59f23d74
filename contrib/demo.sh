#!/usr/bin/env bash
# Mounts a OneDrive that lives in this process alone: no account, no network.
#
#   ./contrib/demo.sh [MOUNTPOINT]      (default: ~/OneDrive-demo)
#
# Installs what is missing, builds the program, mounts, and says what to try.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=contrib/prepare.sh
. contrib/prepare.sh

case "${1:-}" in -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
mountpoint=$(realpath -m "${1:-$HOME/OneDrive-demo}")

need_fuse
need setfattr

# ONEDRIVE_MOUNT_PROGRAM names one that is built already.
program=${ONEDRIVE_MOUNT_PROGRAM:-}
if [ -z "$program" ]; then
    need_rust
    need cc
    say "building (the first time takes a few minutes)"
    cargo build --release --locked
    program=$(target_dir)/release/onedrive-mount
fi

say "mounting on $mountpoint"
mkdir -p "$mountpoint"
"$program" --demo "$mountpoint"

cat <<END

The demo drive is mounted. Try:

    ls -la '$mountpoint'
    df -h '$mountpoint'
    echo 'hello from Linux' > '$mountpoint/hello.txt'
    getfattr -n user.onedrive.state '$mountpoint/hello.txt'      # pending, then cached: it has reached the cloud
    git init '$mountpoint/project'
    $(dirname "$program")/onedrive-cli status

Unmount with:

    fusermount3 -u '$mountpoint'
END
