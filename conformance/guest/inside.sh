#!/bin/sh
# What the guest runs once it is up, as root, from the disk of this run. See run.sh.
set -eu

ports=/dev/virtio-ports
udevadm wait $ports/output $ports/status
echo "up after $(cut -d ' ' -f 1 /proc/uptime) s"

# systemd enables the controllers that it knows itself, since this service is delegated; the others are hugetlb, misc, rdma.
tr " " "\n" </sys/fs/cgroup/cgroup.controllers | while read -r controller; do
	echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done

# Where the peers were made for: they name their libraries by their absolute paths.
peers=$(cat /project/guest/peers)
mkdir -p "$(dirname "$peers")"
[ -e "$peers" ] || ln -s /project/target/peers "$peers"

cd /project
as_root() { sh guest/command; }
as_user() {
	# It lingers, so that this only waits.
	systemctl start user@1000.service
	runuser -u user -- env XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus \
		systemd-run --user --quiet --pipe --wait --collect --service-type=exec --property=Delegate=yes \
		--working-directory=/project sh guest/command
}
# Through a pipe: the port can be opened but once, and programs open /dev/stderr.
{
	status=0
	"as_$(cat guest/who)" || status=$?
	echo "$status" >/run/status
} 2>&1 </dev/null | cat >$ports/output
cat /run/status >$ports/status
echo "done after $(cut -d ' ' -f 1 /proc/uptime) s"
