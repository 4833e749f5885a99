#!/usr/bin/env bash
# However a cluster ends, nothing of it is left: no process, no namespace, no link, no mount.
# labels: once
set -euo pipefail
tmp=$(mktemp -d)
c=$tmp/c owner=
trap 'cluster down || :; [ -z "$owner" ] || kill -KILL "$owner" 2>/dev/null || :; rm -rf "$tmp"' EXIT
cluster() { bash "$THAW_SOURCE/tests/cluster/cluster" "$1" "$c" "${@:2}"; }
fail() { echo "failed: $*"; exit 1; }
here() { cut -d ' ' -f 5 /proc/self/mountinfo | sort && ls /sys/class/net; } # mounts and links of the machine

before=$(here)
up() { # OPTIONS
    cluster up "$@" || exit $?
    [ "$(cluster run srun -N 3 hostname | sort | tr '\n' ' ')" = 'node1 node2 node3 ' ] || fail "the nodes do not work"
    [ "$(cluster on 2 hostname) $(cluster run id -un)" = 'node2 ada' ] || fail "wrong places"
    [ "$(here)" = "$before" ] || fail "the machine's own mounts or links have changed: $(here)"
    inside=$(cluster root bash -c 'readlink /proc/[0-9]*/ns/{net,pid,mnt} || :' | sort -u) # some processes are just ending
    [ "$(grep -c net: <<<"$inside")" = 4 ] || fail "not four networks: $inside"
}
left() { # processes outside that are in one of its namespaces, or have its folder for an argument
    local process
    for process in /proc/[0-9]*; do
        if readlink "$process"/ns/{net,pid,mnt} 2>/dev/null | grep -qxF "$inside" ||
            { [ "$process" != /proc/$$ ] && tr '\0' '\n' 2>/dev/null <"$process/cmdline" | grep -qxF "$c"; }; then
            echo "$process: $(tr '\0' ' ' <"$process/cmdline")"
        fi
    done 2>/dev/null
}
ends() { # WAY
    local end=$((SECONDS + 30))
    until [ -z "$(left)" ]; do
        ((SECONDS < end)) || fail "after $1 there is left: $(left)"
        sleep 0.2
    done
    [ "$(here)" = "$before" ] || fail "after $1 mounts or links are left"
    echo "nothing is left after $1"
}

up
[ -n "$(left)" ] || fail "what runs cannot be seen"
cluster down
ends "an orderly end"

up
kill -KILL "$(<"$c/run/keep")"
ends "the death of its keeper"

up
kill -KILL "$(<"$c/run/held")"
ends "the death of what holds its namespace"
cluster down

sleep 1000 &
owner=$!
up --with "$owner"
kill -KILL "$owner"
ends "the death of its owner"
end=$((SECONDS + 30))
while [ -e "$c" ]; do
    ((SECONDS < end)) || fail "its folder is left"
    sleep 0.2
done
