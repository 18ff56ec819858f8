#!/bin/sh
# The step of test.sh that needs a machine of its own: no-frills in the guest, with the cases that need controllers,
# systemd, AppArmor or a user's session, and those which show more there than elsewhere; and engines, with what no
# other machine of the tests can show of them.
#
#   conformance/guest/test.sh [ARGUMENT OF THE SUITE...]
#
# Exit status: 0; 1 or 2 as the suite has it, when a case failed twice; 124 when it was not done in time; 125 when there
# was no machine to run it on (no mirror, no qemu, no boot), which says nothing of no-frills. A part that was too slow
# hides no failed case, neither of its own nor of the other part. It ends within 10 minutes for the image, where that is
# not made yet, and 15 for each of the two parts.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
image=600
machine=900

# Under engines: that limits hold and are changed, that a kill for want of memory is told, that figures are shown, and
# systemd's cgroups, the machine's and a user's. All else of engines is run in their room (conformance/engines).
engines='
	engines/docker/limits engines/docker/update engines/docker/pids-limit engines/docker/oom engines/docker/stats-figures
	engines/containerd/limits engines/containerd/oom engines/containerd/systemd
	engines/podman/limits engines/podman/oom
	engines/podman-systemd/run engines/podman-systemd/limits engines/podman-systemd/oom
	engines/podman-session/limits engines/podman-session/oom'

# In the background, so that a signal ends this script and what it started.
child=
trap '[ -z "$child" ] || kill "$child" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM HUP
bounded() {
	timeout --kill-after=30 "$@" &
	child=$!
	ended=0
	wait $child || ended=$?
	child=
	return $ended
}

begin=$(date +%s)
bounded $image "$here/run.sh" --prepare || {
	echo "guest: NOT TESTED: no machine after $(($(date +%s) - begin)) s" >&2
	exit 125
}

# One run of the suite, once more if there was no result, and while there is time.
part() {
	begin=$(date +%s)
	for attempt in 1 2; do
		left=$((machine - ($(date +%s) - begin)))
		[ $left -ge 300 ] || break
		status=0
		bounded $((left + 30)) "$here/run.sh" --timeout $left -- --second-attempt "$@" || status=$?
		[ $status -eq 125 ] || return $status
		echo "guest: attempt $attempt: no result" >&2
	done
	echo "guest: NOT TESTED: the machine failed" >&2
	return 125
}

controllers=0
part --needs-guest "$@" settings/apparmor security/reach cgroups/ exec/cgroup freezer/ events/ resources/ update/ || controllers=$?
under=0
# shellcheck disable=SC2086 # a list of words
part --engines --timeout 300 "$@" $engines || under=$?

# A failure first, whichever part it is in.
for status in $controllers $under; do
	case $status in
	0 | 124 | 125) ;;
	*) exit "$status" ;;
	esac
done
[ $controllers -ne 0 ] || exit $under
exit $controllers
