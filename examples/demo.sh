#!/bin/sh
# Sets up, builds and runs a real container: a busybox from Debian's packages, in the bundle examples/bundle.
# As root, on a machine with a Rust toolchain and apt.
set -eu
cd "$(dirname "$0")/.."

if [ ! -x /bin/busybox ] || ! command -v cc >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq busybox-static gcc >/dev/null
fi
cargo build --release --package no-frills-shim

rootfs=examples/bundle/rootfs
mkdir -p "$rootfs/bin" "$rootfs/proc" "$rootfs/sys" "$rootfs/dev" "$rootfs/tmp" "$rootfs/etc"
cp /bin/busybox "$rootfs/bin/busybox"
for applet in sh ls cat wc tr grep awk hostname touch ps mount; do
    ln -sf busybox "$rootfs/bin/$applet"
done
cp examples/bundle/demo.sh "$rootfs/demo.sh"

echo "host:          $(hostname), pid $$"
exec target/release/no-frills run --bundle examples/bundle demo
