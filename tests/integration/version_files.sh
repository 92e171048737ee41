#!/usr/bin/env bash
# A version as others see it: tensors by the published format, and a program that is built from example.c against an
# installed libundine, in C and in C++.
. "$(dirname "$0")/lib.sh"
read -r name digest < <("$BUILD"/tests/make_version "$tmp/versions")
echo "version $name, digest $digest"
python3 "$ROOT"/tests/integration/check_safetensors.py "$tmp/versions/$name"

# ---- installed, moved, and used from outside the tree ----
cmake --install "$BUILD" --component scorer --prefix "$tmp/first" >/dev/null
mv "$tmp/first" "$tmp/usr"
pc=$(find "$tmp/usr" -name undine.pc)
lib=$(dirname "$(dirname "$pc")")
example=$(find "$tmp/usr" -name example.c)
sanitizer=
case $(nm -D "$lib/libundine.so") in
*__asan_init*) sanitizer=-fsanitize=address,undefined ;;
*__tsan_init*) sanitizer=-fsanitize=thread ;;
esac
check_programs() { # check_programs EXAMPLE HEADER
  "$2"
  printf '\n\n' | "$1" "$tmp/versions" >"$tmp/out"
  grep -c '^version 1: 0\.[0-9]* 0\.[0-9]*$' "$tmp/out" | grep -qx 3
  if "$1" "$tmp/nowhere" 2>"$tmp/err"; then
    fail "the example runs without a version"
  fi
  grep -q "nowhere/CURRENT" "$tmp/err"
}

# With pkg-config.
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$pc")
flags="$(pkg-config --cflags --libs undine) $sanitizer"
# shellcheck disable=SC2086
cc -std=c17 -Wall -Wextra -pedantic -Werror "$example" $flags -o "$tmp/example"
# shellcheck disable=SC2086
c++ -std=c++17 -Wall -Wextra -pedantic -Werror "$ROOT"/tests/integration/header.cc $flags -o "$tmp/header"
LD_LIBRARY_PATH=$lib check_programs "$tmp/example" "$tmp/header"

# With CMake: the imported target brings include folder, library and, in the build tree, its path.
mkdir "$tmp/project"
cp "$example" "$ROOT/tests/integration/header.cc" "$tmp/project"
document() { python3 "$ROOT/tests/integration/documents.py" block "$1" "$ROOT/docs/scorers.md"; }
document cpp >"$tmp/project/open.cc"
{
  printf '#include <undine.h>\n#include <inttypes.h>\n#include <stdio.h>\n'
  printf 'void snippet(struct undine_request request, float *probabilities);\n'
  printf 'void snippet(struct undine_request request, float *probabilities)\n{\nstruct undine_error error;\n'
  document c
  printf '}\n'
} >"$tmp/project/snippet.c"
document cmake >"$tmp/project/CMakeLists.txt"
cat >>"$tmp/project/CMakeLists.txt" <<'END'
target_sources(example PRIVATE snippet.c)
add_executable(header header.cc open.cc)
target_link_libraries(header PRIVATE undine::undine)
END
{
  cmake -G Ninja -S "$tmp/project" -B "$tmp/project/build" -DCMAKE_PREFIX_PATH="$tmp/usr" \
    -DCMAKE_C_FLAGS="-Wall -Wextra -pedantic -Werror $sanitizer" -DCMAKE_CXX_FLAGS="-Wall -Wextra -pedantic -Werror $sanitizer" &&
    cmake --build "$tmp/project/build"
} >"$tmp/cmake.log" 2>&1 || fail "find_package(undine) does not build a program"
check_programs "$tmp/project/build/example" "$tmp/project/build/header"
sed -i 's/find_package(undine 0.1 /find_package(undine 1.0 /' "$tmp/project/CMakeLists.txt"
if cmake -G Ninja -S "$tmp/project" -B "$tmp/project/other" -DCMAKE_PREFIX_PATH="$tmp/usr" >"$tmp/wanted" 2>&1; then
  fail "an undine 1.0 was found"
fi

# ---- what is seen from outside: the functions of undine.h, which are those of undine.map ----
nm -D --defined-only --with-symbol-versions "$lib/libundine.so" | awk '$2 == "T" {print $3}' | sort >"$tmp/shown"
nm -D --defined-only "$lib/libundine.so" | awk '$2 != "T" && $2 != "A" {print}' >"$tmp/data"
[ ! -s "$tmp/data" ] || { cat "$tmp/data"; fail "libundine shows what is no function"; }
sed -n 's/^UNDINE_API .*[ *]\(undine_[a-z_]*\)(.*/\1@@UNDINE_0/p' "$ROOT"/scorer/undine.h | sort >"$tmp/declared"
sed -n 's/^ *\(undine_[a-z_]*\);/\1@@UNDINE_0/p' "$ROOT"/scorer/undine.map | sort >"$tmp/mapped"
diff "$tmp/declared" "$tmp/shown"
diff "$tmp/mapped" "$tmp/shown"
[ "$(wc -l <"$tmp/shown")" = 12 ] || fail "functions came or went: is the change one that UNDINE_0 may have?"
objdump -p "$lib/libundine.so" | grep -q 'SONAME *libundine.so.0$' || fail "the soname is another"
