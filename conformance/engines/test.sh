#!/bin/sh
# The step of test.sh that starts real engines with no-frills in runc's place, in the room (room.sh).
#
#   conformance/engines/test.sh [FILTER...]
#
# Exit status: 0; 1 or 2 as the suite has it, when a case failed twice; 124 when it was not done in time; 125 when there
# was no room (no mirror), which says nothing of no-frills. It ends within 10 minutes for the image, where that is not
# made yet, and 15 for the rest.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- engines/

timeout --kill-after=30 600 "$here/room.sh" --prepare || {
	echo "room: NOT TESTED: no room" >&2
	exit 125
}
timeout --kill-after=30 900 "$here/room.sh" -- --second-attempt "$@"
