#!/bin/sh
# Runs the conformance suite, or any command, on a machine of its own. README.md beside this file tells more.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
target=$here/target

usage() {
	cat <<-'END'
		conformance/guest/run.sh [OPTION...] [--] [ARGUMENT OF THE SUITE...]
		conformance/guest/run.sh [OPTION...] --shell COMMAND

		  --runtime NAME     no-frills (default), runc or crun
		  --prepare          install the tools and make the image, if that is not done yet; run nothing
		  --shell COMMAND    run this with sh in /project, not the suite
		  --user             as the user `user` in a systemd session, not as root
		  --suite SUITE      the Debian suite of the machine; default: $SUITE, or trixie
		  --timeout SECONDS  how long the machine may run; default 900
		  --memory MIB       its memory; default 3072
		  --console          show the machine's console, too

		The exit status is that of the suite or the command; 124 after the timeout, or 1 if the suite had told of a case that
		failed by then; 125 if there is no machine, or it failed.
	END
}

suite=${SUITE:-trixie}
runtime=no-frills
who=root
limit=900
boot=300
memory=3072
console=
command=
prepare=
while [ $# -gt 0 ]; do
	case $1 in
	--prepare) prepare=yes ;;
	--runtime) runtime=$2 && shift ;;
	--shell) command=$2 && shift ;;
	--user) who=user ;;
	--suite) suite=$2 && shift ;;
	--timeout) limit=$2 && shift ;;
	--memory) memory=$2 && shift ;;
	--console) console=yes ;;
	--help) usage && exit ;;
	--) shift && break ;;
	*) break ;;
	esac
	shift
done

say() { echo "guest: $*" >&2; }
fail() { say "$*" && exit 125; }
. "$here/conformance/debian.sh"

quoted() {
	for word; do
		printf " '%s'" "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")"
	done
}
is_suite=
if [ -z "$command" ]; then
	is_suite=yes
	case $runtime in
	no-frills) command="target/debug/conformance --runtime target/release/no-frills$(quoted "$@")" ;;
	*) command="target/debug/conformance --peer $runtime$(quoted "$@")" ;;
	esac
elif [ $# -gt 0 ]; then
	fail "--shell takes one command: $*"
fi

missing=
command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
command -v mke2fs >/dev/null || missing="$missing e2fsprogs"
# shellcheck disable=SC2086 # a list of words
install_packages $missing || fail "there is no qemu"

image=$target/guest/$suite
"$here/conformance/guest/image.sh" "$suite" "$image" || fail "there is no image"
[ -z "$prepare" ] || exit 0

files="debug/conformance debug/without release/no-frills"
[ "$runtime" = no-frills ] || files="$files peers/$runtime"
for file in $files; do
	[ -x "$target/$file" ] || fail "target/$file is missing; see the README beside this script"
done

qemu=
shown=
run=$(mktemp -d "$target/guest/run.XXXXXX")
end() {
	for pid in $qemu $shown; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$run"
}
trap end EXIT
trap 'exit 130' INT TERM HUP

# The disk of this run: the project's programs, the peers with their libraries, and what to do.
mkdir -p "$run/project/target/debug" "$run/project/target/release" "$run/project/guest"
cp "$target/debug/conformance" "$target/debug/without" "$run/project/target/debug"
cp "$target/release/no-frills" "$run/project/target/release"
[ ! -d "$target/peers/" ] || cp -a "$target/peers/." "$run/project/target/peers"
cp "$here/conformance/guest/inside.sh" "$run/project/guest"
readlink -m "$target/peers" >"$run/project/guest/peers"
echo "$who" >"$run/project/guest/who"
printf '%s\n' "$command" >"$run/project/guest/command"
chmod 755 "$run/project"
size=$(($(du -sm "$run/project" | cut -f 1) * 5 / 4 + 16))
mke2fs -q -t ext4 -L project -m 0 -O ^has_journal -E lazy_itable_init=1,root_owner=0:0 -d "$run/project" \
	"$run/project.img" "${size}M" >"$run/errors" 2>&1 || fail "making the disk: $(cat "$run/errors")"
rm -rf "$run/project"

# Nothing is written to the image: what the machine writes is gone with it.
: >"$run/console"
: >"$run/output"
: >"$run/status"
begin=$(date +%s)
# A plain processor is emulated fastest: no protection keys, no five levels of page tables. The emulation of cmpxchg16b
# by several threads (qemu 7.2) breaks the kernel's allocator, which does without it where the processor has none.
# no_timer_check: on a busy machine the emulated timer may be late, and the kernel would panic.
TMPDIR=$run timeout --kill-after 10 "$limit" qemu-system-x86_64 \
	-accel tcg,thread=multi -machine q35 -cpu Nehalem,-cx16 -smp 2 -m "$memory" \
	-nodefaults -display none -nic none -no-reboot \
	-kernel "$image/vmlinuz" -initrd "$image/initrd.img" \
	-append "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off apparmor=1 security=apparmor systemd.gpt_auto=no systemd.getty_auto=no TERM=dumb" \
	-drive "file=$image/root.img,format=raw,if=virtio,snapshot=on,cache=unsafe" \
	-drive "file=$run/project.img,format=raw,if=virtio,readonly=on" \
	-serial "file:$run/console" \
	-device virtio-rng-pci \
	-device virtio-serial-pci \
	-chardev "file,id=output,path=$run/output" -device virtserialport,chardev=output,name=output \
	-chardev "file,id=status,path=$run/status" -device virtserialport,chardev=status,name=status \
	</dev/null 2>"$run/errors" &
qemu=$!
tail --follow --lines=+1 --pid=$qemu "$run/output" &
shown=$!
if [ -n "$console" ]; then
	tail --follow --lines=+1 --pid=$qemu "$run/console" >&2 &
	shown="$shown $!"
fi
# A machine that does not come up is not waited for as long as one that works.
up=yes
timeout "$boot" tail --follow --lines=+1 --pid=$qemu "$run/console" | grep --quiet --max-count 1 "up after" || up=
if [ -z "$up" ]; then
	kill $qemu 2>/dev/null || true
fi
ended=0
wait $qemu || ended=$?
qemu=
# They end by themselves when they have shown the rest.
# shellcheck disable=SC2086 # a list of words
wait $shown
shown=

status=$(cat "$run/status")
if [ "$ended" -eq 0 ] && [ -n "$status" ]; then
	say "$suite, $(($(date +%s) - begin)) s: $(sed -n 's/.*\(up after [0-9.]* s\).*/\1/p' "$run/console" | head -n 1)"
	exit "$status"
fi
cat "$run/errors" >&2
say "the end of the console:"
tail -n 60 "$run/console" >&2
[ -n "$up" ] || fail "the machine did not come up within $boot s (qemu: $ended)"
if [ "$ended" -eq 124 ]; then
	say "not done after $limit s"
	# What was too slow is no reason to pass over what failed.
	if [ -n "$is_suite" ] && grep --quiet '^not ok' "$run/output"; then
		exit 1
	fi
	exit 124
fi
fail "the machine ended without a result (qemu: $ended)"
