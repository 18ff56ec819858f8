#!/bin/sh
# Runs every fuzz target for some seconds (argument; 10 unless given). What it finds stops it and is printed.
# cargo fuzz wants a nightly compiler for sanitizer flags; RUSTC_BOOTSTRAP lets the stable one take them.
set -eu
cd "$(dirname "$0")"
seconds=${1:-10}
tools=$PWD/target/tools
if [ ! -x "$tools/bin/cargo-fuzz" ]; then
    cargo install --quiet --locked --root "$tools" cargo-fuzz
fi
log=$tools/log
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    corpus=target/corpus/$name
    mkdir -p "$corpus"
    seeds=
    [ "$name" = config ] && seeds="../runtime/tests/golden ../runtime/tests/fixtures"
    # shellcheck disable=SC2086 # a list of words
    if ! RUSTC_BOOTSTRAP=1 "$tools/bin/cargo-fuzz" fuzz run "$name" "$corpus" $seeds -- \
        -max_total_time="$seconds" -max_len=16384 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 50 "$log"
        exit 1
    fi
    echo "fuzz target $name, $seconds s: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs, no finding"
done
