# broker.sh: sourced by tests that need a real Kafka broker of their own.
#
#   broker_start DIR   starts one with its data in DIR and sets $BROKERS; where none can be had the test ends:
#                      skipped, or failed where CI=true
#   broker_stop        idempotent, for the exit trap
#   skip REASON        ends the test as skipped
#   fail REASON        ends it as failed

fail() {
    echo "FAIL: $*"
    exit 1
}

skip() {
    echo "SKIP: $(basename "$0"): $*"
    exit 77
}

broker_start() {
    local code=0
    broker_dir=$1
    BROKERS=$("$UNDINE_SOURCE/ops/kafka-dev" start --data "$broker_dir" --heap 256) || code=$?
    if [ "$code" = 77 ] && [ "${CI:-}" != true ]; then
        skip "no Kafka broker on this machine (Java 17 and Maven are needed)"
    fi
    [ "$code" = 0 ] || fail "ops/kafka-dev start ended with code $code"
    export BROKERS
}

broker_stop() {
    [ -z "${broker_dir:-}" ] || "$UNDINE_SOURCE/ops/kafka-dev" stop --data "$broker_dir" || true
    broker_dir=
}
