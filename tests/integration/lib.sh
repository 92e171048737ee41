# lib.sh: what the integration tests share.  Sourced with UNDINE=path of the program, ROOT=source root.
set -eu
: "${UNDINE:?path of the program}" "${ROOT:?root of the sources}"
SKIPPED=77
tmp=$(mktemp -d "${TMPDIR:-/tmp}/undine-test.XXXXXX")
pids=""
broker_data=""

cleanup() {
  code=$?
  trap - EXIT INT TERM
  for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
  [ -z "$broker_data" ] || "$ROOT/ops/kafka-dev" kill9 --data "$broker_data" >/dev/null 2>&1 || true
  if [ $code -ne 0 ] && [ $code -ne $SKIPPED ]; then
    echo "FAILED with $code; the newest log lines:"
    tail -n 15 "$tmp"/*.log 2>/dev/null || true
  fi
  rm -rf "$tmp"
  exit $code
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
fail() { say "FAIL: $*"; exit 1; }
skip() {
  say "SKIPPED: $*"
  exit $SKIPPED
}

# Real data: present on some machines only, never part of the project.
data_dir() {
  for d in "${UNDINE_DATA:-}" "$ROOT/../shared/data"; do
    if [ -n "$d" ] && [ -e "$d/$1" ]; then echo "$d"; return 0; fi
  done
  return 1
}

# Start a real Kafka on a free port; sets broker.  Under CI=true a broker that cannot be had is a failure.
start_broker() {
  broker_data=$tmp/kafka
  code=0
  port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
  "$ROOT/ops/kafka-dev" start --port "$port" --data "$broker_data" > "$tmp/broker.log" 2>&1 || code=$?
  if [ $code -ne 0 ]; then
    cat "$tmp/broker.log"
    broker_data=""
    [ "${CI:-}" != true ] || fail "no Kafka broker can be had on this machine, and CI=true asks for one"
    skip "no Kafka broker can be had on this machine (needs Java 17 and Maven)"
  fi
  broker=127.0.0.1:$port
}

# field FILE NAME: a member of the JSON object on the last line of FILE; a.b goes into objects.
field() {
  python3 -c '
import json, sys
v = json.loads(open(sys.argv[1]).read().strip().split("\n")[-1])
for k in sys.argv[2].split("."):
    v = v[k]
print(json.dumps(v) if isinstance(v, (dict, bool)) else v)' "$1" "$2"
}

# same FILE FILE NAME...: these members must be equal.
same() {
  a=$1; b=$2; shift 2
  for name in "$@"; do
    va=$(field "$a" "$name"); vb=$(field "$b" "$name")
    [ "$va" = "$vb" ] || fail "$name differs: $va in ${a##*/}, $vb in ${b##*/}"
  done
}

# expect FILE NAME OP VALUE: a number compared, e.g. expect r.json auc -ge 0.7
expect() {
  v=$(field "$1" "$2")
  python3 -c '
import sys
v, op, want = float(sys.argv[1]), sys.argv[2], float(sys.argv[3])
ok = {"-eq": v == want, "-ge": v >= want, "-le": v <= want, "-gt": v > want}[op]
sys.exit(0 if ok else 1)' "$v" "$3" "$4" || fail "$2 is $v, expected $3 $4"
}
