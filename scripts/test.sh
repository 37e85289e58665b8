#!/usr/bin/env bash
# Runs the project's tests and ends with one line that counts them all.
#
#   scripts/test.sh         everything
#   scripts/test.sh lint    format, vet, staticcheck, builds for other systems
#   scripts/test.sh fuzz    the fuzz targets, $FUZZTIME each
#
# Every step writes events as `go test -json` has them; internal/testcount
# reads them, shows what failed, and counts.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.tools/go/bin:$PWD/.tools/bin:$PATH:/usr/local/go/bin:/usr/sbin:/sbin
fuzztime=${FUZZTIME:-4s}
counter=$(mktemp -d)/testcount
chmod 0755 "${counter%/*}" # the tests run programs from there as other users
trap 'rm -rf "${counter%/*}"' EXIT

# Usage: check NAME COMMAND...: one check that passes or fails as a whole.
check() {
    local name=$1 output action=pass
    shift
    if ! output=$("$@" 2>&1 </dev/null); then
        action=fail
    fi
    "$counter" -event "$action" -name "$name" <<<"$output"
}

# Usage: suite NAME COMMAND...: a `go test -json` run. If it fails without a
# failed test to show for it, that counts as one failure.
suite() {
    local name=$1 status=0
    shift
    "$counter" -event start -name "$name" </dev/null
    "$@" 2> >(cat >&2) </dev/null || status=$?
    "$counter" -event exit -name "$name" -status "$status" </dev/null
}

# Our own source: not what lies in .tools.
go_files() { find . -name .tools -prune -o -name '*.go' -print0; }

gofumpt_clean() {
    local unformatted
    unformatted=$(go_files | xargs -0 gofumpt -l) || return
    [[ -z $unformatted ]] || { printf 'not formatted (make fmt):\n%s\n' "$unformatted"; return 1; }
}

builds_for() { GOOS=$1 GOARCH=$2 CGO_ENABLED=0 go build ./...; }

# Packages that have no need of FUSE are to work on 32-bit systems, too.
vet_for_386() { GOOS=linux GOARCH=386 CGO_ENABLED=0 go vet ./metainfo/... ./picker/... ./verify ./swarm/wire; }

lint() {
    check gofumpt gofumpt_clean
    check vet go vet ./...
    check "vet for 386" vet_for_386
    check staticcheck staticcheck ./...
    check darwin/arm64 builds_for darwin arm64
    check freebsd/amd64 builds_for freebsd amd64
}

# For a plain user, tests that need root run through sudo if that asks for no
# password; otherwise they are skipped, and counted as such.
# Tests that print figures are no tests: make figures runs them.
sudo_works() { ((EUID != 0)) && scripts/as-root.sh true 2>/dev/null; }
as_root="'$PWD/scripts/as-root.sh'"

unit() {
    local packages rooted skip='Figures'
    mapfile -t packages < <(go list ./... | grep -v '/integration')
    mapfile -t rooted < <(go_files | xargs -0 grep -l '^func Test[A-Za-z0-9]*AsRoot(' | xargs dirname | sort -u)
    if sudo_works; then
        skip='Figures|AsRoot$'
        suite "tests as root" go test -exec "$as_root" -race -json -timeout 10m -run 'AsRoot$' "${rooted[@]}"
    fi
    suite "tests" go test -race -json -timeout 20m -skip "$skip" "${packages[@]}"
}

# Finds the fuzz targets by looking for them, so that none is forgotten.
fuzz_targets() {
    local format='{{range .TestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}'
    go list -f "$format" ./... | while read -r package file; do
        [[ -z $file ]] || sed -n "s#^func \(Fuzz[A-Za-z0-9_]*\)(.*#$package \1#p" "$file"
    done
}

# Usage: fuzz_one PACKAGE TARGET: again if Go's fuzzer took the end of its time
# for a failure, without an input that fails (go.dev/issue/75804, mended in 1.27).
fuzz_one() {
    local events status try
    events=${counter%/*}/fuzz
    for try in 1 2 3; do
        status=0
        go test -json -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" "$1" >"$events" || status=$?
        if ((!status)) || ! grep -q 'context deadline exceeded' "$events" || grep -q 'Failing input' "$events"; then
            break
        fi
    done
    cat "$events"
    return "$status"
}

fuzz() {
    local package target targets
    targets=$(fuzz_targets)
    check "fuzz targets found" test -n "$targets"
    while read -r package target; do
        suite "$target" fuzz_one "$package" "$target"
    done <<<"$targets"
}

integration() {
    [[ -z $(go list ./... | grep '/integration') ]] && return
    local through=()
    # Built here: once for all packages, and root has another build cache.
    export TORRENTFS_BINARY=${counter%/*}/torrentfs
    check "build for integration" go build -race -o "$TORRENTFS_BINARY" ./cmd/torrentfs
    sudo_works && through=(-exec "$as_root")
    # One package after the other: each has more processes at a time than there are processors.
    suite "integration" go test "${through[@]}" -race -json -count=1 -p 1 -timeout 20m -skip Figures ./integration/...
}

# In a function, so that bash has read all of this file before it runs.
main() {
    local step
    [[ ${1:-all} == all ]] && set -- lint unit fuzz integration
    go build -o "$counter" ./internal/testcount || exit 1
    for step in "$@"; do
        "$step"
    done | "$counter"
}

main "$@"
