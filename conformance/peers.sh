#!/bin/sh
# Makes the peer runtimes available: DIR/runc and DIR/crun, runnable as they are.
#
#   conformance/peers.sh [DIR]        (DIR is target/peers unless given)
#
# They come from Debian sid, or from trixie where sid does not answer, as packages that apt verifies and
# that are unpacked aside, each with its own libraries and its own dynamic loader. The machine's package
# database, its sources and its libc stay as they are. Needs root on a Debian machine. Quick when done.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:-$here/target/peers}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

say() { echo "peers: $*" >&2; }

. "$here/conformance/debian.sh"

# Tools of this machine that the suite and this script use.
missing=
command -v patchelf >/dev/null || missing="$missing patchelf"
command -v strace >/dev/null || missing="$missing strace"
# The suite makes its root file systems of busybox, which must therefore need no library.
if ! busybox true 2>/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then
	missing="$missing busybox-static"
fi
# shellcheck disable=SC2086 # a list of words
install_packages $missing

works() { "$dir/runc" --version >/dev/null 2>&1 && "$dir/crun" --version >/dev/null 2>&1; }
if works; then
	exit 0
fi

mirror=$(mirror)

# Everything of apt that would be shared with the machine is set aside but its keys and its network
# settings. The empty status file makes apt fetch every library, however new the machine's own is.
apt=$dir/.apt
private() {
	apt-get -qq \
		-o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o Dir::State="$apt/state" -o Dir::State::status="$apt/status" \
		-o Dir::Cache="$apt/cache" -o Dir::Log="$apt/log" \
		-o APT::Sandbox::User=root \
		-o Acquire::Languages=none -o Acquire::Retries=3 \
		"$@"
}

fetch() {
	suite=$1
	rm -rf "$apt"
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/log"
	: >"$apt/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
	say "reading the package lists of $suite"
	private update >&2 || return 1
	private install -y --no-install-recommends --download-only runc crun >&2
}
# A mirror that is being brought up to date is whole again in a moment. The cases know the versions of sid.
fetch sid || { sleep 30 && fetch sid; } || fetch trixie

# Unpacked in a fresh directory that replaces the old one when complete.
rm -rf "$dir/.root.new"
mkdir -p "$dir/.root.new"
for deb in "$apt"/cache/archives/*.deb; do
	dpkg-deb -x "$deb" "$dir/.root.new"
done
rm -rf "$dir/root"
mv "$dir/.root.new" "$dir/root"

# The loader and the libraries are found where they lie, whatever this machine's own are.
loader=$(find "$dir/root" -name 'ld-linux*.so.*' | head -n 1)
libs=$(find "$dir/root" -name '*.so.*' -exec dirname {} \; | sort -u | tr '\n' ':')
for name in runc crun; do
	binary=$(find "$dir/root" -type f -path "*bin/$name" | head -n 1)
	cp "$binary" "$dir/.$name.new"
	if patchelf --print-interpreter "$dir/.$name.new" >/dev/null 2>&1; then
		# DT_RPATH, not DT_RUNPATH, so that it also holds for the libraries' own libraries.
		patchelf --set-interpreter "$loader" --force-rpath --set-rpath "${libs%:}" "$dir/.$name.new"
	fi
	mv "$dir/.$name.new" "$dir/$name"
done
rm -rf "$apt"

works || {
	say "the unpacked runtimes do not run:"
	"$dir/runc" --version >&2 || true
	"$dir/crun" --version >&2 || true
	exit 1
}
say "$("$dir/runc" --version | head -n 1), $("$dir/crun" --version | head -n 1)"
