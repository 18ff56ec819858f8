#!/bin/sh
# The step of test.sh that needs a machine of its own: no-frills in the guest, with the cases that need controllers,
# systemd, AppArmor or a user's session, and those which show more there than elsewhere.
#
#   conformance/guest/test.sh [ARGUMENT OF THE SUITE...]
#
# Exit status: 0; 1 or 2 as the suite has it, when a case failed twice; 124 when it was not done in time; 125 when there
# was no machine to run it on (no mirror, no qemu, no boot), which says nothing of no-frills. It ends within 10 minutes
# for the image, where that is not made yet, and 15 for the rest.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
image=600
machine=900

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
absent() {
	echo "guest: NOT TESTED: $*" >&2
	exit 125
}

begin=$(date +%s)
bounded $image "$here/run.sh" --prepare || absent "no machine after $(($(date +%s) - begin)) s"

begin=$(date +%s)
# Once more if there was no result, and while there is time.
for attempt in 1 2; do
	left=$((machine - ($(date +%s) - begin)))
	[ $left -ge 300 ] || break
	status=0
	bounded $((left + 30)) "$here/run.sh" --timeout $left -- --second-attempt --needs-guest "$@" \
		settings/apparmor security/reach cgroups/ exec/cgroup freezer/ events/ resources/ update/ || status=$?
	[ $status -eq 125 ] || exit $status
	echo "guest: attempt $attempt: no result" >&2
done
absent "the machine failed"
