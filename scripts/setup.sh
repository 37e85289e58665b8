#!/usr/bin/env bash
# Installs what is missing for a task, and nothing else:
#
#   scripts/setup.sh build   Go
#   scripts/setup.sh demo    Go and FUSE
#   scripts/setup.sh lint    Go and the linters
#   scripts/setup.sh test    all of it, and the programs that the tests talk to
#
# Debian packages come by apt-get, through sudo if this is not root. Go and
# the linters go to .tools/ in this directory.
set -euo pipefail
cd "$(dirname "$0")/.."

task=${1:-build}
tools=$PWD/.tools
export PATH=$tools/go/bin:$tools/bin:$PATH:/usr/local/go/bin:/usr/sbin:/sbin

# The Go that is fetched if the one that is installed is too old, and the sums
# of its module, as "go mod download" prints them.
go_version=1.26.8
go_sum_amd64=h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=
go_sum_arm64=h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc=
staticcheck_version=v0.8.2
gofumpt_version=v0.12.0

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Usage: want COMMAND PACKAGE...: note the packages if the command is missing.
missing=()
want() { have "$1" || missing+=("${@:2}"); }

# Usage: as_root COMMAND...
as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

install_missing() {
    ((${#missing[@]})) || return 0
    have apt-get || die "please install: ${missing[*]}  (no apt-get here, so this has to be done by hand)"
    ((EUID == 0)) || have sudo || die "please install, as root: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    local apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
    "${apt[@]}" update </dev/null >&2 || say "apt-get update failed; trying with the lists that are here"
    "${apt[@]}" install --no-install-recommends "${missing[@]}" </dev/null >&2 ||
        die "could not install ${missing[*]}: install them by hand and try again"
    missing=()
}

# A Go that can read go.mod is good enough: one from 1.21 on fetches the version
# that go.mod asks for by itself, if it is set up to.
go_works() { have go && go list -m >/dev/null 2>&1; }

# fetch_go has the Go that is installed, a distribution's old one if need be,
# download the toolchain as it downloads modules: from where GOPROXY says,
# checked against the checksum database and against the sums above.
fetch_go() {
    local arch sum client=$tools/unpack
    case $(uname -s)-$(uname -m) in
    Linux-x86_64) arch=amd64 sum=$go_sum_amd64 ;;
    Linux-aarch64) arch=arm64 sum=$go_sum_arm64 ;;
    *) die "please install Go $go_version or newer: https://go.dev/dl/" ;;
    esac
    have go || have apt-get || die "please install Go $go_version or newer: https://go.dev/dl/"
    rm -rf "$tools/go" "$client"
    want go golang-go
    want update-ca-certificates ca-certificates
    install_missing
    local module=golang.org/toolchain@v0.0.1-go$go_version.linux-$arch
    say "fetching Go $go_version to .tools/go"
    mkdir -p "$client"
    echo 'module unpack' >"$client/go.mod" # an old Go cannot read ours
    (cd "$client" && GOTOOLCHAIN=local GOFLAGS=-modcacherw GOMODCACHE=$client/modules \
        go mod download -json "$module") >"$client/answer" </dev/null ||
        die "could not fetch Go: install Go $go_version or newer by hand, see https://go.dev/dl/"
    grep -qF "\"Sum\": \"$sum\"" "$client/answer" || die "the Go that was fetched is not the one expected: $(grep '"Sum"' "$client/answer")"
    mv "$client/modules/$module" "$tools/go"
    rm -rf "$client"
    # A module's zip has no executables, and no go.mod but its own.
    chmod -R +x "$tools/go/bin" "$tools/go/pkg/tool"
    find "$tools/go/src" -name _go.mod -exec sh -c 'mv "$1" "${1%_go.mod}go.mod"' sh {} \;
    hash -r
    go_works || die "the Go in .tools/go does not run: $(go list -m 2>&1 | head -n 1)"
}

want_go() { go_works || fetch_go; }

# Usage: want_tool NAME VERSION MODULE: a linter in exactly this version,
# because another one finds other things.
want_tool() {
    local name=$1 version=$2 module=$3
    if have "$name" && [[ $("$name" --version 2>&1) == *"${version#v}"* ]]; then
        return
    fi
    say "installing $name $version to .tools/bin"
    GOBIN=$tools/bin go install "$module@$version" </dev/null >&2 || die "could not install $name $version"
}

can_be_root() { ((EUID == 0)) || have sudo; }
can_open_fuse() { (exec 3<>/dev/fuse) 2>/dev/null; }

want_fuse() {
    [[ $(uname -s) == Linux ]] || return 0
    want fusermount3 fuse3
    install_missing
    if [[ ! -c /dev/fuse ]] && can_be_root; then
        as_root modprobe fuse 2>/dev/null || true
    fi
    if [[ ! -c /dev/fuse ]]; then
        say "************************************************************************"
        say "FUSE IS MISSING: there is no /dev/fuse, so nothing can be mounted."
        say "Load it with 'modprobe fuse'; in a container, start that with"
        say "'--device /dev/fuse --cap-add SYS_ADMIN'."
        say "************************************************************************"
        exit 1
    fi
    if ! can_open_fuse && can_be_root; then
        say "letting all users open /dev/fuse, as is usual"
        as_root chmod 0666 /dev/fuse || true
    fi
    if ! can_open_fuse; then
        say "************************************************************************"
        say "FUSE CANNOT BE USED: $(id -un) may not open /dev/fuse ($(stat -c %A /dev/fuse))."
        say "Run this as root, or let all users open it: chmod 0666 /dev/fuse."
        say "************************************************************************"
        exit 1
    fi
}

want_programs() {
    want git git
    want gcc gcc libc6-dev # for the race detector
    want fio fio
    want ip iproute2
    want iptables iptables
    want miniupnpd miniupnpd miniupnpd-nftables
    want nft nftables
    want microsocks microsocks
    want tinyproxy tinyproxy
    want danted dante-server
    want transmission-daemon transmission-daemon
    want aria2c aria2
    want btfs btfs
    want opentracker opentracker
    want ffprobe ffmpeg
    want getfattr attr
    want mkfs.vfat dosfstools
    want mkfs.exfat exfatprogs
    want lowntfs-3g ntfs-3g
    want mpv mpv
    want pgrep procps
    want rsync rsync
    want sqlite3 sqlite3
    want unzip unzip
    # Debian's own Python, not another one in PATH: the package is for that.
    if ! /usr/bin/python3 -c 'import libtorrent' 2>/dev/null; then
        missing+=(python3 python3-libtorrent)
    fi
    install_missing
}

case $task in
build) want_go ;;
demo) want_fuse && want_go ;;
lint) ;;
test) want_fuse && want_programs ;;
*) die "unknown task $task" ;;
esac
if [[ $task == lint || $task == test ]]; then
    want_go
    want_tool staticcheck "$staticcheck_version" honnef.co/go/tools/cmd/staticcheck
    want_tool gofumpt "$gofumpt_version" mvdan.cc/gofumpt
fi
