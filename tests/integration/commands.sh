#!/usr/bin/env bash
# The program's face: help, version, mistyped commands and options, exit codes.
. "$(dirname "$0")/lib.sh"

# run CODE ARGUMENT...: stdout and stderr to files
run() {
  want=$1 code=0
  shift
  "$UNDINE" "$@" > "$tmp/stdout" 2> "$tmp/stderr" < /dev/null || code=$?
  [ "$code" = "$want" ] || { cat "$tmp/stderr"; fail "exit code $code, not $want: undine $*"; }
}
says() { grep -qF -- "$2" "$tmp/$1" || { cat "$tmp/$1"; fail "$1 does not say: $2"; }; }
silent() { [ ! -s "$tmp/$1" ] || { cat "$tmp/$1"; fail "$1 is not empty"; }; }

run 0 --version
says stdout "undine $(sed -n 's/^project(undine VERSION \([0-9.]*\).*/\1/p' "$ROOT/CMakeLists.txt")"
run 0 --help
says stdout "usage: undine COMMAND"
silent stderr
commands=$(sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p' "$tmp/stdout")
[ -n "$commands" ] || fail "--help lists no commands"
run 0 help
run 2
says stderr "usage: undine COMMAND"
silent stdout

for command in $commands; do
  run 0 help "$command"
  says stdout "usage: undine $command"
  silent stderr
  cp "$tmp/stdout" "$tmp/help"
  run 0 "$command" --help
  cmp -s "$tmp/stdout" "$tmp/help" || fail "help $command and $command --help differ"
  run 2 "$command" --no-such-option
  says stderr "undine $command"
  silent stdout
done

run 2 confg
says stderr "did you mean \`config\`?"
run 2 help confg
says stderr "did you mean \`config\`?"
run 2 qqqqqqqq
says stderr "\`undine --help\` lists them"
silent stdout
say "ok: $(echo "$commands" | wc -l) commands"
