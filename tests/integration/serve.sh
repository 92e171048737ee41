#!/usr/bin/env bash
# undine serve: scores as `undine score` gives them, follows CURRENT, refuses with the place of the fault, keeps its memory, ends
# gracefully; TLS.
. "$(dirname "$0")/lib.sh"
# A sanitizer keeps what is freed, and resident memory is looked at below.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1"
command -v curl > /dev/null || skip "curl is not on this machine"
client=$ROOT/tests/integration/serve_client.py

start() { # start OPTION...: sets pid and url
  "$UNDINE" serve --versions "$tmp/versions" --listen 127.0.0.1:0 "$@" 2> "$tmp/serve.log" &
  pid=$!
  pids="$pids $pid"
  for _ in $(seq 100); do
    port=$(sed -n 's/.*msg=listening port=\([0-9]*\).*/\1/p' "$tmp/serve.log")
    [ -n "$port" ] && break
    kill -0 "$pid" 2> /dev/null || fail "it did not start: $(cat "$tmp/serve.log")"
    sleep 0.1
  done
  url=http://127.0.0.1:$port
}
wait_for() { # wait_for TEXT COMMAND...
  what=$1
  shift
  for _ in $(seq 100); do
    if "$@"; then return 0; fi
    sleep 0.1
  done
  fail "ten seconds were not enough: $what"
}
status() { [ "$(curl -s -o "$tmp/body" -w '%{http_code}' "$url$1")" = "$2" ]; }
score() { curl -s -H 'Content-Type: application/json' "$@" "$url/v1/score"; }

cat > "$tmp/requests" << 'END'
{"user":"7","profile":{"age":3},"context":{"hour":[5]},"sequences":{"clicks":[{"video":1,"tag":[2,3]},{"video":"4"}]},"candidates":[{"video":5,"tag":[1,null,"2"]},{"video":"5","tag":["1",2]},{"video":18446744073709551615}]}
{"user":7,"profile":{"age":"3"},"context":{"hour":"5"},"sequences":{"clicks":[{"tag":["2","3"],"video":"1"},{"video":4}]},"candidates":[{"video":"18446744073709551615"}]}
{}
END

# Before anything is published it waits; then it takes what is.
mkdir "$tmp/versions"
start --threads 2
status /healthz 200 || fail "/healthz is red without a version"
status /readyz 503 || fail "/readyz is green without a version"
[ "$(score -o "$tmp/body" -w '%{http_code}' -d '{}')" = 503 ] || fail "scores without a version"
grep -q '"type":"/openapi.json#/components/responses/NotReady"' "$tmp/body" || fail "$(cat "$tmp/body")"
"$BUILD"/tests/make_version "$tmp/versions" > "$tmp/version"
wait_for "the first version" status /readyz 200
"$UNDINE" score --versions "$tmp/versions" --input "$tmp/requests" > "$tmp/answers"
python3 "$client" same "$url" "$tmp/requests" "$tmp/answers"
python3 "$client" types "$url" "$ROOT/ops/openapi.json"

python3 "$client" refused "$url" # refused
[ "$(curl -s "$url/metrics" | awk '$1 == "undine_score_refused_total" { print $2 }')" -gt 20 ] || fail "refusals are not counted"
curl -s "$url/metrics" > "$tmp/metrics"
python3 - "$tmp/metrics" "$ROOT/docs/metrics.md" << 'END'
import sys
names = {line.split()[2] for line in open(sys.argv[1]) if line.startswith("# HELP")}
page = open(sys.argv[2]).read()
missing = [n for n in sorted(names) if "| `%s` |" % n not in page]
assert names and not missing, missing
END

# The next version.
"$BUILD"/tests/make_version "$tmp/versions" > "$tmp/version"
in_use() { score -d '{}' | grep -q "\"version\":$1,"; }
wait_for "the second version" in_use 2
curl -s "$url/v1/versions" | python3 -c '
import json, sys
v = json.load(sys.stdin)
assert v["in_use"] == v["published"] == 2 and v["hold"] is None, v
assert [x["version"] for x in v["versions"]] == [2, 1] == [x["version"] for x in v["history"]], v'
# One that is damaged is not taken, and the one in use stays.
"$BUILD"/tests/make_version "$tmp/versions" > "$tmp/version"
cp -r "$tmp/versions/000000000003" "$tmp/versions/000000000004"
printf '000000000004\n' > "$tmp/versions/CURRENT"
failures() { curl -s "$url/metrics" | grep -q '^undine_scorer_refresh_failures_total [1-9]'; }
wait_for "the damaged version is noticed" failures
score -d '{}' | grep -q '"version":[23],' || fail "a damaged version took the scorer away"
printf '000000000003\n' > "$tmp/versions/CURRENT"
wait_for "the third version" in_use 3

python3 "$client" abuse "$url" "$pid" 3

# What has been begun at SIGTERM is answered.
python3 - "$port" "$pid" << 'END'
import os, signal, socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{")
time.sleep(0.2)
os.kill(int(sys.argv[2]), signal.SIGTERM)
time.sleep(0.5)
s.sendall(b"}")
answer = s.makefile("rb").read()
assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer and b'"scores":[]' in answer, answer
END
wait "$pid" || fail "after SIGTERM it ended with $?"

# In integers, where the processor has a use for them, it says what `undine score` says then.
if grep -q avx512_vnni /proc/cpuinfo; then
  start --threads 2 --precision int16
  url=http://127.0.0.1:$port
  wait_for "a version in int16" status /readyz 200
  "$UNDINE" score --versions "$tmp/versions" --input "$tmp/requests" --precision int16 > "$tmp/int16"
  "$UNDINE" score --versions "$tmp/versions" --input "$tmp/requests" > "$tmp/answers"
  cmp -s "$tmp/int16" "$tmp/answers" && fail "int16 gives the bits of f32"
  python3 "$client" same "$url" "$tmp/requests" "$tmp/int16"
  kill -TERM "$pid"
  wait "$pid" || fail "after SIGTERM it ended with $?"
fi

# TLS.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$tmp/key.pem" -out "$tmp/cert.pem" -days 2 \
  -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2> /dev/null
start --tls-cert "$tmp/cert.pem" --tls-key "$tmp/key.pem" --threads 2
url=https://127.0.0.1:$port
secure() { curl -sf --cacert "$tmp/cert.pem" "$url/readyz" > "$tmp/body"; }
wait_for "a version over TLS" secure
score --cacert "$tmp/cert.pem" -d '{"candidates":[{"video":1},{"video":2}]}' | grep -q '"version":3,"scores":\[0\.' || fail "no score over TLS"
curl -s "$url/healthz" > "$tmp/body" && fail "an unknown certificate was taken"
curl -s --cacert "$tmp/cert.pem" --tls-max 1.1 "$url/healthz" > "$tmp/body" && fail "TLS 1.1 was taken"
kill -TERM "$pid"
wait "$pid" || fail "after SIGTERM it ended with $?"

# What it refuses to start with.
expect_exit() { # code, words, options...
  code=0
  want=$1 words=$2
  shift 2
  timeout 20 "$UNDINE" serve "$@" 2> "$tmp/err" || code=$?
  [ "$code" = "$want" ] && grep -q -- "$words" "$tmp/err" || fail "serve $*: exit code $code, $(cat "$tmp/err")"
}
expect_exit 2 '--versions is required'
expect_exit 1 nowhere --versions "$tmp/nowhere"
expect_exit 2 '--threads' --versions "$tmp/versions" --threads 0
expect_exit 2 'expected f32 or int16' --versions "$tmp/versions" --precision bf16
expect_exit 2 'go together' --versions "$tmp/versions" --tls-cert "$tmp/cert.pem"
expect_exit 2 'HOST:PORT' --versions "$tmp/versions" --listen 1234
expect_exit 1 nothing.pem --versions "$tmp/versions" --listen 127.0.0.1:0 --tls-cert "$tmp/nothing.pem" --tls-key "$tmp/key.pem"
say ok
