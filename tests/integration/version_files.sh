#!/usr/bin/env bash
# A version as others see it: tensors by the published format, and a program that is built from example.c against an
# installed libundine, in C and in C++.
. "$(dirname "$0")/lib.sh"
read -r name digest < <("$BUILD"/tests/make_version "$tmp/versions")
echo "version $name, digest $digest"
python3 "$ROOT"/tests/integration/check_safetensors.py "$tmp/versions/$name"

cmake --install "$BUILD" --component scorer --prefix "$tmp/usr" >/dev/null
pc=$(find "$tmp/usr" -name undine.pc)
lib=$(dirname "$(dirname "$pc")")
example=$(find "$tmp/usr" -name example.c)
flags=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$tmp/usr" --cflags --libs undine)
case $(nm -D "$lib/libundine.so") in
*__asan_init*) flags="$flags -fsanitize=address,undefined" ;;
*__tsan_init*) flags="$flags -fsanitize=thread" ;;
esac
# shellcheck disable=SC2086
cc -std=c17 -Wall -Wextra -pedantic -Werror "$example" $flags -o "$tmp/example"
# shellcheck disable=SC2086
c++ -std=c++17 -Wall -Wextra -pedantic -Werror "$ROOT"/tests/integration/header.cc $flags -o "$tmp/header"
export LD_LIBRARY_PATH=$lib
"$tmp/header"
printf '\n\n' | "$tmp/example" "$tmp/versions" >"$tmp/out"
grep -c '^version 1: 0\.[0-9]* 0\.[0-9]*$' "$tmp/out" | grep -qx 3
if "$tmp/example" "$tmp/nowhere" 2>"$tmp/err"; then
    echo "the example runs without a version"
    exit 1
fi
grep -q "nowhere/CURRENT" "$tmp/err"
# Nothing but the functions of undine.h is seen from outside.
nm -D --defined-only "$lib/libundine.so" | awk '$2 == "T" {print $3}' | sort >"$tmp/shown"
grep -o 'undine_[a-z_]*(' "$ROOT"/scorer/undine.h | tr -d '(' | sort -u >"$tmp/declared"
diff "$tmp/declared" "$tmp/shown"
