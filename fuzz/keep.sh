#!/bin/sh
# Puts into corpus/NAME inputs out of those that reach what all found so far do: keep.sh NAME [DIRECTORY...]. They are up to a
# hundred of all lengths up to 2 KB, 40 KB together.
# Those that are called regression-* stay.
set -eu
cd "$(dirname "$0")"
name=$1
shift
merged=target/merged/$name
rm -rf "$merged"
mkdir -p "$merged" "target/corpus/$name" "corpus/$name"
"target/fuzzing/$name" -merge=1 -max_len=16384 "$merged" "corpus/$name" "target/corpus/$name" "$@" >target/log 2>&1
find "corpus/$name" -type f ! -name 'regression-*' -delete
find "$merged" -type f -size -2049c -printf '%s %p\n' | sort -n |
    awk '{ size[NR] = $1; name[NR] = $2 } END {
        every = NR > 100 ? NR / 100 : 1
        for (at = 1; at <= NR; at += every) if ((sum += size[int(at)]) <= 40960) print name[int(at)]
    }' | xargs cp -t "corpus/$name"
count() { find "$1" -type f | wc -l; }
echo "corpus/$name: $(count "corpus/$name") inputs of $(count "$merged")"
