#!/bin/sh
# What the example container runs: it shows how little it sees of the host.
echo "hostname:      $(hostname)"
echo "my pid:        $$"
echo "processes:     $(ls -d /proc/[0-9]* | wc -l) (this script and what it calls)"
echo "interfaces:    $(ls /sys/class/net | tr '\n' ' ')"
echo "cgroup:        $(grep ^0:: /proc/self/cgroup)"
echo "mounts:"
awk '{ print "  " $5 " (" $6 ")" }' /proc/self/mountinfo
touch /file 2>/dev/null || echo "root:          read-only"
