# What the scripts here share about Debian machines. Sourced, with `here` set to the project's directory.
# shellcheck shell=sh

# apt of this machine, which may be at work already.
machine() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"
}

# Installs the packages named, if there are any.
install_packages() {
	[ $# -gt 0 ] || return 0
	say "installing $*"
	machine install -y --no-install-recommends "$@" >&2 || {
		machine update >&2
		machine install -y --no-install-recommends "$@" >&2
	}
}

# Prints the mirror that this machine uses already, from either format of sources. The first entry of the
# main archive counts; the security archive has no sid.
mirror() {
	{
		sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null
		sed -n 's/^deb[[:space:]]\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' \
			/etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null
	} | grep '/debian/*$' | head -n 1 | grep . && return
	say "no Debian mirror found in /etc/apt/sources.list or /etc/apt/sources.list.d"
	return 1
}
