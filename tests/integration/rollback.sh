#!/usr/bin/env bash
# Rollback: by command beside a running daemon that writes deltas, over a restart, until it is resumed; and by the daemon itself
# where the published version's calibration leaves its band.  Scorers leave what is rolled back from, and never take it again.
. "$(dirname "$0")/lib.sh"
command -v curl > /dev/null || skip "curl is not on this machine"

coproc BROKER { exec "$UNDINE" mock-broker --topic impressions:2 --topic clicks:2 2> "$tmp/broker.log"; }
broker_pid=$BROKER_PID
all=$broker_pid
watchers=
pids=$all
read -r -u "${BROKER[0]}" _ boot
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
versions=$tmp/state/versions

start() {
  "$UNDINE" run --config "$ROOT/configs/demo.yaml" --state "$tmp/state" -o brokers="$boot" -o http.listen="127.0.0.1:$port" \
    -o snapshot.interval=4s -o snapshot.delta_interval=500ms -o snapshot.keep=40 -o learner.frozen.sample=1 -o rollback.examples=1500 -o rollback.resume=calibration \
    > "$tmp/run.json" 2>> "$tmp/run.log" &
  run=$!
  pids="$all $watchers $run"
}
stop() {
  kill -TERM "$run"
  wait "$run" || fail "after SIGTERM it ended with $?"
  pids="$all $watchers"
}
metric() { curl -sf "http://127.0.0.1:$port/metrics" | awk -v name="undine_$1" '$1 == name { print $2 }'; }
# until NAME OP NUMBER: a metric, within a minute
until_metric() {
  for _ in $(seq 600); do
    [ "$(metric "$1")" "$2" "$3" ] 2> /dev/null && return 0
    kill -0 "$run" 2> /dev/null || fail "the daemon ended before $1 $2 $3"
    sleep 0.1
  done
  fail "a minute was not enough for $1 $2 $3: it is $(metric "$1")"
}
current() { sed 's/^0*//' "$versions/CURRENT"; }
produced=0
produce() {
  "$UNDINE" produce --brokers "$boot" --input "$1" > "$tmp/produce.json" 2> "$tmp/produce.log"
  produced=$((produced + $(wc -l < "$1")))
  until_metric events_total -eq "$produced"
}

"$UNDINE" generate --events 80000 --seed 6 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
split -l 8000 --additional-suffix .jsonl "$tmp/events.jsonl" "$tmp/part_"

# Whoever scores: which version each answer is of, and when it was asked for.
watch() {
  exec python3 - "$@" << 'PY'
import json, sys, time, urllib.request
url, path = sys.argv[1:]
with open(path, "a") as out:
    while True:
        at_ms = time.time() * 1000
        request = urllib.request.Request(url, b'{"user":"u1","sequences":{},"candidates":[{"item":"i1"}]}', {"Content-Type": "application/json"})
        try:
            print(at_ms, json.load(urllib.request.urlopen(request, timeout=20))["version"], file=out, flush=True)
        except OSError:  # nothing is published yet, or it is being restarted
            pass
        time.sleep(0.02)
PY
}
serve() {
  : > "$tmp/serve.log"
  "$UNDINE" serve --versions "$versions" --listen "127.0.0.1:$served" 2> "$tmp/serve.log" &
  server=$!
  all="$broker_pid $server"
}
last_served() { tail -n 1 "$tmp/$1" | cut -d' ' -f2; }
until_served() { # FILE VERSION
  for _ in $(seq 600); do
    [ "$(last_served "$1")" = "$2" ] && return 0
    sleep 0.1
  done
  fail "a minute was not enough: $1 is on version $(last_served "$1"), not on $2"
}

# ---- by command, beside the daemon ----
mkdir -p "$versions"
served=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
serve
touch "$tmp/served" "$tmp/daemon_served"
watch "http://127.0.0.1:$served/v1/score" "$tmp/served" &
watchers=$!
watch "http://127.0.0.1:$port/v1/score" "$tmp/daemon_served" &
watchers="$watchers $!"
start
until_metric ready -eq 1
produce "$tmp/part_aa.jsonl"
until_metric versions_published_total -ge 1
before=$(metric versions_published_total)
produce "$tmp/part_ab.jsonl"
until_metric versions_published_total -gt "$before"
"$UNDINE" rollback --versions "$versions" --reason "clicks look wrong" > "$tmp/rollback.txt"
read -r bad to < <(sed -n 's/^from version \([0-9]*\) back to \([0-9]*\)$/\1 \2/p' "$tmp/rollback.txt")
[ "$(current)" = "$to" ] || fail "rolled back to $to, and $(current) is published"
[ "$to" -lt "$bad" ] || fail "rolled back from $bad to $to"
grep -q "^version $to is published; publication is on hold, by command: clicks look wrong" "$tmp/rollback.txt" ||
  fail "the command says $(cat "$tmp/rollback.txt")"
until_metric publication_held -eq 1
until_metric version_published -eq "$to"
until_served served "$to"
until_served daemon_served "$to"
produce "$tmp/part_ac.jsonl"
until_metric versions_held_total -ge 1
[ "$(current)" = "$to" ] || fail "a held version was published: $(current)"
"$UNDINE" replay --from-example-log --config "$ROOT/configs/demo.yaml" --state "$tmp/state" -o learner.optimizer.rate=0.02 \
  > "$tmp/challenger.json" # a challenger beside the daemon
expect "$tmp/challenger.json" window_examples -ge 100
stop
expect "$tmp/run.json" versions_held -ge 1
[ "$(field "$tmp/run.json" publication_held)" = true ] || fail "the report does not tell of the hold"
[ "$(current)" = "$to" ] || fail "the last version was published in spite of the hold"
start
until_metric ready -eq 1
[ "$(current)" = "$to" ] || fail "a restart published $(current)"
until_metric publication_held -eq 1
kill -TERM "$server" # a scorer that begins now
wait "$server" || fail "serve ended with $?"
serve
sleep 0.5
until_served served "$to"
until_served daemon_served "$to"
say "rolled back from $bad to $to; held over a restart"

# ---- resumed ----
"$UNDINE" publish --versions "$versions" --resume --reason "the producer is repaired" > "$tmp/publish.txt"
until_metric publication_held -eq 0
produce "$tmp/part_ad.jsonl"
until_metric version_published -gt "$bad"

# ---- by itself: nine clicks in ten are lost ----
before=$(metric rollbacks_total)
until_metric version_published -gt "$bad"
awk '/"kind":"click"/ && ++n % 10 { next } { print }' "$tmp/part_ae.jsonl" > "$tmp/lost.jsonl"
"$UNDINE" produce --brokers "$boot" --input "$tmp/lost.jsonl" > "$tmp/produce.json" 2> "$tmp/produce.log"
until_metric rollbacks_total -gt "$before"
# The learner gets used to it, and publication goes on without a command.  A version that was published shortly before may
# be as bad, and be withdrawn in its turn.
withdrawn() { sed -n 's/.*"event":"rollback".*"from":\([0-9]*\).*"calibration".*/\1/p' "$versions/HISTORY" | sort -n | tail -1; }
published_again() {
  for _ in $(seq 80); do
    [ "$(metric resumes_total)" -ge 1 ] && [ "$(metric version_published)" -gt "$(withdrawn)" ] && return 0
    sleep 0.1
  done
  return 1
}
again=no
for part in af ag ah ai aj; do
  awk '/"kind":"click"/ && ++n % 10 { next } { print }' "$tmp/part_$part.jsonl" > "$tmp/lost.jsonl"
  "$UNDINE" produce --brokers "$boot" --input "$tmp/lost.jsonl" > "$tmp/produce.json" 2> "$tmp/produce.log"
  published_again && again=yes && break
done
[ $again = yes ] || fail "nothing was published after the hold: $(current)"
stop
# shellcheck disable=SC2086
kill $watchers
python3 - "$versions/HISTORY" "$bad" "$to" "$tmp/served" "$tmp/daemon_served" << 'PY'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
bad, to = int(sys.argv[2]), int(sys.argv[3])
events = [(l["event"], l.get("by")) for l in lines if l["event"] != "publish"]
assert events[:3] == [("rollback", "command"), ("resume", "command"), ("rollback", "calibration")] and events[3] == ("resume", "calibration"), events
by_hand = next(l for l in lines if l["event"] == "rollback")
assert (by_hand["version"], by_hand["from"], by_hand["reason"]) == (to, bad, "clicks look wrong"), by_hand
withdrawn = set()
for i, l in enumerate(lines):  # what was withdrawn is never published again
    if l["event"] == "rollback":
        withdrawn |= set(range(l["version"] + 1, l["from"] + 1))
        assert l["at_ms"] > 1700000000000 and "calibration" in l["reason"] or l["by"] == "command", l
    assert l["event"] != "publish" or l["version"] not in withdrawn, l
# Two seconds after a rollback no scorer scores with what was withdrawn, nor ever again: the poll is every 100 ms, and machines
# that run tests are busy.
for path in sys.argv[4:]:
    seen = [(float(at), int(version)) for at, version in map(str.split, open(path))]
    for l in lines:
        if l["event"] == "rollback":
            late = [x for x in seen if x[0] > l["at_ms"] + 2000 and l["version"] < x[1] <= l["from"]]
            assert not late, (path, l, late[:3])
        if l["event"] == "rollback" and l["by"] == "command":  # which the test has waited for
            assert any(x[0] < l["at_ms"] for x in seen) and any(x[0] > l["at_ms"] + 2000 for x in seen), (path, l, seen[-1])
    assert {bad, to} <= {v for _, v in seen}, (path, bad, to)
    print(f"{path.rsplit('/', 1)[1]}: {len(seen)} answers of {len({v for _, v in seen})} versions")
PY
say "ok: $(grep -c rollback "$versions/HISTORY") rollbacks"
