#!/usr/bin/env bash
# `inspect store --verify` finds whatever is wrong with a state: bits flipped in any file, values that do not fit each
# other, counters that are off, versions cut short; and nothing on a state that is whole, while it is written to.
. "$(dirname "$0")/lib.sh"
config=$ROOT/configs/demo.yaml
small="-o store.write_buffer=4MiB -o ingest.poll_max=500" # so that most of it is in table files

# verify STATE: its answer in verify.json, its word in verify.log
verify() { "$UNDINE" inspect store --verify --state "$1" --config "$config" > "$tmp/verify.json" 2> "$tmp/verify.log"; }
valid() {
  verify "$1" || fail "$1 is not valid: $(cat "$tmp/verify.log")"
  [ "$(field "$tmp/verify.json" valid)" = true ] || fail "$1 is not valid"
}
# invalid STATE PATTERN: exit code 1, and the place in the error
invalid() {
  code=0
  verify "$1" || code=$?
  [ $code = 1 ] || fail "exit code $code, expected 1 and: $2"
  grep -q -- "$2" "$tmp/verify.log" || fail "expected: $2; got: $(cat "$tmp/verify.log")"
}

"$UNDINE" generate --events 60000 --seed 5 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
{ head -n 59990 "$tmp/events.jsonl"; echo '{"kind":'; tail -n 10 "$tmp/events.jsonl"; } > "$tmp/input.jsonl"
"$UNDINE" replay --config "$config" --input "$tmp/input.jsonl" --state "$tmp/whole" --keep-open $small \
  > "$tmp/replay.json" 2> "$tmp/replay.log"
valid "$tmp/whole"
for family in sequence arrivals example meta; do expect "$tmp/verify.json" families.$family.files -ge 1; done
for name in users steps arrival_events waiting pending examples positions malformed_samples versions; do
  expect "$tmp/verify.json" $name -ge 1
done
[ "$(field "$tmp/verify.json" waiting)" = "$(field "$tmp/replay.json" accounting.waiting)" ] || fail "waiting"
[ "$(field "$tmp/verify.json" pending)" = "$(field "$tmp/replay.json" accounting.pending)" ] || fail "pending"
[ "$(field "$tmp/verify.json" example_head)" = "$(($(field "$tmp/replay.json" accounting.positives) + $(field "$tmp/replay.json" accounting.negatives)))" ] || fail "examples"
say "ok: a whole state: $(field "$tmp/verify.json" families)"

python3 "$ROOT/tests/integration/verify_flips.py" "$tmp/whole" "$config" "${UNDINE_FLIPS:-40}"
valid "$tmp/whole"

damaged() {
  rm -rf "$tmp/damaged"
  cp -r "$tmp/whole" "$tmp/damaged"
  "$BUILD/tests/break_store" "$tmp/damaged" "$1"
  invalid "$tmp/damaged" "$2"
}
damaged events 'events = applied + waiting'
damaged examples 'negatives, the counters say\|entries of the example log'
damaged arrivals 'waiting events and .* pending impressions, its counters say'
damaged example 'example, log up to .* are missing'
damaged sequence 'has another hash than its key'
damaged unknown 'unknown: no value of this name'
say "ok: values that do not fit each other"

version=$(cat "$tmp/whole/versions/CURRENT")
broken() {
  rm -rf "$tmp/damaged"
  cp -r "$tmp/whole" "$tmp/damaged"
  (cd "$tmp/damaged/versions" && eval "$1")
  invalid "$tmp/damaged" "$2"
}
broken "truncate -s -1 $version/model.safetensors" "$version.*model.safetensors"
broken "truncate -s 100 $version/train.safetensors" "$version.*train.safetensors"
broken "rm $version/train.safetensors" "$version.*train.safetensors"
broken "truncate -s -9 $version/manifest.json" "$version.*manifest.json"
broken "mv $version 000000000077" 'versions'
broken "echo 000000000099 > CURRENT" 'CURRENT.*000000000099'
say "ok: damaged versions"

# A store of a newer undine: no start, and it says why.  (A user is read when it is needed, an example when it is learned.)
for name in sequence example; do damaged "future:$name" 'found format version 2, this program knows versions up to 1'; done
for name in ingest config position/ arrivals; do
  rm -rf "$tmp/damaged"
  cp -r "$tmp/whole" "$tmp/damaged"
  "$BUILD/tests/break_store" "$tmp/damaged" "future:$name"
  code=0
  "$UNDINE" replay --config "$config" --input "$tmp/input.jsonl" --state "$tmp/damaged" --keep-open \
    > "$tmp/future.json" 2> "$tmp/future.log" || code=$?
  [ $code = 4 ] || fail "future:$name: exit code $code, not 4: $(cat "$tmp/future.log")"
  grep -q "found format version 2, this program knows versions up to 1: a newer undine wrote it" "$tmp/future.log" ||
    fail "future:$name: $(cat "$tmp/future.log")"
done
say "ok: values of a newer format"

# While a daemon writes.  It reads from a pipe, so that the test decides how long that takes.
mkfifo "$tmp/pipe"
"$UNDINE" replay --config "$config" --input "$tmp/pipe" --state "$tmp/live" --keep-open $small \
  -o store.sync_interval=10ms > "$tmp/live.json" 2> "$tmp/live.log" &
pid=$!
pids=$pid
exec 3> "$tmp/pipe"
(for from in $(seq 1 500 58501); do sed -n "$from,$((from + 499))p" "$tmp/events.jsonl"; sleep 0.05; done >&3) &
pids="$pid $!"
feeder=$!
checked=0
while kill -0 $feeder 2> /dev/null; do
  [ -s "$tmp/live/store/CURRENT" ] || continue
  valid "$tmp/live"
  [ "$(field "$tmp/verify.json" live)" = true ] || fail "the state is not known to be live"
  checked=$((checked + 1))
done
exec 3>&-
wait $pid || fail "the replay of the pipe failed"
valid "$tmp/live"
[ "$(field "$tmp/verify.json" live)" = false ] || fail "the state is taken to be live"
[ $checked -ge 3 ] || fail "only $checked checks of a live state"
say "ok: $checked checks of a live state, $(field "$tmp/verify.json" commit) commits"
