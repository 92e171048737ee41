# Compiler flags of every target, and the two functions that the folders use.
set(UNDINE_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wvla -Wundef -Wformat=2 -Wno-format-nonliteral)
set(UNDINE_WARNINGS_C -Wstrict-prototypes -Wmissing-prototypes)

add_library(undine_flags INTERFACE)
target_compile_options(undine_flags INTERFACE ${UNDINE_WARNINGS} -fno-omit-frame-pointer
  $<$<COMPILE_LANGUAGE:C>:${UNDINE_WARNINGS_C}>)
target_compile_definitions(undine_flags INTERFACE _GNU_SOURCE)
target_include_directories(undine_flags INTERFACE ${PROJECT_SOURCE_DIR})
if(UNDINE_WERROR)
  target_compile_options(undine_flags INTERFACE -Werror)
endif()
if(UNDINE_FAULTS)
  target_compile_definitions(undine_flags INTERFACE UNDINE_FAULTS)
endif()

if(UNDINE_ASAN)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(UNDINE_TSAN)
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()
if(UNDINE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()
if((UNDINE_ASAN OR UNDINE_TSAN) AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # A sanitizer's checks hide from the compiler that a value is set or a text fits; the other builds are strict.
  target_compile_options(undine_flags INTERFACE -Wno-maybe-uninitialized -Wno-format-truncation)
endif()
if(UNDINE_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()

# undine_library(NAME SOURCES file... LIBS lib...): one layer.
function(undine_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC undine_flags ${ARG_LIBS})
endfunction()

if(UNDINE_TSAN)
  set(UNDINE_TEST_ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp")
endif()

# undine_test(NAME SOURCES file... LIBS lib... LABELS label...): one cmocka program.
# Label kafka: links librdkafka; slow: more than a few seconds.
function(undine_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;LABELS;ARGS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE undine_flags ${ARG_LIBS} PkgConfig::CMOCKA)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} ${ARG_ARGS} WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600 SKIP_RETURN_CODE 77
    ENVIRONMENT "${UNDINE_TEST_ENVIRONMENT}")
endfunction()

# undine_script_test(NAME SCRIPT ARGS arg... LABELS label...): a test that is a script in tests/.  It finds the program
# in $UNDINE, the source tree in $ROOT and the build in $BUILD; 77 = skipped.
# Label once: does not depend on how the tree was compiled; integration: needs the program; broker: a real Kafka.
function(undine_script_test name script)
  cmake_parse_arguments(ARG "" "" "ARGS;LABELS" ${ARGN})
  add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/${script} ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 900 SKIP_RETURN_CODE 77 ENVIRONMENT
    "UNDINE=${CMAKE_BINARY_DIR}/undine;ROOT=${PROJECT_SOURCE_DIR};BUILD=${CMAKE_BINARY_DIR}")
endfunction()

# undine_fuzz(NAME SOURCES file... LIBS lib... CORPUS path...): a fuzz target.  As a test it replays its corpus (paths
# below tests/ or absolute) and mutations of it; with UNDINE_FUZZ it is a libFuzzer program.
function(undine_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;CORPUS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE undine_flags ${ARG_LIBS} undine_base)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  if(UNDINE_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    return()
  endif()
  target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/driver.c)
  add_test(NAME ${name} COMMAND ${name} ${ARG_CORPUS} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/tests)
  set_tests_properties(${name} PROPERTIES LABELS fast TIMEOUT 600)
endfunction()
