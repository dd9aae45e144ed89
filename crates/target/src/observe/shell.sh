# Read by the shell of another machine, on its stdin: answers requests, each a line of shell that memtrial sends.
# BOUNDARY is a word that nothing else has in it; what is read of /proc stands before a line that begins with it.

B=@BOUNDARY@ d= w= g= m=
setsid=$(command -v setsid)

answer() { printf '\n%s %s\n' "$B" "$1"; }

# Prints what a command does, and its status.
part() {
    LC_ALL=C "$@" 2>&1 < /dev/null
    answer "$?"
}

# Makes a folder in which files can be run, and answers whether there is one.
prepare() {
    for place in "${TMPDIR:-/tmp}" /var/tmp /dev/shm; do
        d=$(umask 077 && mktemp -d "$place/memtrial.XXXXXX" 2> /dev/null) || { d= && continue; }
        printf '#!/bin/sh\nexit 0\n' > "$d/try" && chmod 700 "$d/try" && "$d/try" && rm "$d/try" && answer 0 && return
        rm -rf "$d"
        d=
    done 2> /dev/null
    answer 1
}

# Takes a program of so many bytes off stdin and runs it in place of this loop. If less was written than sent, the
# rest would be taken for requests: then all ends.
take() {
    (umask 077 && head -c "$1" > "$d/memtrial") && [ "$(wc -c < "$d/memtrial")" -eq "$1" ] || leave
    chmod 700 "$d/memtrial"
    "$d/memtrial" observe-server "$d"
    s=$?
    rm -rf "$d"
    d=
    [ "$s" -eq 0 ] && exit 0
    answer "$s"
}

# Runs the command $2 under the mark $1. What it prints goes to stderr, with the boundary behind it.
action() {
    m=$1 g=
    (
        MEMTRIAL_ACTION=$1 $setsid sh -c "$2" < /dev/null >&2 &
        { wait "$!"; } 2> /dev/null
        s=$?
        printf '\n%s\n' "$B" >&2
        answer "end $s"
    ) &
    w=$!
}

# Whether the action has not ended by itself.
running() {
    s=
    [ -n "$w" ] && { read -r s < "/proc/$w/stat"; } 2> /dev/null
    case $s in '' | *') Z '* | *') X '*) return 1 ;; esac
}

below() {
    for child in $(cat "/proc/$1/task"/*/children 2> /dev/null); do
        printf '%s\n' "$child"
        below "$child"
    done
}

# Names the files of environments with the action's mark. There are greps that see no further than a NUL byte: then all
# files are read by one process, which writes the name of each before what is in it, as one for each takes too long.
marked() {
    if printf 'a\000b' | grep -q -F -e b; then
        grep -l -F -e "MEMTRIAL_ACTION=$m" /proc/[0-9]*/environ
    else
        head -c 4194304 /proc/[0-9]*/environ | tr '\000' '\n' |
            grep -F -e '==> /proc/' -e "MEMTRIAL_ACTION=$m" |
            while read -r word file _; do
                case $word in
                    '==>') last=$file ;;
                    "MEMTRIAL_ACTION=$m") printf '%s\n' "$last" ;;
                esac
            done
    fi 2> /dev/null
}

# All that the action has started and that lives.
all() {
    below "$w"
    marked | while IFS=/ read -r _ _ pid _; do printf '%s\n' "$pid"; done
}

signal() {
    k=$(all)
    # Its first process leads a group, unless there is no setsid here.
    [ -n "$g" ] || [ -z "$setsid" ] || g=$(printf '%s\n' "$k" | head -n 1)
    # shellcheck disable=SC2086 # words are meant
    kill -s "$1" -- $k ${g:+"-$g"} 2> /dev/null
    [ -n "$k" ]
}

moment() { sleep 0.1 2> /dev/null || sleep 1; }

# Ends the action with all that it has started.
stop() {
    if running; then
        signal TERM
        n=0
        while [ "$n" -lt 10 ] && { running || [ -n "$(all)" ]; }; do moment; n=$((n + 1)); done
        n=0
        while { signal KILL || running; } && [ "$n" -lt 50 ]; do moment; n=$((n + 1)); done
    fi
    w=
}

leave() {
    stop
    [ -z "$d" ] || rm -rf "$d"
    exit 0
}

trap : PIPE
trap leave HUP TERM
# In one piece: of what a shell has not read when it says hello, requests would become a part, or the other way round.
{
    answer "hello $(uname -m) $$"
    while IFS= read -r line; do eval "$line"; done
    leave
}
