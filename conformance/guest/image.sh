#!/bin/sh
# Makes the guest's system image, unless it is there: DIR/{root.img,vmlinuz,initrd.img}; and DIR/tree, the same
# system as a directory, for the engines' room (conformance/engines).
#
#   conformance/guest/image.sh SUITE DIR
#
# A Debian system of SUITE (trixie, sid, ...) with systemd, dbus, a kernel, the container engines and what else the
# conformance suite uses; the project itself is not in it. It is made anew when this file or the suite changes. Needs root on a Debian machine.
# A mirror that does not answer for 20 s is given up, and each part is tried twice, for 8 minutes at most.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
suite=$1
dir=$2

say() { echo "guest: $*" >&2; }
. "$here/conformance/debian.sh"

recipe=$({ echo "$suite" && cat "$0"; } | sha256sum | cut -d ' ' -f 1)
mkdir -p "$dir"
# One at a time; others wait and find the image.
exec 9>"$dir/lock"
flock 9
[ "$(cat "$dir/recipe" 2>/dev/null)" != "$recipe" ] || exit 0
rm -f "$dir/recipe"

missing=
command -v debootstrap >/dev/null || missing="$missing debootstrap"
command -v mke2fs >/dev/null || missing="$missing e2fsprogs"
command -v cpio >/dev/null || missing="$missing cpio"
command -v xz >/dev/null || missing="$missing xz-utils"
# shellcheck disable=SC2086 # a list of words
install_packages $missing
mirror=$(mirror)

root=$dir/root
log=$dir/image.log
rm -rf --one-file-system "$dir/tree"
remove() { rm -rf --one-file-system "$root"; }
child=
# For a while; in the background, so that a signal to this script is heard at once.
bounded() {
	timeout --kill-after=5 480 "$@" </dev/null &
	child=$!
	ended=0
	wait $child || ended=$?
	child=
	[ $ended -ne 124 ] || say "not done after 480 s: $1"
	return $ended
}
end() {
	[ -z "$child" ] || { kill "$child" && wait "$child"; } || true
	remove
}
trap end EXIT
trap 'exit 1' INT TERM HUP

say "making the image of $suite, once (log: $log)"
begin=$(date +%s)
# A second attempt has the packages of the first.
packages=$dir/packages
mkdir -p "$packages"
printf 'timeout = 20\ntries = 2\n' >"$dir/wgetrc"
export WGETRC="$dir/wgetrc"
attempt() {
	remove
	bounded debootstrap --variant=minbase --cache-dir="$packages" "$suite" "$root" "$mirror" >"$log" 2>&1
}
attempt || { say "another attempt" && sleep 10 && attempt; } || {
	tail -n 20 "$log" >&2
	say "debootstrap failed"
	exit 1
}

# Nothing that only people read, no sync after each file, no service that starts while it is installed.
cat >"$root/etc/dpkg/dpkg.cfg.d/guest" <<-'END'
	path-exclude=/usr/share/doc/*
	path-exclude=/usr/share/man/*
	path-exclude=/usr/share/locale/*
	force-unsafe-io
END
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

# In a mount namespace, which ends with whatever a package mounts or starts.
cat >"$dir/install.sh" <<-'END'
	set -eu
	mount --make-rprivate /
	mount -t proc proc "$1/proc"
	cp /etc/resolv.conf "$1/etc/resolv.conf"
	# What an attempt that was ended left half done.
	chroot "$1" dpkg --configure -a
	apt() {
	    chroot "$1" env DEBIAN_FRONTEND=noninteractive LC_ALL=C INITRD=No apt-get -q -y -o Acquire::Retries=3 -o Acquire::http::Timeout=20 \
	        -o Dpkg::Options::=--force-confold --no-install-recommends install \
	        systemd systemd-sysv dbus dbus-user-session libpam-systemd udev kmod linux-image-cloud-amd64 \
	        apparmor busybox-static ca-certificates iproute2 procps strace uidmap util-linux \
	        aardvark-dns buildah conmon containerd curl docker-buildx docker-cli docker-compose docker-registry docker.io \
	        fuse-overlayfs iptables netavark nftables passt podman redis-server runc slirp4netns
	}
	apt "$1"
END
install() {
	bounded unshare --mount --pid --fork --kill-child sh "$dir/install.sh" "$root" >>"$log" 2>&1
}
install || { say "another attempt" && sleep 10 && install; } || {
	tail -n 20 "$log" >&2
	say "installing the packages failed"
	exit 1
}
rm -f "$root/usr/sbin/policy-rc.d" "$dir/install.sh" "$dir/wgetrc"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$packages"

# The user of the cases without root: identifiers of its own, a systemd session from boot on, all controllers.
chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash --add-subids-for-system user 2>>"$log" ||
	chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash user
grep -q '^user:' "$root/etc/subuid" || echo 'user:100000:65536' >>"$root/etc/subuid"
grep -q '^user:' "$root/etc/subgid" || echo 'user:100000:65536' >>"$root/etc/subgid"
mkdir -p "$root/var/lib/systemd/linger"
: >"$root/var/lib/systemd/linger/user"
mkdir -p "$root/etc/systemd/system/user@.service.d"
cat >"$root/etc/systemd/system/user@.service.d/delegate.conf" <<-'END'
	[Service]
	Delegate=cpu cpuset io memory pids
END

# What the machine is started for, and its end. /project is the disk that each run makes.
cat >"$root/etc/systemd/system/guest.service" <<-'END'
	[Unit]
	Description=What this machine was started for
	After=systemd-logind.service dbus.service
	SuccessAction=poweroff-immediate
	FailureAction=poweroff-immediate

	[Service]
	Type=exec
	ExecStartPre=/bin/mount -o ro LABEL=project /project
	ExecStart=/bin/sh /project/guest/inside.sh
	StandardOutput=journal+console
	StandardError=journal+console
	Delegate=yes
	TasksMax=infinity

	[Install]
	WantedBy=multi-user.target
END
mkdir -p "$root/project"
ln -s ../guest.service "$root/etc/systemd/system/multi-user.target.wants/guest.service"
# Not for a machine that lives for minutes and is emulated; engines are started by the cases. AppArmor is on without Debian's profiles, which take long to
# compile.
for unit in apparmor.service apt-daily.timer apt-daily-upgrade.timer containerd.service docker-registry.service \
	docker.service docker.socket dpkg-db-backup.timer e2scrub_all.timer \
	podman-auto-update.service podman-auto-update.timer podman-clean-transient.service podman-restart.service podman.service \
	podman.socket redis-server.service \
	e2scrub_reap.service fstrim.timer getty@.service man-db.timer modprobe@.service sys-fs-fuse-connections.mount \
	sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount systemd-journal-flush.service \
	systemd-journald-audit.socket systemd-modules-load.service systemd-pstore.service systemd-random-seed.service systemd-tmpfiles-clean.timer \
	systemd-update-utmp.service; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nAudit=no\n' >"$root/etc/systemd/journald.conf.d/guest.conf"
echo guest >"$root/etc/hostname"
printf '127.0.0.1 localhost guest\n::1 localhost\n' >"$root/etc/hosts"
# Not the first boot, and nothing to bring up to date.
echo 00000000000000000000000000000001 >"$root/etc/machine-id"
touch "$root/etc/.updated" "$root/var/.updated"
# The kernel mounts the only file system.
rm -f "$root/etc/resolv.conf" "$root/etc/fstab"

cp "$root"/boot/vmlinuz-* "$dir/vmlinuz"
rm -f "$root"/boot/initrd.img-*

# An initial RAM disk of the modules that the root file system needs, and no more: emulated, each costs.
early=$root/early
mkdir -p "$early/dev" "$early/root"
cp "$root/bin/busybox" "$early"
{
	echo '#!/busybox sh'
	for module in virtio_pci virtio_blk ext4; do
		chroot "$root" modprobe --show-depends --set-version "$(ls "$root/lib/modules")" "$module"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r path; do
		file=$(basename "$path")
		cp "$root$path" "$early/$file"
		case $file in *.xz) xz -d "$early/$file" ;; esac
		echo "/busybox insmod /${file%.xz}"
	done
	echo '/busybox mount -t devtmpfs dev /dev'
	echo '/busybox mount -t ext4 -o noatime /dev/vda /root'
	echo '/busybox mount -o move /dev /root/dev'
	echo 'exec /busybox switch_root /root /sbin/init'
} >"$early/init"
chmod 755 "$early/init"
(cd "$early" && find . | cpio --quiet -o -H newc) >"$dir/initrd.img"
rm -rf "$early" "$dir/root.img"
mke2fs -q -t ext4 -L guest -m 0 -E lazy_itable_init=1,root_owner=0:0 -d "$root" "$dir/root.img" 4G >>"$log" 2>&1
mv "$root" "$dir/tree"
echo "$recipe" >"$dir/recipe"
say "image made in $(($(date +%s) - begin)) s, $(du -m "$dir/root.img" | cut -f 1) MiB"
