#!/usr/bin/env bash
# readme.sh: every command that the documents tell a user to type is run; the options of those in the running text exist;
# the README's C compiles. A command that is new in a document is found and run, too.
. "$(dirname "$0")/lib.sh"
documents() { python3 "$ROOT/tests/integration/documents.py" "$@"; }
pages=("$ROOT"/README.md "$ROOT"/DESIGN.md "$ROOT"/CONTRIBUTING.md "$ROOT"/docs/*.md)

# ---- what the commands speak of, by the names that they use ----
mkdir "$tmp/user"
cd "$tmp/user"
ln -s "$ROOT/configs" configs
coproc BROKER { exec "$UNDINE" mock-broker --topic impressions:2 --topic clicks:2 2> "$tmp/broker.log"; }
broker_pid=$BROKER_PID
pids=$broker_pid
read -r -u "${BROKER[0]}" _ boot
sed -e "s/^brokers: .*/brokers: $boot/" -e 's/interval: 5s/interval: 200ms/' -e 's/127.0.0.1:9187/127.0.0.1:0/' \
  configs/demo.yaml > my.yaml
grep -q "^brokers: $boot" my.yaml && grep -q 'interval: 200ms' my.yaml || fail "configs/demo.yaml is not as this test knows it"
"$UNDINE" generate --events 5000 --output log.jsonl.zst > "$tmp/generate.json"
"$UNDINE" produce --brokers "$boot" --input log.jsonl.zst > "$tmp/produce.json"
echo '{"user":"u1","sequences":{"clicks":[{"item":"i7","category":"c7"}]},"candidates":[{"item":"i8","category":"c8"}]}' \
  > requests.jsonl
documents block yaml "$ROOT/docs/import.md" > mapping.yaml
documents block csv "$ROOT/docs/import.md" > plays.csv
put() { zstd -q > "$1"; }
printf 'user_id,video_id,hourmin,time_ms,is_click,tab,author_id,tag\n7,1,1300,6000,1,4,11,5\n8,3,2359,6500,0,0,13,unknown\n' |
  put log_standard_20220425_20220504.csv.zst
printf 'user_id\thistory_len\tlast_time_ms\texposed_seq_last50\tliked_seq_last50\tlong_watch_seq_last50\n7\t3\t5000\t1 2 9\t\t2 1 9\n' |
  put user_history_until_20220424.tsv.zst
printf 'user_id,user_active_degree,follow_user_num_range\n7,full_active,"(0,10]"\n' | put user_features_pure.csv.zst
printf 'video_id,author_id,tag\n1,11,5\n2,12,"5,6"\n3,13,unknown\n' | put video_features_basic_pure.csv.zst
printf 'user\titem\tcate\ttimestamp\n1\t2\t3\t86400\n1\t4\t3\t172800\n2\t5\t3\t86400\n' | put interactions.tsv.zst

# ---- running one command ----

# ends_at COMMAND...: it runs until SIGTERM, which comes once the last word of this function's caller is there
ends_at() {
  "$UNDINE" "$@" > "$tmp/stdout" 2> "$tmp/stderr.log" &
  run=$!
  pids="$broker_pid $run"
  for _ in $(seq 600); do
    if reached; then break; fi
    kill -0 "$run" 2> /dev/null || { cat "$tmp/stderr.log"; fail "ended by itself: undine $*"; }
    sleep 0.1
  done
  reached || { cat "$tmp/stderr.log"; fail "a minute was not enough: undine $*"; }
  kill -TERM "$run"
  wait "$run" || fail "ended with $? after SIGTERM: undine $*"
  pids=$broker_pid
}

run_undine() {
  local code=0
  case "$*" in
  run\ *)
    reached() { [ -e state/versions/CURRENT ]; }
    ends_at "$@"
    ;;
  serve\ *) # and it answers what docs/serving.md asks it
    reached() {
      port=$(sed -n 's/.*msg=listening port=\([0-9]*\).*/\1/p' "$tmp/stderr.log")
      [ -n "$port" ] && documents block console "$ROOT/docs/serving.md" | sed "s/127.0.0.1:9188/127.0.0.1:$port/" | bash > "$tmp/answer" &&
        grep -q '"scores":\[0\.' "$tmp/answer"
    }
    ends_at "$@"
    cp "$tmp/answer" "$tmp/stdout"
    ;;
  generate\ *--events\ 0\ *)
    began=$SECONDS
    reached() { [ $((SECONDS - began)) -ge 2 ]; }
    ends_at "$@"
    ;;
  *)
    "$UNDINE" "$@" > "$tmp/stdout" 2> "$tmp/stderr.log" < /dev/null || code=$?
    [ "$code" = 0 ] || { cat "$tmp/stderr.log"; fail "exit code $code: undine $*"; }
    ;;
  esac
  [ -s "$tmp/stdout" ] || fail "says nothing: undine $*"
}

# A script of ops/ or tests/bench/ is not run here: it exists, and its --help knows the options.
check_script() {
  local help
  [ -x "$ROOT/$1" ] || fail "there is no $1"
  help=$("$ROOT/$1" --help) || fail "$1 --help failed"
  for word in "${@:2}"; do
    case $word in
    --*) grep -qF -- "$word" <<< "$help" || fail "$1 --help does not know $word" ;;
    esac
  done
}

check_presets() {
  for preset in $(grep -oE -- '--preset [a-z]+' <<< "$1" | cut -d' ' -f2); do
    grep -q "\"name\": \"$preset\"" "$ROOT/CMakePresets.json" || fail "there is no preset $preset: $1"
  done
}

# ---- all of them ----
ran=0
while IFS= read -r line; do
  line=${line//localhost:9092/$boot}
  line=${line//127.0.0.1:9188/127.0.0.1:0}
  read -r -a words <<< "$line"
  case ${words[0]} in
  undine) run_undine "${words[@]:1}" ;;
  ./ops/* | ./tests/bench/*) check_script "${words[@]}" ;;
  cmake) check_presets "$line" ;;
  *) fail "a document shows a command that this test does not know: $line" ;;
  esac
  ran=$((ran + 1))
done < <(documents commands "${pages[@]}")
[ "$ran" -ge 12 ] || fail "only $ran commands found: the search is broken"
"$UNDINE" import csv --mapping mapping.yaml --input plays.csv --output - 2> /dev/null |
  diff <(documents block jsonl "$ROOT/docs/import.md") - || fail "docs/import.md shows another result of its example"

commands=$("$UNDINE" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p')
for command in $commands; do "$UNDINE" help "$command"; done > "$tmp/every"
for bench in learner ingest score swap end-to-end; do "$UNDINE" bench $bench --help; done >> "$tmp/every"
for script in ops/quickstart ops/test ops/kafka-dev tests/bench/ablation tests/crash/{kill,soak,power_loss.py,damage.py,io_faults.py}; do "$ROOT/$script" --help; done >> "$tmp/every"
spans=0
while IFS= read -r line; do
  read -r -a words <<< "$line"
  if [ "${words[0]}" = undine ] && [ "${words[1]}" = bench ] && [ -n "${words[2]-}" ]; then
    "$UNDINE" bench "${words[2]}" --help > "$tmp/help" 2> /dev/null || fail "no such benchmark: $line"
  elif [ "${words[0]}" = undine ]; then
    "$UNDINE" help "${words[1]}" > "$tmp/help" 2> /dev/null || fail "no such command: $line"
  else
    cp "$tmp/every" "$tmp/help"
  fi
  for word in "${words[@]}"; do
    case $word in
    --*) grep -qE -- "${word%%=*}( |$)" "$tmp/help" || fail "no option $word: $line" ;;
    esac
  done
  spans=$((spans + 1))
done < <(documents inline "${pages[@]}" "$ROOT"/configs/*.yaml)
[ "$spans" -ge 10 ] || fail "only $spans commands found in the text: the search is broken"

{
  printf '#include "undine.h"\nvoid snippet(struct undine_request request, float *probabilities);\n'
  printf 'void snippet(struct undine_request request, float *probabilities)\n{\nstruct undine_error error;\n'
  documents block c "$ROOT/README.md"
  printf '}\n'
} > snippet.c
cc -std=c17 -Wall -Wextra -Werror -fsyntax-only -I"$ROOT/scorer" snippet.c || fail "the C of README.md does not compile"
exec {BROKER[1]}>&-
wait "$broker_pid" || fail "the mock broker ended with $?"
pids=""
say "ok: $ran commands of the documents run, the options of $spans more exist"
