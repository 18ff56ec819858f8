#!/bin/sh
# Runs the suite's cases of engines, or any command, in a room: the system of the guest's image (which has Docker,
# containerd, Podman, Buildah and a registry) as a root file system on this machine's kernel, with mounts, a network,
# processes and names of its own and cgroup2 alone at /sys/fs/cgroup. What is written there is gone when it ends.
#
#   conformance/engines/room.sh [--runtime no-frills|runc|crun] [--] [ARGUMENT OF THE SUITE...]
#   conformance/engines/room.sh --shell COMMAND
#   conformance/engines/room.sh --prepare
#
# The project's programs are in /project/target, as in the guest, which is the working directory. --prepare makes the
# image, if that is not done yet, and runs nothing. The exit status is that of the suite or the command; 125 if there
# is no room. Needs root on a Debian machine.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
target=$here/target
suite=${SUITE:-trixie}
runtime=no-frills
command=
prepare=
while [ $# -gt 0 ]; do
	case $1 in
	--runtime) runtime=$2 && shift ;;
	--shell) command=$2 && shift ;;
	--prepare) prepare=yes ;;
	--) shift && break ;;
	*) break ;;
	esac
	shift
done

fail() { echo "room: $*" >&2 && exit 125; }

image=$target/guest/$suite
"$here/conformance/guest/image.sh" "$suite" "$image" || fail "there is no image"
[ -z "$prepare" ] || exit 0
[ -d "$image/tree" ] || fail "$image/tree is missing"

if [ -n "$command" ]; then
	set -- sh -c "$command"
else
	[ $# -gt 0 ] || set -- engines/
	case $runtime in
	no-frills) set -- target/debug/conformance --runtime target/release/no-frills --engines "$@" ;;
	*) set -- target/debug/conformance --peer "$runtime" --engines "$@" ;;
	esac
fi
export here target image
exec unshare --mount --net --pid --fork --kill-child --uts --ipc --propagation private sh -eu -c '
	# Everything is on one tmpfs: what is written, and where engines keep their images.
	place=$target/guest/room
	mkdir -p "$place"
	mount -t tmpfs -o mode=755 room "$place"
	mkdir "$place/upper" "$place/work" "$place/root" "$place/tmp"
	chmod 1777 "$place/tmp"
	root=$place/root
	mount -t overlay -o "lowerdir=$image/tree,upperdir=$place/upper,workdir=$place/work" room "$root"
	mount -t proc proc "$root/proc"
	mount -t sysfs sysfs "$root/sys"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs -o mode=755 run "$root/run"
	mount --bind "$place/tmp" "$root/tmp"
	mount -t tmpfs -o mode=755 var "$root/var/lib"
	mkdir -p "$root/project/target/debug" "$root/project/target/release" "$root/run/lock" "$root/var/lib/containers"
	for dir in debug release peers; do
		[ -d "$target/$dir" ] || continue
		mkdir -p "$root/project/target/$dir"
		mount --bind "$(readlink -f "$target/$dir")" "$root/project/target/$dir"
	done
	# Where the peers were made for: they name their libraries by their absolute paths.
	peers=$(readlink -m "$target/peers")
	mkdir -p "$root$(dirname "$peers")"
	ln -s /project/target/peers "$root$peers"
	hostname room
	printf "127.0.0.1 localhost room\n::1 localhost\n" >"$root/etc/hosts"
	# Containers get a copy, and some engines insist on a name; nobody can be asked.
	echo "nameserver 127.0.0.1" >"$root/etc/resolv.conf"
	ip link set lo up
	cd "$root/project"
	pivot_root "$root" "$root/mnt"
	umount -l /mnt
	exec "$@"
' sh "$@"
