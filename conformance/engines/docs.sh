#!/bin/sh
# Tries docs/engines.md word for word: the files and the commands that it shows, in machines of their own with systemd,
# where the engines are Debian's: of trixie (containerd 1.7), and of sid (containerd 2).
#
#   conformance/engines/docs.sh [SUITE...]
#
# Fails if a command fails, or if what runs is not no-frills.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
page=$here/docs/engines.md

# The fenced block after the line "`FILE`:" (or "`FILE` (NOTE):"), or the shell blocks of a section.
file() { awk -v wanted="$1:" '{ line = $0; gsub(/`/, "", line) } line == wanted { found = 1 } found && /^```/ { if (inside) exit; inside = 1; next } inside' "$page"; }
commands() { awk -v wanted="## $1" '/^## / { section = $0 } section != wanted { next } /^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$page"; }

put() {
	content=$(file "$1")
	[ -n "$content" ] || { echo "docs: there is no file $1 in docs/engines.md" >&2 && exit 1; }
	printf 'mkdir -p "$(dirname %s)"\ncat >%s <<"END OF FILE"\n%s\nEND OF FILE\n' "$2" "$2" "$content"
}
run() {
	lines=$(commands "$1")
	[ -n "$lines" ] || { echo "docs: there are no commands for $1 in docs/engines.md" >&2 && exit 1; }
	printf 'echo "== %s"\n%s\n' "$1" "$lines"
}

for suite in ${*:-trixie sid}; do
	case $suite in
	trixie) version=2 ;;
	*) version=3 ;;
	esac
	script=$(
		cat <<-'END'
			set -eux
			cp target/release/no-frills /usr/local/bin
			# Images of that name, as a registry would give them. The program that is run says what it is run by.
			mkdir -p /tmp/image/bin
			cp /bin/busybox /tmp/image/bin
			for applet in sh echo cat; do ln -s busybox /tmp/image/bin/$applet; done
			tar -C /tmp/image -cf /tmp/image.tar .
			systemctl unmask --runtime containerd.service docker.service docker.socket
			rm -f /etc/systemd/system/containerd.service /etc/systemd/system/docker.service /etc/systemd/system/docker.socket
			systemctl daemon-reload
		END
		put "/etc/containerd/config.toml (version $version)" /etc/containerd/config.toml
		cat <<-'END'
			systemctl restart containerd
			containerd config dump | grep -A 12 'runtimes.no-frills' | grep BinaryName
		END
		put /etc/docker/daemon.json /etc/docker/daemon.json
		cat <<-'END'
			systemctl start docker
			docker import --change 'CMD ["sh"]' --change 'ENV PATH=/bin' /tmp/image.tar busybox
			docker save busybox -o /tmp/saved.tar
			ctr images import /tmp/saved.tar
			# Whoever lets runc do something from here on, is told of. Docker asks it for its version when it starts.
			real=$(readlink -f "$(command -v runc)")
			mv "$real" "$real.real"
			{
				echo '#!/bin/sh'
				echo 'case " $* " in *" --version "* | *" features "*) ;; *) echo "$*" >>/tmp/runc-was-called ;; esac'
				echo "exec $real.real \"\$@\""
			} >"$real"
			chmod 755 "$real"
		END
		put /etc/systemd/system/docker.service.d/no-frills.conf /etc/systemd/system/docker.service.d/no-frills.conf
		run Docker
		cat <<-'END'
			[ "$(docker info --format '{{.DefaultRuntime}}')" = no-frills ]
			[ "$(docker run --rm busybox echo hello)" = hello ]
			[ "$(docker run --rm built cat /built)" = built ]
		END
		run containerd
		cat <<-'END'
			ctr plugins ls | grep cri
		END
		put /etc/containers/containers.conf /etc/containers/containers.conf
		cat <<-'END'
			podman load --input /tmp/saved.tar
		END
		run Podman
		cat <<-'END'
			[ "$(podman info --format '{{.Host.OCIRuntime.Name}}')" = no-frills ]
			[ "$(podman run --rm --cgroups=disabled busybox echo hello)" = hello ]
		END
		run Buildah
		echo '[ ! -e /tmp/runc-was-called ] || { cat /tmp/runc-was-called; exit 1; }'
		echo 'set +x; echo "all that docs/engines.md shows works"'
	)
	SUITE=$suite "$here/conformance/guest/run.sh" --timeout 900 --shell "$script"
done
