#!/bin/sh
# Sets up and runs all tests. As root, on a machine with a Rust toolchain and apt; see docs/building.md for single parts.
set -eu
cd "$(dirname "$0")"

# For cargo: a network that fails now and then.
export CARGO_NET_RETRY=10

begin=$(date +%s)
step() { printf '\n== %s (%d s)\n' "$*" $(($(date +%s) - begin)); }

# The machine's own apt may be at work, and mirrors may not answer at once.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

step "packages"
missing=
for tool in cc:gcc c++:g++ busybox:busybox-static ip:iproute2 newuidmap:uidmap mandoc:mandoc patchelf:patchelf strace:strace; do
    command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool#*:}"
done
[ -e /usr/include/seccomp.h ] || missing="$missing libseccomp-dev"
if [ -n "$missing" ]; then
    # The lock of the lists is one that apt does not wait for.
    apt update || { sleep 30 && apt update; }
    # shellcheck disable=SC2086 # a list of words
    apt install -y $missing
fi

step "format, lints, documentation"
cargo fmt --all --check
# Compiled by the build script, so that cargo does not know it.
rustfmt --edition 2024 --config-path rustfmt.toml --check crates/init/src/program/main.rs
cargo clippy --quiet --workspace --all-targets -- --deny warnings
RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --workspace --no-deps

step "unit, golden and documentation tests"
cargo test --quiet --workspace
cargo test --quiet --package no-frills --features oci-spec --lib oracle

step "the library, built from its packages with init in it"
# cargo takes a package's version for its content: what an earlier run unpacked or built would be taken for today's.
rm -rf target/packages "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/no-frills-*
cargo package --quiet --allow-dirty --target-dir target/packages -p no-frills-plan -p no-frills-init -p no-frills-sys \
    -p no-frills-seccomp -p no-frills-cgroups -p no-frills

step "release build"
cargo build --release --package no-frills-shim
./examples/demo.sh

step "conformance: target/release/no-frills"
cargo build --quiet --package no-frills-conformance --bin conformance --bin without
suite=target/debug/conformance
"$suite" --second-attempt --runtime target/release/no-frills

step "conformance: target/release/no-frills on the host's own view of cgroups"
"$suite" --second-attempt --runtime target/release/no-frills --host-view

step "conformance: target/release/no-frills as on Linux 5.10, but for what the cases kernel/* hold"
"$suite" --second-attempt --runtime target/release/no-frills --without mount_setattr,open_tree_attr,pidfd_getfd \
    bind/ mounts/ paths/ propagation rootfs/ devices/ engines/ lifecycle/ namespaces/

# A machine of unknown load: what does not come again is told, and is to be looked into.
twice() { "$@" || { echo "once more:"; "$@"; }; }

step "a sample of kills and failures at system calls, and of mutated configurations"
cargo build --quiet --package no-frills-conformance --bin faults --bin mutate
twice target/debug/faults --runtime target/release/no-frills --sample 97
twice target/debug/mutate --runtime target/release/no-frills --count 300

step "fuzzing, briefly"
fuzz/smoke.sh

# Where the system to run it in could not be had, or was too slow: which says nothing of no-frills.
left_out=
unless_absent() {
    "$@" || case $? in
        124 | 125) left_out="$left_out, but for $1" ;;
        *) exit 1 ;;
    esac
}

step "conformance: target/release/no-frills under real engines"
unless_absent conformance/engines/test.sh

step "conformance: target/release/no-frills in a machine of its own, with what needs all controllers, systemd or AppArmor"
unless_absent conformance/guest/test.sh

# Other people's programs, as Debian has them today: what they do differently is told and decides nothing.
differing=
if conformance/peers.sh; then
    for peer in runc crun; do
        step "conformance: $peer"
        timeout --kill-after=30 900 "$suite" --peer "$peer" || differing="$differing $peer"
    done
else
    differing=" (none could be had)"
fi

step "all passed$left_out${differing:+, but see what is not ok with peers:$differing}"
