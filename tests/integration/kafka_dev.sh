#!/usr/bin/env bash
# ops/kafka-dev: starts, answers, survives kill -9 on its data and port, stops; a second start is the same broker.
set -euo pipefail
# shellcheck source=tests/integration/broker.sh
. "$UNDINE_SOURCE/tests/integration/broker.sh"
kafka_dev="$UNDINE_SOURCE/ops/kafka-dev"
dir=$(mktemp -d "${TMPDIR:-/tmp}/undine-kafka-dev.XXXXXX")
trap 'broker_stop; rm -rf "$dir"' EXIT

broker_start "$dir/data"
first=$BROKERS
[ "$("$kafka_dev" status --data "$dir/data")" = "$first" ] || fail "status does not name $first"
[ "$("$kafka_dev" start --data "$dir/data")" = "$first" ] || fail "a second start is another broker"

"$kafka_dev" kill9 --data "$dir/data"
! "$kafka_dev" status --data "$dir/data" || fail "status says it runs after kill9"
! (exec 3<>"/dev/tcp/127.0.0.1/${first#*:}") 2>/dev/null || fail "the port is open after kill9"

broker_start "$dir/data"
[ "$BROKERS" = "$first" ] || fail "after kill9 it came back as $BROKERS, not $first"
"$kafka_dev" stop --data "$dir/data"
! "$kafka_dev" status --data "$dir/data" || fail "status says it runs after stop"
"$kafka_dev" stop --data "$dir/data" || fail "stopping a stopped broker is an error"

code=0
"$kafka_dev" start --port 1x --data "$dir/data" || code=$?
[ "$code" = 2 ] || fail "a bad port gives exit code $code, not 2"

# A Maven that cannot reach anything.
mkdir "$dir/bin"
printf '#!/bin/sh\necho "[ERROR] unreachable"\nexit 1\n' >"$dir/bin/mvn"
chmod +x "$dir/bin/mvn"
code=0
PATH="$dir/bin:$PATH" XDG_CACHE_HOME="$dir/cache" "$kafka_dev" fetch || code=$?
[ "$code" = 77 ] || fail "jars that do not exist give exit code $code, not 77"
echo "ok"
