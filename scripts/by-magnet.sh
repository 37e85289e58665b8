#!/usr/bin/env bash
# Runs torrentfs or btfs with the magnet link of the .torrent among its arguments in its place: for measuring programs
# side by side that are both told of a torrent by its link alone. Arguments that begin with `mount` are for torrentfs.
#
#   TORRENTFS=bin/torrentfs TORRENTFS_BIN=scripts/by-magnet.sh BTFS_BIN=scripts/by-magnet.sh rig.py run -s ttfb -a torrentfs,btfs
set -euo pipefail
torrentfs=${TORRENTFS:-torrentfs}
program=btfs
[[ $1 != mount ]] || program=$torrentfs
args=()
for arg in "$@"; do
    [[ $arg != *.torrent ]] || arg=$("$torrentfs" info "$arg" | sed -n 's/^magnet *//p')
    args+=("$arg")
done
exec "$program" "${args[@]}"
