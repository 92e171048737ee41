#!/usr/bin/env bash
# What an operator meets: a state in use, another configuration, no broker, a full disk, versions that cannot be written.
# Each is said clearly, and what comes after it ends like a replay to which nothing happened.
. "$(dirname "$0")/lib.sh"
config=$ROOT/configs/demo.yaml
nowhere=127.0.0.1:1

# replay NAME ARGUMENT...: the state and the files NAME.json, NAME.log
replay() {
  name=$1
  shift
  "$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" --state "$tmp/$name" "$@" > "$tmp/$name.json" 2> "$tmp/$name.log"
}
# ends CODE COMMAND...
ends() {
  want=$1 code=0
  shift
  "$@" || code=$?
  [ "$code" = "$want" ] || fail "exit code $code, not $want: $*"
}
says() { grep -q -- "$2" "$tmp/$1.log" || fail "$1.log does not say: $2"; }
as_whole() { same "$tmp/whole.json" "$tmp/$1.json" events examples example_digest model_digest accounting; }

"$UNDINE" generate --events 40000 --seed 23 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
ends 0 replay whole

# Another configuration: said before any broker is waited for.
ends 4 timeout 60 "$UNDINE" run --config "$config" --state "$tmp/whole" -o join.window=7s -o brokers=$nowhere -o http.listen= \
  > "$tmp/run.json" 2> "$tmp/run.log"
says run '`join.window`.*`6s`.*`7s`'
say "ok: another configuration"

# No broker: the daemon waits, alive but not ready, holds its state, and SIGTERM ends it.
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$UNDINE" run --config "$config" --state "$tmp/whole" -o brokers=$nowhere -o http.listen="127.0.0.1:$port" > "$tmp/wait.json" 2> "$tmp/wait.log" &
pid=$!
pids=$pid
for _ in $(seq 300); do if grep -q "127.0.0.1:1" "$tmp/wait.log"; then break; fi; sleep 0.1; done
[ "$(curl -s -o "$tmp/body" -w '%{http_code}' "http://127.0.0.1:$port/healthz")" = 200 ] || fail "/healthz is not 200 while it waits"
[ "$(curl -s -o "$tmp/body" -w '%{http_code}' "http://127.0.0.1:$port/readyz")" = 503 ] || fail "/readyz is not 503 while it waits"
grep -q '"ready":false,"phase":"waiting for the broker"' "$tmp/body" || fail "/readyz does not say what it waits for: $(cat "$tmp/body")"
ends 1 timeout 60 "$UNDINE" run --config "$config" --state "$tmp/whole" -o brokers=$nowhere -o http.listen= > "$tmp/run.json" 2> "$tmp/run.log"
says run 'another program works on this state'
kill -TERM $pid
ends 0 wait $pid
pids=""
says wait 'stopped while no broker answered'
say "ok: no broker, and a state in use"

# A file that may not grow, as on a full disk.
code=0
(ulimit -f 2000 && replay full -o store.write_buffer=64MiB) || code=$?
[ $code -eq 1 ] || fail "a full disk: ended with $code, not 1"
says full 'File too large'
ends 0 replay full
as_whole full
say "ok: a full disk"

# Versions that cannot be written: learning goes on, the log says it, and the end is no success.
mkdir -p "$tmp/versions/versions/.tmp-x/in-the-way"
ends 1 replay versions -o snapshot.interval=100ms
says versions 'level=error subsystem=version msg="version not written'
says versions 'undine replay: .*.tmp-x'
rm -r "$tmp/versions/versions/.tmp-x"
ends 0 replay versions
as_whole versions
say "ok: versions that cannot be written"

# A published version that was damaged since: the next start goes on from an older one and publishes a whole one again.
ends 0 replay damaged -o snapshot.interval=100ms
damaged=$(cat "$tmp/damaged/versions/CURRENT")
printf 'damaged' | dd of="$tmp/damaged/versions/$damaged/model.safetensors" bs=1 seek=5000 conv=notrunc status=none
ends 1 "$UNDINE" inspect version --state "$tmp/damaged" > "$tmp/inspect.json" 2> "$tmp/inspect.log"
says inspect 'model.safetensors'
ends 0 replay damaged -o snapshot.interval=100ms
says damaged "version $damaged is not usable and is skipped"
as_whole damaged
ends 0 "$UNDINE" inspect version --state "$tmp/damaged" > "$tmp/inspect.json" 2> "$tmp/inspect.log"
[ "$(field "$tmp/inspect.json" model_digest)" = "$(field "$tmp/whole.json" model_digest)" ] || fail "another model is published"
say "ok: a damaged version"

# Caches and queues at their smallest change nothing.
ends 0 replay small -o users.cache=1MiB -o order.waiting_max=1000 -o ingest.backlog_max=1000 -o store.cache=1MiB \
  -o store.write_buffer=4MiB -o ingest.poll_max=7
as_whole small
say "ok: small caches, rss $(field "$tmp/small.json" rss_bytes), $(field "$tmp/whole.json" rss_bytes) with those of the demo"
