#!/usr/bin/env bash
# fault_points.sh: a replay killed at any fault point of the tree goes on where it was, and ends with the examples, the
# counters and the model of a replay that nobody killed.  The points are found by grep: a new one is covered at once.
# tests/crash/kill goes through all of them, against a broker too.
. "$(dirname "$0")/lib.sh"
KILLED=137
DIGESTS="events impressions clicks examples positives batches rows example_digest model_digest accounting"

points=$(grep -rhoE --include='*.c' '\bFAULT\("[^"]+"\)' "$ROOT"/{base,configs,featurestore,ingest,learner,ops,scorer} |
  sed 's/.*"\(.*\)".*/\1/' | grep -E '^(ingest|store|publish)\.' | sort -u)
[ -n "$points" ] || fail "no fault points are found"
"$UNDINE" generate --events 20000 --seed 21 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"

# replay NAME INTERVAL: versions are made every INTERVAL; the report in NAME.json, the state in NAME
policy=""
replay() {
  # shellcheck disable=SC2086
  "$UNDINE" replay --config "$ROOT/configs/demo.yaml" --input "$tmp/events.jsonl" --state "$tmp/$1" \
    -o snapshot.interval="$2" -o ingest.poll_max=53 -o store.sync_interval=20ms $policy > "$tmp/$1.json" 2> "$tmp/$1.log"
}
replay whole 1h || fail "an uninterrupted replay ends with $?"

# killed_at POINT INTERVAL: it must be killed there, and the next replay must end as the whole one did
killed_at() {
  code=0
  rm -rf "$tmp/state"
  { UNDINE_FAULT=$1 replay state "$2" || code=$?; } 2> /dev/null # the shell's word on the kill
  if [ $code -eq 0 ] && [ "$n_killed" -eq 0 ]; then
    skip "this build has no fault points (UNDINE_FAULTS=ON)"
  fi
  if [ $code -eq 0 ] && [ "${1%:3}" != "$1" ]; then
    say "$1, versions every $2: this machine is through before it passes there a third time"
    return
  fi
  [ $code -eq $KILLED ] || fail "$1, versions every $2: ended with $code instead of being killed"
  n_killed=$((n_killed + 1))
  versions=$(find "$tmp/state/versions" -maxdepth 1 -name '0*' | wc -l)
  replay state "$2" || fail "after $1, versions every $2: the next replay ends with $?"
  # shellcheck disable=SC2086
  same "$tmp/whole.json" "$tmp/state.json" $DIGESTS
  say "ok: $1, versions every $2: $versions versions at the kill, $(field "$tmp/state.json" version) at the end"
}
n_killed=0
for point in $points; do
  killed_at "$point" 100ms
  killed_at "$point:3" 100ms
  case $point in
  publish.*) killed_at "$point" 1h ;; # the last version, which is also the first
  esac
done
# Impressions that are known for a second label outlive a restart too.
for policy in "-o join.window=2s -o join.late_click=correct" "-o join.window=2s -o join.label=fnw"; do
  rm -rf "$tmp/whole"
  replay whole 1h || fail "an uninterrupted replay with $policy ends with $?"
  [ "$(field "$tmp/whole.json" accounting.revised)" -gt 1000 ] || fail "$policy: too few examples are revised"
  killed_at ingest.after_write:3 100ms
  killed_at publish.after_current 100ms
done
say "ok: $n_killed kills at $(echo "$points" | wc -l) points"
