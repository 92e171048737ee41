#!/usr/bin/env bash
# The gate: a model that a hundredfold rate ruined in the middle of the stream is refused under `enforce` and published under
# `warn`, a healthy one passes, and so after a restart.  One that learned from flipped labels is refused as soon as they are right.
. "$(dirname "$0")/lib.sh"

coproc BROKER { exec "$UNDINE" mock-broker --topic impressions:2 --topic clicks:2 2> "$tmp/broker.log"; }
pids=$BROKER_PID
read -r -u "${BROKER[0]}" _ boot
"$UNDINE" generate --events 30000 --seed 5 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
head -n 20000 "$tmp/events.jsonl" > "$tmp/first.jsonl"
tail -n +20001 "$tmp/events.jsonl" > "$tmp/second.jsonl"
produce() { "$UNDINE" produce --brokers "$boot" --input "$1" > "$tmp/produce.json" 2> "$tmp/produce.log"; }
# learn STATE MODE OPTION...: what is in the topics now
learn() {
  "$UNDINE" run --config "$ROOT/configs/demo.yaml" --state "$tmp/$1" --until-end --keep-open -o brokers="$boot" -o http.listen= \
    -o learner.frozen.sample=1 -o gate.mode="$2" -o gate.examples_min=1000 -o snapshot.interval=1h "${@:3}" \
    > "$tmp/run.json" 2>> "$tmp/run.log"
}
current() { sed 's/^0*//' "$tmp/$1/versions/CURRENT"; }
# manifest STATE VERSION MEMBER
manifest() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["gate"][sys.argv[2]])' \
    "$tmp/$1/versions/$(printf %012d "$2")/manifest.json" "$3"
}
ruin=(-o learner.optimizer.rate=1 -o learner.optimizer.dense_rate=0.3)

produce "$tmp/first.jsonl"
learn good enforce
[ "$(current good)" = 1 ] || fail "the first version is not published"
[ "$(manifest good 1 verdict)" = "too few" ] || fail "the first version is $(manifest good 1 verdict)"
expect "$tmp/run.json" gate.too_few -eq 1
cp -r "$tmp/good" "$tmp/enforce"
cp -r "$tmp/good" "$tmp/warn"
cp -r "$tmp/good" "$tmp/off"
produce "$tmp/second.jsonl"

learn good enforce
[ "$(current good)" = 2 ] || fail "a healthy version was not published: $(field "$tmp/run.json" gate.why)"
[ "$(manifest good 2 verdict)" = pass ] || fail "a healthy version is $(manifest good 2 verdict)"
[ "$(manifest good 2 against)" = 1 ] || fail "it was compared with $(manifest good 2 against)"
expect "$tmp/run.json" gate.passed -eq 1
expect "$tmp/run.json" gate.examples -ge 5000
learner=$(field "$tmp/run.json" gate.learner.logloss)
say "healthy: logloss $learner, the published version's $(field "$tmp/run.json" gate.published.logloss)"

learn enforce enforce "${ruin[@]}"
[ "$(current enforce)" = 1 ] || fail "a ruined version is published: $(cat "$tmp/run.json")"
[ "$(manifest enforce 2 verdict)" = refuse ] || fail "a ruined version is $(manifest enforce 2 verdict)"
grep -q logloss <<< "$(manifest enforce 2 reasons)" || fail "the reasons are $(manifest enforce 2 reasons)"
expect "$tmp/run.json" gate.refused -eq 1
expect "$tmp/run.json" version -eq 2
expect "$tmp/run.json" version_published -eq 1
grep -q '"event":"refuse","version":2,' "$tmp/enforce/versions/HISTORY" || fail "HISTORY does not tell of the refusal"
# The published version's figures are its own, whatever the learner has become.
python3 - "$tmp" << 'PY'
import json, sys
of = {s: json.load(open(f"{sys.argv[1]}/{s}/versions/000000000002/manifest.json"))["gate"] for s in ("good", "enforce")}
assert of["good"]["published"] == of["enforce"]["published"], of
assert of["good"]["examples"] == of["enforce"]["examples"], of
PY
for mode in enforce off; do # a restart does not publish it, nor does one without a gate
  learn enforce $mode
  [ "$(current enforce)" = 1 ] || fail "the refused version was published by a restart with gate.mode=$mode"
done
say "ruined: $(manifest enforce 2 why)"

learn warn warn "${ruin[@]}"
[ "$(current warn)" = 2 ] || fail "under warn the version is not published"
[ "$(manifest warn 2 verdict)" = refuse ] || fail "under warn a ruined version is $(manifest warn 2 verdict)"
expect "$tmp/run.json" gate.failed -eq 1
expect "$tmp/run.json" gate.refused -eq 0

learn off off # the gate changes nothing that is learned
a=$(sed -n 's/.*"model": "\([0-9a-f]*\)".*/\1/p' "$tmp/good/versions/000000000002/manifest.json")
b=$(sed -n 's/.*"model": "\([0-9a-f]*\)".*/\1/p' "$tmp/off/versions/000000000002/manifest.json")
[ -n "$a" ] && [ "$a" = "$b" ] || fail "models with and without a gate: $a and $b"

# A stretch of the stream in which every click is none and every impression without one has one.
"$UNDINE" generate --events 50000 --seed 5 --output "$tmp/true.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
until_line() { python3 "$ROOT/tests/integration/flip_labels.py" "$tmp/true.jsonl" 30000 40000 "$1" > "$tmp/stream.jsonl"; }
# judge STATE MODE LINE: the stream from where the state stands up to LINE
judge() {
  until_line "$3"
  "$UNDINE" replay --config "$ROOT/configs/demo.yaml" --state "$tmp/$1" --input "$tmp/stream.jsonl" --keep-open -o snapshot.interval=1h \
    -o learner.frozen.sample=1 -o gate.mode="$2" -o gate.examples_min=1000 -o gate.window=2000 > "$tmp/run.json" 2>> "$tmp/run.log"
}
judge flipped enforce 30000
[ "$(current flipped)" = 1 ] || fail "the version before the stretch is not published"
for copy in during warned; do cp -r "$tmp/flipped" "$tmp/$copy"; done
judge flipped enforce 44000
[ "$(current flipped)" = 1 ] || fail "a version of flipped labels is published: $(cat "$tmp/run.json")"
[ "$(manifest flipped 2 reasons)" = "['logloss', 'gauc']" ] || fail "it is refused for $(manifest flipped 2 reasons)"
expect "$tmp/run.json" gate.refused -eq 1
expect "$tmp/run.json" gate.published.gauc -ge 0.6
say "flipped labels: $(manifest flipped 2 why)"
judge warned warn 44000
[ "$(current warned)" = 2 ] || fail "under warn it is not published"
[ "$(manifest warned 2 verdict)" = refuse ] || fail "under warn it is $(manifest warned 2 verdict)"
for what in "is not published" "may be published all the same"; do
  grep -q "level=warn .*the gate is against version 2, which $what: logloss" "$tmp/run.log" ||
    fail "no warning that it $what: $(grep level=warn "$tmp/run.log")"
done
judge during enforce 39900 # labels are all that the gate has: while they are wrong, who follows them is better
[ "$(manifest during 2 verdict)" = pass ] || fail "within the stretch it is $(manifest during 2 verdict)"
say "ok"
