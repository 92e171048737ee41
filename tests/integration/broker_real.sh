#!/usr/bin/env bash
# broker_real.sh whole|losses: what a real Kafka does to a reader. `whole`: a broker that is killed, transactions that are
# aborted, committed or left open, deleted markers, producers that send twice, partitions added, a compacted topic: the
# state equals a replay of the files. `losses`: records deleted before they were read, topics deleted and made anew,
# partitions added under shards: exit code 3 that says what is missing, and a permanent record of what was accepted.
. "$(dirname "$0")/lib.sh"
: "${BUILD:?the build}"
config=$ROOT/configs/demo.yaml

admin() { "$BUILD/tests/broker_admin" "$broker" "$@" || fail "broker_admin $*"; }
# reader NAME PREFIX: a configuration with topics of its own
reader() {
  sed "s/name: impressions,/name: $2i,/; s/name: clicks, kinds/name: $2c, kinds/" "$config" > "$tmp/$1.yaml"
}
# run NAME ARGUMENT...: read to the end as it is now; the files NAME.json, NAME.log
run() {
  name=$1 code=0
  shift
  "$UNDINE" run --config "$tmp/$name.yaml" --state "$tmp/$name" --until-end --keep-open -o brokers="$broker" -o http.listen= "$@" \
    > "$tmp/$name.json" 2> "$tmp/$name.log" || code=$?
}
runs() { run "$@"; [ $code -eq 0 ] || fail "run $*: exit code $code: $(tail -n 2 "$tmp/$1.log")"; }
loses() { run "$@"; [ $code -eq 3 ] || fail "run $*: exit code $code, not 3: $(tail -n 2 "$tmp/$1.log")"; }
says() { grep -q -- "$2" "$tmp/$1.log" || fail "$1.log does not say: $2; it says: $(tail -n 1 "$tmp/$1.log")"; }
events_are() { expect "$tmp/$1.json" events -eq "$2"; }
lines() { cat "$@" | wc -l; }

http_port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$http_port
# live NAME ARGUMENT...: the daemon, until it is stopped. A partition that is quiet holds the watermark.
live() {
  name=$1
  shift
  "$UNDINE" run --config "$tmp/$name.yaml" --state "$tmp/$name" -o brokers="$broker" -o http.listen="127.0.0.1:$http_port" \
    -o order.idle_timeout=10h "$@" > "$tmp/$name.json" 2> "$tmp/$name.log" &
  daemon=$!
  pids=$daemon
}
wait_for() {
  what=$1
  shift
  for _ in $(seq 1200); do
    if "$@"; then return 0; fi
    kill -0 "$daemon" 2> /dev/null || fail "the daemon ended before: $what: $(tail -n 2 "$tmp"/*.log)"
    sleep 0.1
  done
  fail "two minutes were not enough: $what"
}
ready() { [ "$(curl -s -o "$tmp/body" -w '%{http_code}' "$url/readyz")" = "$1" ]; }
metric() { curl -sf "$url/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
at_least() { [ "$(metric "$1" || echo 0)" -ge "$2" ] 2> /dev/null; }
# ends CODE: of itself
ends() {
  for _ in $(seq 1200); do
    if ! kill -0 "$daemon" 2> /dev/null; then break; fi
    sleep 0.1
  done
  code=0
  wait "$daemon" || code=$?
  pids=""
  [ $code -eq "$1" ] || fail "the daemon ended with $code, not $1: $(tail -n 2 "$tmp"/*.log)"
}

# split_pieces EVENTS SEED: piece.0 to piece.5, and their lines by topic, piece.N.i and piece.N.c
split_pieces() {
  "$UNDINE" generate --events "$1" --seed "$2" --output "$tmp/events.jsonl" 2> "$tmp/generate.log" > "$tmp/generate.json"
  split -n l/6 -d -a 1 "$tmp/events.jsonl" "$tmp/piece."
  for n in 0 1 2 3 4 5; do
    grep '"kind":"impression"' "$tmp/piece.$n" > "$tmp/piece.$n.i"
    grep -v '"kind":"impression"' "$tmp/piece.$n" > "$tmp/piece.$n.c"
  done
}

whole() {
  command -v curl > /dev/null || skip "curl is not on this machine"
  split_pieces 9000 41
  reader whole w
  admin create wi 2
  admin create wc 2
  topics=impression=wi,click=wc,behavior=wc

  # The broker is killed while it is written to and read from.
  live whole
  "$UNDINE" produce --brokers "$broker" --input "$tmp/piece.0" --topics $topics --rate 500 > "$tmp/produce.json" 2> "$tmp/produce.log" &
  producer=$!
  pids="$daemon $producer"
  wait_for "some events were read" at_least undine_events_total 100
  "$ROOT/ops/kafka-dev" kill9 --data "$broker_data" 2> "$tmp/kafka.log"
  wait_for "/readyz is red without a broker" ready 503
  [ "$(curl -s -o "$tmp/body" -w '%{http_code}' "$url/healthz")" = 200 ] || fail "/healthz is not green without a broker"
  "$ROOT/ops/kafka-dev" start --data "$broker_data" > "$tmp/kafka.log" 2>&1 || fail "the broker does not start again"
  wait "$producer" || fail "produce: $(tail -n 2 "$tmp/produce.log")"
  sent=$(lines "$tmp/piece.0")
  wait_for "every event was read" at_least undine_events_total "$sent"
  wait_for "/readyz is green" ready 200
  kill -TERM "$daemon"
  ends 0
  say "ok: a broker killed with -9 under $sent events"

  # The benchmark reads all that it sent, twice.
  "$UNDINE" bench ingest --kafka "$broker" --events 5000 --users 2000 --runs 2 --partitions 2 --dir "$tmp" > "$tmp/bench.json" ||
    fail "bench ingest --kafka"
  expect "$tmp/bench.json" events -eq 5000
  expect "$tmp/bench.json" examples -gt 4600
  expect "$tmp/bench.json" gaps -eq 0
  expect "$tmp/bench.json" records_recovered -eq 0
  say "ok: bench ingest"
  # A click is followed to its score, each of them, and none is seen before it was sent.
  "$ROOT/tests/bench/click_to_score" --build "$BUILD" --brokers "$broker" --probes 8 --rate 300 --window 2000 --dir "$tmp" \
    > "$tmp/click.json" || fail "click_to_score"
  expect "$tmp/click.json" probes -eq 8
  expect "$tmp/click.json" p50_ms -ge 100 # the lateness
  say "ok: click to score"

  # Events of another stream in aborted transactions, before and behind a committed one.
  "$UNDINE" generate --events 2000 --seed 42 --output "$tmp/other.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
  admin abort wi:0="$tmp/other.jsonl" wc:1="$tmp/other.jsonl"
  admin commit wi:0="$tmp/piece.1.i" wc:1="$tmp/piece.1.c"
  admin abort wi:0="$tmp/other.jsonl"
  sent=$((sent + $(lines "$tmp/piece.1")))
  runs whole
  events_are whole $sent
  # One that is open holds what is behind its beginning back until it ends.
  coproc OPEN { "$BUILD/tests/broker_admin" "$broker" hang wi:0="$tmp/piece.2.i" wc:1="$tmp/piece.2.c" 2> "$tmp/open.log"; }
  open_pid=$OPEN_PID
  read -r -u "${OPEN[0]}" _
  runs whole
  events_are whole $sent
  echo >&"${OPEN[1]}"
  wait "$open_pid" || fail "the open transaction was not committed: $(cat "$tmp/open.log")"
  sent=$((sent + $(lines "$tmp/piece.2")))
  runs whole
  events_are whole $sent
  say "ok: aborted, committed and open transactions"

  # All was read, markers at the end and all: that it is deleted is no loss.
  for p in 0 1; do admin trim wi $p -1; admin trim wc $p -1; done
  runs whole
  events_are whole $sent

  # Producers that send twice, at once or all of it once more. What comes again behind the watermark is late.
  awk '{ print; print }' "$tmp/piece.3" > "$tmp/doubled"
  cp "$tmp/piece.3" "$tmp/again"
  for file in doubled again; do
    "$UNDINE" produce --brokers "$broker" --input "$tmp/$file" --topics $topics > "$tmp/produce.json" 2> "$tmp/produce.log"
  done
  again=$(lines "$tmp/again")
  sent=$((sent + $(lines "$tmp/doubled") + again))
  runs whole
  events_are whole $sent
  say "ok: $again events sent three times"

  # Partitions added: the daemon says so and ends; a start reads them from their beginning.
  live whole
  wait_for "/readyz is green" ready 200
  admin grow wi 4
  admin grow wc 4
  ends 1
  says whole 'has grown from 2 to 4 partitions: a restart'
  "$UNDINE" produce --brokers "$broker" --input "$tmp/piece.4" --topics $topics > "$tmp/produce.json" 2> "$tmp/produce.log"
  sent=$((sent + $(lines "$tmp/piece.4")))
  runs whole
  events_are whole $sent
  admin grow wi 5
  "$UNDINE" produce --brokers "$broker" --input "$tmp/piece.5" --topics $topics > "$tmp/produce.json" 2> "$tmp/produce.log"
  sent=$((sent + $(lines "$tmp/piece.5")))
  runs whole
  events_are whole $sent
  say "ok: partitions added, under a daemon and between two"

  "$UNDINE" run --config "$tmp/whole.yaml" --state "$tmp/whole" --until-end -o brokers="$broker" -o http.listen= > "$tmp/whole.json" 2> "$tmp/whole.log"
  expect "$tmp/whole.json" accounting.duplicate -ge "$again"
  [ $(($(field "$tmp/whole.json" accounting.duplicate) + $(field "$tmp/whole.json" accounting.late))) = $((2 * again)) ] ||
    fail "of $((2 * again)) events too many, $(field "$tmp/whole.json" accounting.duplicate) are duplicates, $(field "$tmp/whole.json" accounting.late) late"
  "$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" > "$tmp/replay.json" 2> "$tmp/replay.log"
  same "$tmp/replay.json" "$tmp/whole.json" impressions clicks examples example_digest model_digest accounting.applied accounting.losses
  say "ok: $sent events, $(field "$tmp/whole.json" examples) examples, as in a replay of the file"
  compacted
}

# Compaction takes what was read, its last record too, and some of what was not: offsets are left out, no record is lost.
compacted() {
  reader compacted k
  admin create ki 1 cleanup.policy=compact segment.ms=500 min.cleanable.dirty.ratio=0.01 delete.retention.ms=0
  admin create kc 1
  for n in 1 2 3; do head -n 200 "$tmp/piece.$n.i" > "$tmp/k$n"; done
  head -n 1 "$tmp/piece.4.i" > "$tmp/k4"
  admin send ki:0="$tmp/k1"
  runs compacted
  events_are compacted 200
  admin send ki:0="$tmp/k2" # keys are line numbers: these replace those, and are replaced
  admin send ki:0="$tmp/k3"
  for _ in $(seq 100); do
    sleep 0.3
    admin commit ki:0="$tmp/k4" # rolls the segment: the newest one is never compacted
    read -r _ _ records < <(admin count ki 0)
    [ "$records" -ge 300 ] || break
  done
  [ "$records" -lt 300 ] || fail "the broker does not compact"
  runs compacted
  "$UNDINE" run --config "$tmp/compacted.yaml" --state "$tmp/compacted" --until-end -o brokers="$broker" -o http.listen= > "$tmp/compacted.json" 2> "$tmp/compacted.log"
  expect "$tmp/compacted.json" impressions -eq 401
  cat "$tmp/k1" "$tmp/k3" "$tmp/k4" > "$tmp/kept"
  "$UNDINE" replay --config "$config" --input "$tmp/kept" > "$tmp/replay.json" 2> "$tmp/replay.log"
  same "$tmp/replay.json" "$tmp/compacted.json" impressions examples example_digest model_digest accounting.losses
  say "ok: a compacted topic"
}

losses() {
  split_pieces 3000 43
  reader gone l
  admin create li 2
  admin create lc 1
  admin send li:0="$tmp/piece.0.i" li:1="$tmp/piece.1.i" lc:0="$tmp/piece.0.c"
  runs gone
  read_of=$(lines "$tmp/piece.0.i")

  # Deleted before they were read.
  admin send li:0="$tmp/piece.2.i" li:1="$tmp/piece.3.i"
  low=$((read_of + 7)) high=$((read_of + $(lines "$tmp/piece.2.i")))
  admin trim li 0 $low
  before=$(field "$tmp/gone.json" events)
  loses gone
  says gone "li., partition 0: .*stored next offset $read_of; the broker has low $low, high $high.*--accept-loss li:0"
  loses gone --accept-loss li:1
  runs gone --accept-loss li:0
  events_are gone $((before + $(lines "$tmp/piece.2.i" "$tmp/piece.3.i") - 7))
  expect "$tmp/gone.json" accounting.losses -eq 1
  runs gone
  "$UNDINE" inspect loss --state "$tmp/gone" > "$tmp/loss.json"
  python3 - "$tmp/loss.json" "$read_of" $low << 'PYTHON' || fail "inspect loss: $(cat "$tmp/loss.json")"
import json, sys
losses = json.load(open(sys.argv[1]))
losses = losses if isinstance(losses, list) else losses["losses"]
one, = losses
assert (one["topic"], one["partition"]) == ("li", 0), one
assert (one["stored_offset"], one["continued_at_offset"]) == (int(sys.argv[2]), int(sys.argv[3])), one
assert one["accepted_ms"] > 1600000000000, one
PYTHON
  say "ok: records deleted before they were read"

  # Deleted under the daemon; then a topic of the same name with fewer partitions and more records.
  live gone
  wait_for "/readyz is green" ready 200
  [ "$(metric undine_losses_accepted_total)" = 1 ] || fail "undine_losses_accepted_total is $(metric undine_losses_accepted_total)"
  admin delete li
  ends 3
  says gone 'li. was deleted at the broker'
  admin create li 1
  admin send li:0="$tmp/piece.4.i"
  loses gone
  says gone 'the topic ends before what was read of it'
  admin send li:0="$tmp/events.jsonl"
  loses gone
  says gone 'li., partition 0: .*the topic was made anew.*--accept-loss li:0'
  loses gone --accept-loss li:0
  says gone 'without its partition 1 .*--accept-loss li:1'
  runs gone --accept-loss li:0 --accept-loss li:1
  expect "$tmp/gone.json" accounting.losses -eq 3
  expect "$tmp/gone.json" accounting.events -ge "$(lines "$tmp/events.jsonl")"
  runs gone
  "$UNDINE" inspect store --verify --state "$tmp/gone" --config "$tmp/gone.yaml" > "$tmp/verify.json" || fail "inspect store --verify: $(cat "$tmp/verify.json")"
  say "ok: a topic deleted and made anew"

  # Shards: users move when a topic grows, so no shard goes on, and a restart changes nothing about it.
  reader sharded s
  admin create si 2
  admin create sc 2
  admin send si:0="$tmp/piece.0.i" sc:0="$tmp/piece.0.c"
  runs sharded -o shard.count=2
  live sharded -o shard.count=2
  wait_for "/readyz is green" ready 200
  admin grow si 4
  ends 3
  says sharded 'si. had 2 partitions and has 4 now: users have moved to other shards'
  run sharded -o shard.count=2
  [ $code -eq 2 ] || fail "a shard starts on topics of 4 and 2 partitions: exit code $code, not 2"
  admin grow sc 4
  loses sharded -o shard.count=2
  says sharded 'had 2 partitions and has 4 now: users have moved to other shards'
  loses sharded -o shard.count=2 --accept-loss si:2
  say "ok: topics that grow under shards"
}

case ${1:?whole or losses} in
whole | losses) ;;
*) fail "whole or losses" ;;
esac
start_broker
say "broker at $broker"
"$1"
