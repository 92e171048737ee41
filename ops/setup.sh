# setup.sh: sourced by ops/test and ops/quickstart: what this machine lacks, and how it gets it.
#
#   setup_packages INSTALL GROUP...   INSTALL: yes = install what is missing, no = only say so.
# ops/packages names the packages of each group.  Quiet and fast where nothing is missing.

setup_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

setup_say() { echo "setup: $*" >&2; }

setup_has() { # setup_has PACKAGE: is it installed?
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The alternatives of every line of the groups, "a | b", one line each, where none of them is installed.
setup_missing() {
    local group name line alternative found
    while IFS= read -r line; do
        line=${line%%#*}
        read -r group name <<<"$line"
        [ -n "$name" ] || continue
        case " $* " in *" $group "*) ;; *) continue ;; esac
        found=no
        for alternative in ${name//|/ }; do
            if setup_has "$alternative"; then
                found=yes
                break
            fi
        done
        [ "$found" = yes ] || echo "$name"
    done <"$setup_root/ops/packages"
}

# Of each line of alternatives the first that the distribution has.
setup_choose() {
    local line alternative
    while IFS= read -r line; do
        for alternative in ${line//|/ }; do
            if [ -n "$(apt-cache madison "$alternative" 2>/dev/null)" ]; then
                echo "$alternative"
                continue 2
            fi
        done
        setup_say "this distribution has no package $line"
        return 1
    done
}

setup_apt() { # setup_apt LOG ARGUMENT...: apt-get as root, its output kept for the case of failure
    local log=$1 as_root=()
    shift
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { setup_say "neither root nor sudo: install the packages yourself"; return 1; }
        as_root=(sudo)
    fi
    # Another apt may hold the lock (unattended upgrades); a mirror may stumble.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >>"$log" 2>&1
}

setup_packages() {
    local install=$1 missing packages log
    shift
    if ! command -v dpkg-query >/dev/null; then
        setup_say "not Debian or Ubuntu: ops/packages names what is needed (groups: $*)"
        [ "$install" = no ]
        return
    fi
    missing=$(setup_missing "$@")
    [ -n "$missing" ] || return 0
    if [ "$install" = no ]; then
        setup_say "not installed as packages: ${missing//$'\n'/, }"
        setup_say "going on without them (--no-install); what is really needed and absent fails below"
        return 0
    fi
    log=$(mktemp "${TMPDIR:-/tmp}/undine-setup.XXXXXX")
    # An unreachable foreign source is no reason to stop: the install shows whether ours are there.
    setup_apt "$log" update -qq || setup_say "apt-get update reported errors (log: $log)"
    packages=$(setup_choose <<<"$missing") || return 1
    setup_say "installing with apt-get:" $packages
    if ! setup_apt "$log" install -y -qq --no-install-recommends $packages; then
        tail -15 "$log" >&2
        setup_say "apt-get install failed (log: $log)"
        return 1
    fi
    rm -f "$log"
}
