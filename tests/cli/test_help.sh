#!/usr/bin/env bash
# Help and man pages come from the option tables: every job and verb has both, they agree, and groff has nothing to say.
# labels: help
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

grep -qE '^thaw [0-9]+\.[0-9]+\.[0-9]+' <<<"$(thaw --version)" || fail "thaw --version says: $(thaw --version)"
grep -qE '^thaw-lookup [0-9]+\.[0-9]+\.[0-9]+' <<<"$(thaw-lookup --version)" || fail "thaw-lookup --version says: $(thaw-lookup --version)"

check_page() { # FILE
    if command -v groff >/dev/null; then
        groff -ww -man -Tutf8 -z "$1" 2>warnings || fail "$1: groff fails"
        [ ! -s warnings ] || fail "$1: $(cat warnings)"
    fi
    if command -v man >/dev/null; then
        LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$1" >/dev/null 2>warnings || fail "$1: man fails"
        [ ! -s warnings ] || fail "$1: $(cat warnings)"
    fi
}

check_program() { # PROGRAM
    local program=$1 name names page
    $program --help >help || fail "$program --help fails"
    $program --man >"$program.1" || fail "$program --man fails"
    check_page "$program.1"
    names=$(sed 's/\\-/-/g' "$program.1" | sed -nE "s/^\.BR $program-([a-z]+) \(1\).*/\1/p" | sort -u)
    [ "$program" = thaw-lookup ] || names=$(grep -vx lookup <<<"$names")
    [ "$(wc -w <<<"$names")" -ge 6 ] || fail "$program --man names only: $names"
    for name in $names; do
        grep -qw -- "$name" help || fail "$program --help does not name $name"
        page=$program-$name.1
        $program "$name" --help >text || fail "$program $name --help fails"
        $program --man "$name" >"$page" || fail "$program --man $name fails"
        check_page "$page"
        # The same options in both.
        grep -oE '^ {2,6}(-[a-z], )?--[a-z][a-z-]*' text | grep -oE -- '--[a-z-]+' | sort -u >a
        sed 's/\\-/-/g' "$page" | sed -n '/^\.SH OPTIONS/,/^\.SH E/p' | grep -A 1 '^\.TP' | grep -oE -- '--[a-z][a-z-]*' | sort -u >b
        [ -s a ] || fail "$program $name --help lists no options"
        diff a b >&2 || fail "$program $name: help and man page list different options"
        echo "$program $name: $(wc -l <a) options"
    done
}
check_program thaw
check_program thaw-lookup

# The guide explains every exit status.
for code in $(sed -n '/^\.SH EXIT STATUS/,/^\.SH E[^X]/s/^\.B \([0-9]*\)$/\1/p' thaw.1); do
    grep -q "^| $code |" "$THAW_SOURCE/docs/operations.md" || fail "docs/operations.md does not explain exit status $code"
    grep -A 1 "^\.B $code\$" thaw.1 | tail -n 1 | grep -q '^[A-Z]' || fail "thaw --man does not say what exit status $code is"
    codes=$((${codes-0} + 1))
done
[ "$codes" -ge 10 ] || fail "thaw --man lists only ${codes-0} exit statuses"

# Errors: usage is 64, on stderr, one line that names the trouble and helps.
refused 64 trian thaw trian
refused 64 interactions thaw synth --out x --interaction 5
refused 64 out thaw synth
refused 64 users thaw synth --out x --users many
refused 64 cold-fraction thaw synth --out x --cold-fraction 1.5
refused 64 recomend thaw-lookup recomend x
[ ! -e x ] || fail "a refused command left x"
