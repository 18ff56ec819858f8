#compdef no-frills
# Completion of no-frills for zsh.
_no_frills_containers() {
	local -a ids root
	(( ${+opt_args[--root]} )) && root=(--root ${opt_args[--root]})
	ids=(${(f)"$(no-frills $root list -q 2>/dev/null)"})
	_describe container ids
}
_no_frills_commands() {
	local -a commands=(
		'run:create and start a container, wait for its end and delete it'
		'create:create a container, ready to start'
		'start:start the process of a created container'
		'exec:run another process in a container'
		'state:print the state of a container as JSON'
		'pause:stop all processes of a container'
		'resume:let the processes of a paused container go on'
		'kill:send a signal (SIGTERM unless given) to the process of a container'
		'delete:delete a stopped container and all that it holds'
		'list:list the containers under the root'
		'update:change the resource limits of a container'
		'ps:list the processes of a container'
		'events:print statistics of a container, and kills for lack of memory, as JSON until it ends'
		'spec:write a config.json to start from'
		'features:print what this version supports as JSON'
		'info:print what this host can do, and what is missing'
		'check:print all that is wrong with a bundle, and what this host cannot do of it'
		'plan:print what running a bundle would do, step by step, without doing it'
		'seccomp:print what the seccomp filter of a bundle does, by action and system call'
		'completion:print a completion script for a shell'
		'install:install this program, its manual and its completions'
		'help:print the help of a command'
	)
	_describe command commands
}
_no_frills() {
	local context state state_descr line
	typeset -A opt_args
	_arguments -C \
		'--debug[log what is done, with level debug]' \
		'--log[append log lines to FILE (standard error unless given)]:file:_files' \
		'--log-format[how log lines are written (text unless given)]:word:(text json)' \
		'--root[where the state of containers is kept (/run/no-frills, or $XDG_RUNTIME_DIR/no-frills for a user)]:directory:_directories' \
		'--systemd-cgroup[have systemd make the cgroups of containers\: linux.cgroupsPath is slice\:prefix\:name]' \
		'--cgroup-manager[who makes the cgroups of containers; disabled\: they have none and stay in the caller'\''s]:word:(cgroupfs systemd disabled)' \
		'--rootless[whether a container goes without a cgroup where the caller may make none (auto\: if that is an ordinary user)]:word:(true false auto)' \
		'--criu[refused\: this build has no checkpoint and restore, which CRIU is for]:file:_files' \
		'--version[print the version]' \
		'-v[print the version]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1: :_no_frills_commands' \
		'*:: :->arguments'
	[[ $state == arguments ]] || return
	case $words[1] in
	run)
		_arguments \
		'--bundle[the bundle'\''s directory (the current one unless given)]:directory:_directories' \
		'-b[the bundle'\''s directory (the current one unless given)]:directory:_directories' \
		'--config[the configuration (config.json of the bundle unless given); crun'\''s]:file:_files' \
		'-f[the configuration (config.json of the bundle unless given); crun'\''s]:file:_files' \
		'--console-socket[unix socket that is sent the terminal]:file:_files' \
		'--pidfd-socket[unix socket that is sent a pidfd of the process]:file:_files' \
		'--pid-file[file to write the pid of the process to]:file:_files' \
		'--no-pivot[do not use pivot_root, for a root file system on a ramdisk]' \
		'--no-new-keyring[keep the caller'\''s session keyring]' \
		'--preserve-fds[pass N file descriptors, from 3 on, to the process]:number:' \
		'--detach[return once the program runs]' \
		'-d[return once the program runs]' \
		'--keep[do not delete the container when it has exited]' \
		'--no-subreaper[do not adopt and reap processes that a container without a pid namespace orphans]' \
		'--timings=-[print on standard error where the time went (as a table unless given)]::word:(table json)' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1: :' ;;
	create)
		_arguments \
		'--bundle[the bundle'\''s directory (the current one unless given)]:directory:_directories' \
		'-b[the bundle'\''s directory (the current one unless given)]:directory:_directories' \
		'--config[the configuration (config.json of the bundle unless given); crun'\''s]:file:_files' \
		'-f[the configuration (config.json of the bundle unless given); crun'\''s]:file:_files' \
		'--console-socket[unix socket that is sent the terminal]:file:_files' \
		'--pidfd-socket[unix socket that is sent a pidfd of the process]:file:_files' \
		'--pid-file[file to write the pid of the process to]:file:_files' \
		'--no-pivot[do not use pivot_root, for a root file system on a ramdisk]' \
		'--no-new-keyring[keep the caller'\''s session keyring]' \
		'--preserve-fds[pass N file descriptors, from 3 on, to the process]:number:' \
		'--timings=-[print on standard error where the time went (as a table unless given)]::word:(table json)' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1: :' ;;
	start)
		_arguments \
		'--timings=-[print on standard error where the time went (as a table unless given)]::word:(table json)' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	exec)
		_arguments \
		'--process[file with the process as in config.json; flags that change the container'\''s own then have no effect]:file:_files' \
		'-p[file with the process as in config.json; flags that change the container'\''s own then have no effect]:file:_files' \
		'--tty[give the process a terminal]' \
		'-t[give the process a terminal]' \
		'--cwd[working directory in the container (the container'\''s own unless given)]:text:' \
		'--env[set an environment variable; may be repeated]:text:' \
		'-e[set an environment variable; may be repeated]:text:' \
		'--user[ids to run as, numbers (the container'\''s own unless given)]:text:' \
		'-u[ids to run as, numbers (the container'\''s own unless given)]:text:' \
		'--additional-gids[one more group; may be repeated]:number:' \
		'-g[one more group; may be repeated]:number:' \
		'--cap[add a capability, though not to the inheritable ones; may be repeated]:text:' \
		'-c[add a capability, though not to the inheritable ones; may be repeated]:text:' \
		'--no-new-privs[let no program that the process executes gain privileges]' \
		'--process-label[SELinux label of the process]:text:' \
		'--apparmor[AppArmor profile of the process]:text:' \
		'--console-socket[unix socket that is sent the terminal]:file:_files' \
		'--pidfd-socket[unix socket that is sent a pidfd of the process]:file:_files' \
		'--pid-file[file to write the pid of the process to]:file:_files' \
		'--preserve-fds[pass N file descriptors, from 3 on, to the process]:number:' \
		'--detach[return once the program runs]' \
		'-d[return once the program runs]' \
		'--cgroup[run the process in this cgroup, which exists below the container'\''s]:text:' \
		'--ignore-paused[take a paused container too\: the process runs when it is resumed]' \
		'--timings=-[print on standard error where the time went (as a table unless given)]::word:(table json)' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	state)
		_arguments \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	pause)
		_arguments \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	resume)
		_arguments \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	kill)
		_arguments \
		'--all[signal every process of the container; a stopped container is no error]' \
		'-a[signal every process of the container; a stopped container is no error]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	delete)
		_arguments \
		'--force[kill the container if it runs; a missing one is no error]' \
		'-f[kill the container if it runs; a missing one is no error]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	list)
		_arguments \
		'--format[how to print (table unless given)]:word:(table json)' \
		'-f[how to print (table unless given)]:word:(table json)' \
		'--quiet[print the ids alone]' \
		'-q[print the ids alone]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1: :' ;;
	update)
		_arguments \
		'--resources[file with limits as linux.resources in config.json, - for standard input; flags count for more]:file:_files' \
		'-r[file with limits as linux.resources in config.json, - for standard input; flags count for more]:file:_files' \
		'--memory[the most memory, also with a unit, as in 64m; -1 for no limit]:text:' \
		'--memory-reservation[the memory that is kept for it]:text:' \
		'--memory-swap[the most memory and swap together; needs --memory; -1 for no limit]:text:' \
		'--cpu-share[the share of processor time; 1024 is what others have]:text:' \
		'--cpu-quota[processor time in each period; -1 for no limit]:text:' \
		'--cpu-period[the period of the quota]:text:' \
		'--cpu-burst[processor time that may be saved up beyond the quota]:text:' \
		'--cpu-idle[1\: run only when nobody else wants to]:text:' \
		'--cpu-rt-period[refused\: cgroup v2 has no groups of realtime processes]:text:' \
		'--cpu-rt-runtime[refused, as --cpu-rt-period]:text:' \
		'--cpuset-cpus[the processors to run on, as in 0-3,7]:text:' \
		'--cpuset-mems[the memory nodes to use]:text:' \
		'--pids-limit[the most processes and threads; -1 for no limit]:text:' \
		'--blkio-weight[the share of block devices, from 10 to 1000]:text:' \
		'--l3-cache-schema[lines of the resctrl schema for the cache, for a container with linux.intelRdt]:text:' \
		'--mem-bw-schema[line of the resctrl schema for memory bandwidth]:text:' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	ps)
		_arguments \
		'--format[how to print (table unless given)]:word:(table json)' \
		'-f[how to print (table unless given)]:word:(table json)' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	events)
		_arguments \
		'--stats[print the statistics once]' \
		'--interval[how often to print statistics, as 500ms or 1m30s (5s unless given)]:text:' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:container:_no_frills_containers' ;;
	spec)
		_arguments \
		'--bundle[where to write config.json (the current directory unless given)]:directory:_directories' \
		'-b[where to write config.json (the current directory unless given)]:directory:_directories' \
		'--rootless[for a container that a user without privileges runs]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1: :' ;;
	features)
		_arguments \
		'--help[print this help]' \
		'-h[print this help]' \
		'1: :' ;;
	info)
		_arguments \
		'--format[how to print (table unless given)]:word:(table json)' \
		'-f[how to print (table unless given)]:word:(table json)' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1: :' ;;
	check)
		_arguments \
		'--format[how to print (table unless given)]:word:(table json)' \
		'-f[how to print (table unless given)]:word:(table json)' \
		'--no-pivot[do not use pivot_root, for a root file system on a ramdisk]' \
		'--no-new-keyring[keep the caller'\''s session keyring]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:bundle:_directories' ;;
	plan)
		_arguments \
		'--json[print as JSON]' \
		'--no-pivot[do not use pivot_root, for a root file system on a ramdisk]' \
		'--no-new-keyring[keep the caller'\''s session keyring]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:bundle:_directories' ;;
	seccomp)
		_arguments \
		'--bundle[the bundle'\''s directory (the current one unless given)]:directory:_directories' \
		'-b[the bundle'\''s directory (the current one unless given)]:directory:_directories' \
		'--bpf[print the program instead, an instruction a line, as bpf_asm of the kernel'\''s sources writes it]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:bundle:_directories' ;;
	completion)
		_arguments \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:word:(bash zsh fish)' ;;
	install)
		_arguments \
		'--prefix[where to install\: DIR/bin, DIR/share/man and so on (/usr/local unless given)]:directory:_directories' \
		'--destdir[put before every path, for packages (nothing unless given)]:directory:_directories' \
		'--uninstall[remove what was installed there, instead]' \
		'--dry-run[do nothing but print the paths]' \
		'--help[print this help]' \
		'-h[print this help]' \
		'1: :' ;;
	help)
		_arguments \
		'--help[print this help]' \
		'-h[print this help]' \
		'1:word:(run create start exec state pause resume kill delete list update ps events spec features info check plan seccomp completion install help)' ;;
	esac
}
compdef _no_frills no-frills
