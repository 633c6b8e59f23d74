#!/usr/bin/env bash
# Asks systemd whether it understands our units. The program they start is not installed on the machine that
# checks them, so they are checked with the path of a program that exists everywhere.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
units=()
for unit in contrib/systemd/*.service; do
    copy=$folder/$(basename "$unit")
    sed 's,^\(Exec[A-Za-z]*=[-:+!@]*\)[^ ]*onedrive-[a-z]*,\1/bin/true,' "$unit" > "$copy"
    # A template is verified as one of its instances.
    case $copy in *@.service) mv "$copy" "${copy%@.service}@example.service"; copy=${copy%@.service}@example.service ;; esac
    units+=("$copy")
done
# A user manager wants to know where sockets go; a machine without a login session has no such place.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$folder}
# The manual pages that units point to are not installed either.
systemd-analyze --user verify --man=no "${units[@]}"
