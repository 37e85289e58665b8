#!/bin/sh
# Runs a test binary as root, through a sudo that asks for no password:
#
#   go test -exec "$PWD/scripts/as-root.sh" ./fs
#
# Its environment is kept, PATH too, but for the home directory, which is root's.
exec sudo -n -E -H env "PATH=$PATH" "$@"
