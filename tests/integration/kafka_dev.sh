#!/usr/bin/env bash
# ops/kafka-dev: starts, answers, survives kill -9 on its data and port, stops; a second start is the same broker.
. "$(dirname "$0")/lib.sh"
kafka_dev=$ROOT/ops/kafka-dev

# expect_code CODE COMMAND...
expect_code() {
  want=$1 code=0
  shift
  "$@" > "$tmp/out" 2> "$tmp/command.log" || code=$?
  [ "$code" = "$want" ] || { cat "$tmp/command.log"; fail "exit code $code, not $want: $*"; }
}
prints() { [ "$(cat "$tmp/out")" = "$1" ] || fail "printed $(cat "$tmp/out"), not $1"; }

start_broker
expect_code 0 "$kafka_dev" status --data "$broker_data"
prints "$broker"
expect_code 0 "$kafka_dev" start --data "$broker_data"
prints "$broker"

expect_code 0 "$kafka_dev" kill9 --data "$broker_data"
expect_code 1 "$kafka_dev" status --data "$broker_data"
! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || fail "the port is open after kill9"

expect_code 0 "$kafka_dev" start --data "$broker_data"
prints "$broker"
expect_code 0 "$kafka_dev" stop --data "$broker_data"
expect_code 1 "$kafka_dev" status --data "$broker_data"
expect_code 0 "$kafka_dev" stop --data "$broker_data"

expect_code 2 "$kafka_dev" start --port 1x --data "$broker_data"
expect_code 2 "$kafka_dev" fly
# A Maven that cannot reach anything.
mkdir "$tmp/bin"
printf '#!/bin/sh\necho "[ERROR] unreachable"\nexit 1\n' > "$tmp/bin/mvn"
chmod +x "$tmp/bin/mvn"
PATH=$tmp/bin:$PATH XDG_CACHE_HOME=$tmp/cache expect_code 77 "$kafka_dev" fetch
say "ok"
