#!/bin/sh
# Builds the fuzz targets and runs each for some seconds (argument; 6 unless given). What one finds ends it and is printed.
set -eu
cd "$(dirname "$0")"
seconds=${1:-6}
./build.sh
log=target/log
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    if ! ./run.sh "$name" -max_total_time="$seconds" -print_final_stats=1 >"$log" 2>&1; then
        tail -n 50 "$log"
        exit 1
    fi
    echo "fuzz target $name, $seconds s: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs, no finding"
done
