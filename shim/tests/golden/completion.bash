# Completion of no-frills for bash.
_no_frills() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command= words= index=1
	local -a root=()
	COMPREPLY=()
	while ((index < COMP_CWORD)); do
		case ${COMP_WORDS[index]} in
		--root) root=(--root "${COMP_WORDS[++index]}") ;;
		'--log'|'--log-format'|'--cgroup-manager'|'--rootless'|'--criu') ((index++)) ;;
		-*) ;;
		*) command=${COMP_WORDS[index]}; break ;;
		esac
		((index++))
	done
	case "$command $previous" in
	' --log')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	' --log-format')
		mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$current"); return ;;
	' --root')
		mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
	' --cgroup-manager')
		mapfile -t COMPREPLY < <(compgen -W 'cgroupfs systemd disabled' -- "$current"); return ;;
	' --rootless')
		mapfile -t COMPREPLY < <(compgen -W 'true false auto' -- "$current"); return ;;
	' --criu')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'run --bundle'|'run -b')
		mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
	'run --config'|'run -f')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'run --console-socket')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'run --pidfd-socket')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'run --pid-file')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'run --preserve-fds')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'create --bundle'|'create -b')
		mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
	'create --config'|'create -f')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'create --console-socket')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'create --pidfd-socket')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'create --pid-file')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'create --preserve-fds')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --process'|'exec -p')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'exec --cwd')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --env'|'exec -e')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --user'|'exec -u')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --additional-gids'|'exec -g')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --cap'|'exec -c')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --process-label')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --apparmor')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --console-socket')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'exec --pidfd-socket')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'exec --pid-file')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'exec --preserve-fds')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'exec --cgroup')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'list --format'|'list -f')
		mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$current"); return ;;
	'update --resources'|'update -r')
		mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	'update --memory')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --memory-reservation')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --memory-swap')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpu-share')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpu-quota')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpu-period')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpu-burst')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpu-idle')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpu-rt-period')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpu-rt-runtime')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpuset-cpus')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --cpuset-mems')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --pids-limit')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --blkio-weight')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --l3-cache-schema')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'update --mem-bw-schema')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'ps --format'|'ps -f')
		mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$current"); return ;;
	'events --interval')
		mapfile -t COMPREPLY < <(true -- "$current"); return ;;
	'spec --bundle'|'spec -b')
		mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
	'info --format'|'info -f')
		mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$current"); return ;;
	'check --format'|'check -f')
		mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$current"); return ;;
	'seccomp --bundle'|'seccomp -b')
		mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
	'install --prefix')
		mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
	'install --destdir')
		mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
	esac
	case $command in
	'') words='run create start exec state pause resume kill delete list update ps events spec features info check plan seccomp completion install help --debug --log --log-format --root --systemd-cgroup --cgroup-manager --rootless --criu --version --help' ;;
	run) words='--bundle --config --console-socket --pidfd-socket --pid-file --no-pivot --no-new-keyring --preserve-fds --detach --keep --no-subreaper --timings --help' ;;
	create) words='--bundle --config --console-socket --pidfd-socket --pid-file --no-pivot --no-new-keyring --preserve-fds --timings --help' ;;
	start) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --timings --help' ;;
	exec) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --process --tty --cwd --env --user --additional-gids --cap --no-new-privs --process-label --apparmor --console-socket --pidfd-socket --pid-file --preserve-fds --detach --cgroup --ignore-paused --timings --help' ;;
	state) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --help' ;;
	pause) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --help' ;;
	resume) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --help' ;;
	kill) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --all --help' ;;
	delete) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --force --help' ;;
	list) words='--format --quiet --help' ;;
	update) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --resources --memory --memory-reservation --memory-swap --cpu-share --cpu-quota --cpu-period --cpu-burst --cpu-idle --cpu-rt-period --cpu-rt-runtime --cpuset-cpus --cpuset-mems --pids-limit --blkio-weight --l3-cache-schema --mem-bw-schema --help' ;;
	ps) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --format --help' ;;
	events) words=''"$(no-frills "${root[@]}" list -q 2>/dev/null)"' --stats --interval --help' ;;
	spec) words='--bundle --rootless --help' ;;
	features) words='--help' ;;
	info) words='--format --help' ;;
	check) words='--format --no-pivot --no-new-keyring --help' ;;
	plan) words='--json --no-pivot --no-new-keyring --help' ;;
	seccomp) words='--bundle --bpf --help' ;;
	completion) words='bash zsh fish --help' ;;
	install) words='--prefix --destdir --uninstall --dry-run --help' ;;
	help) words='run create start exec state pause resume kill delete list update ps events spec features info check plan seccomp completion install help --help' ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
	case $command in
	check|plan|seccomp)
		mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$current") ;;
	esac
}
complete -F _no_frills no-frills
