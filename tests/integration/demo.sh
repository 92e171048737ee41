#!/usr/bin/env bash
# demo.sh: the demo with its embedded broker runs, says what it must, and leaves nothing behind, also when it is interrupted.
. "$(dirname "$0")/lib.sh"
mkdir "$tmp/place"
here=$tmp/place

demo() { exec env TMPDIR="$here" "$UNDINE" demo -o http.listen= "$@"; }

# Processes of that demo: it and its children, known by their environment.
processes() {
  local d
  for d in /proc/[0-9]*; do
    if tr '\0' '\n' < "$d/environ" 2> /dev/null | grep -qxF "TMPDIR=$here"; then echo "${d#/proc/}"; fi
  done 2> /dev/null
}
left_nothing() {
  [ -z "$(ls -A "$here")" ] || fail "left behind: $(ls -A "$here")"
  [ -z "$(processes)" ] || fail "processes are left: $(processes)"
}

# After the first window, 6 s of the stream, there are examples.
(demo --seconds 11) > "$tmp/demo.log" 2>&1 || fail "the demo ended with $?"
left_nothing
grep -qE 'examples learned, every event accounted for: yes$' "$tmp/demo.log" || fail "the accounting does not close"
grep -qE '^model: AUC 0\.[0-9]+, logloss [0-9.]+; item popularity: AUC' "$tmp/demo.log" || fail "no AUC is shown"
grep -qE '^scores, .* version [1-9][0-9]* 0\.[0-9]+ / 0\.[0-9]+ after [0-9]+ swaps$' "$tmp/demo.log" || fail "no version was scored with"
[ "$(grep -cE '^ +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ \|' "$tmp/demo.log")" -ge 8 ] || fail "no row a second"

# Ctrl-C: the terminal sends SIGINT to the whole group. Again until it ends: the first may come before it listens.
for moment in 0.1 2.5; do
  setsid env TMPDIR="$here" "$UNDINE" demo -o http.listen= > "$tmp/stopped.log" 2>&1 &
  demo=$!
  pids=$demo
  sleep "$moment"
  [ "$moment" = 0.1 ] || [ -n "$(processes)" ] || fail "the search for processes is broken"
  for _ in $(seq 100); do
    kill -INT -- "-$demo" 2> /dev/null || break
    sleep 0.3
  done
  wait "$demo" || fail "after SIGINT at $moment s it ended with $?: $(tail -n 3 "$tmp/stopped.log")"
  pids=""
  left_nothing
done
grep -q 'every event accounted for: yes' "$tmp/stopped.log" || fail "nothing is said after SIGINT"
say "ok: $(grep 'examples learned' "$tmp/demo.log")"
