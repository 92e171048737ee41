#!/usr/bin/env bash
# bad_config.sh: a configuration whose shapes or numbers do not fit is refused before anything is made, by `config check` and by the program, with its key, its value and what would be right.
. "$(dirname "$0")/lib.sh"

echo '{"kind":"impression","id":"i1","user":"u1","time":1700000000000,"candidate":{"item":"a"}}' > "$tmp/events.jsonl"
cases=0

# refused MESSAGE FILE OPTION...: both say so, and the program leaves no state behind.
refused() {
  message=$1 file=$2
  shift 2
  options=()
  for o in "$@"; do options+=(-o "$o"); done
  for command in "config check" "replay --input $tmp/events.jsonl --state $tmp/state"; do
    code=0
    # shellcheck disable=SC2086 # several words
    "$UNDINE" $command --config "$file" "${options[@]}" > "$tmp/out" 2> "$tmp/err" || code=$?
    [ "$code" = 2 ] || fail "$command with $* ended with $code, expected 2"
    grep -qF -- "$message" "$tmp/err" || fail "$command with $* says: $(cat "$tmp/err"), expected: $message"
  done
  [ ! -e "$tmp/state/store" ] && [ ! -e "$tmp/state/versions" ] || fail "$* left a state behind"
  cases=$((cases + 1))
}

c=$ROOT/configs/demo.yaml
refused '`learner.batch` is 0, expected 1..65536' "$c" learner.batch=0
refused '`learner.batch` is 65537, expected 1..65536' "$c" learner.batch=65537
refused '`ingest.backlog_max` is 1000, expected at least `learner.batch`, which is 1001' "$c" ingest.backlog_max=1000 learner.batch=1001
refused '`model.mlp.hidden` is empty, expected at least one entry' "$c" model.mlp.hidden=
refused '`model.unit.hidden` is empty, expected at least one entry' "$c" model.unit.hidden=
refused '`model.mlp.hidden` is 0, expected 1..4096' "$c" model.mlp.hidden=200,0
refused '`model.mlp.hidden` is 4097, expected 1..4096' "$c" model.mlp.hidden=4097
refused '`model.unit.hidden` has more than 8 entries' "$c" model.unit.hidden=9,8,7,6,5,4,3,2,1
refused '`tables.item` is 0, expected 1..256' "$c" tables.item=0
refused '`tables.item` is 257, expected 1..256' "$c" tables.item=257
refused 'model: sum_history is true with kind `base`' "$c" model.kind=base model.sum_history=true
refused '`model.unit.input` is `both`, expected one of `paper`, `official`' "$c" model.unit.input=both
refused '`learner.optimizer.rate` is 1e+06, expected 1e-09..10' "$c" learner.optimizer.rate=1e6
refused '`learner.optimizer.rate` is `nan`' "$c" learner.optimizer.rate=nan
refused '`learner.optimizer.rates.item` is 1e+06, expected 1e-09..10' "$c" learner.optimizer.rates.item=1e6
refused 'table `none` is not declared under `tables`' "$c" learner.optimizer.rates.none=0.1
refused 'learner: regularizer.lambda is 100 and optimizer.rate 0.01: their product must stay below 1' "$c" learner.regularizer.lambda=100
refused 'learner: optimizer.kind is ftrl, whose rate cannot change on the way' "$c" learner.optimizer.kind=ftrl learner.optimizer.warmup=100
refused 'learner: optimizer.kind is ftrl, whose weights follow from its sums' "$c" learner.optimizer.kind=ftrl learner.regularizer.decoupled=true
refused '`learner.dropout` is 1, expected 0..0.95' "$c" learner.dropout=1
refused '`learner.clip_norm` is -1' "$c" learner.clip_norm=-1

# Lists can only be set in a file.
# variant NAME PYTHON: the demo with its text changed; prints the path.
variant() {
  python3 -c 'import sys; t = open(sys.argv[1]).read(); n = eval(sys.argv[3]); assert n != t; open(sys.argv[2], "w").write(n)' \
    "$c" "$tmp/$1.yaml" "$2"
  echo "$tmp/$1.yaml"
}
printf '%s\n' 'tables: {item: 4}' 'fields: [{name: item, of: candidate}]' > "$tmp/plain.yaml"
refused 'model.product is true, but the schema has no sequence' "$tmp/plain.yaml" model.product=true
refused 'model.sum_history is true, but the schema has no sequence' "$tmp/plain.yaml" model.sum_history=true
refused 'sequence `clicks`: field `user` is not declared with `of: candidate`' "$(variant user 't.replace("fields: [item, category]", "fields: [item, user]")')"
refused '`sequences[].fields` is empty, expected at least one entry' "$(variant none 't.replace("fields: [item, category]", "fields: []")')"
refused '`sequences[].length` is 4097, expected 1..4096' "$(variant long 't.replace("length: 20", "length: 4097")')"
refused 'field `item`: table `items` is not declared under `tables`' "$(variant table 't.replace("name: item,", "name: item, table: items,")')"
refused '`tables.item` is set twice, first in line' "$(variant twice 't.replace("  item: 8", "  item: 8\n  item: 16")')"
refused 'field `item` is declared twice, first in line' "$(variant fields 't.replace("  - {name: hour,", "  - {name: item,")')"
refused 'has the name of a table of sequence `clicks`, which has its own by `shared: false` in line' \
  "$(variant own 't.replace("  item: 8", "  item: 8\n  clicks.item: 16").replace("length: 20", "length: 20\n    shared: false")')"
say "ok: $cases configurations that do not fit"
