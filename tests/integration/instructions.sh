#!/usr/bin/env bash
# instructions.sh: no small fixed run of the release build executes 5 % more instructions than the counts in the tree say.
. "$(dirname "$0")/lib.sh"
command -v valgrind > /dev/null || skip "valgrind is not installed"
code=0
"$ROOT/tests/bench/instructions" --build "$BUILD" || code=$?
[ "$code" != 77 ] || skip "no counts for this compiler and distribution"
[ "$code" = 0 ] || fail "instructions"
