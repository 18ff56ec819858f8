#!/bin/sh
# Builds the fuzz targets: programs that take libFuzzer's options. The flags are those of cargo-fuzz, which is so not needed.
# AddressSanitizer is an unstable flag; RUSTC_BOOTSTRAP lets the stable compiler take it.
set -eu
cd "$(dirname "$0")"
level=-Cllvm-args=-sanitizer-coverage
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Ccodegen-units=1 -Cpasses=sancov-module $level-level=4 \
$level-inline-8bit-counters $level-pc-table $level-trace-compares"
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --release --locked --target "$host" "$@"
ln -sfn "$host/release" target/fuzzing
