#!/bin/sh
# Runs a fuzz target that build.sh has built: run.sh NAME [OPTION OF LIBFUZZER...]. It begins with what is kept in corpus/NAME; what
# it adds is put into target/corpus/NAME, and what it finds into artifacts/.
set -eu
cd "$(dirname "$0")"
name=$1
shift
mkdir -p "target/corpus/$name" artifacts
exec "target/fuzzing/$name" -max_len=16384 -len_control=20 -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=256 \
    -artifact_prefix="artifacts/$name-" "$@" "target/corpus/$name" "corpus/$name"
