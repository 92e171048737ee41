# Tests of this layer, by hand.
add_library(test_store_fixture STATIC support/store_fixture.c)
target_link_libraries(test_store_fixture PUBLIC undine_featurestore)

undine_test(test_event SOURCES unit/test_event.c LIBS test_store_fixture LABELS fast)
undine_test(test_commit_chain SOURCES unit/test_commit_chain.c LIBS undine_featurestore LABELS fast)
undine_test(test_store SOURCES unit/test_store.c LIBS test_store_fixture LABELS fast)
undine_test(test_users SOURCES unit/test_users.c LIBS test_store_fixture LABELS fast)
undine_test(test_users_model SOURCES property/test_users_model.c LIBS test_store_fixture LABELS fast)
undine_test(test_arrivals SOURCES unit/test_arrivals.c LIBS test_store_fixture LABELS fast)
undine_test(test_example_log SOURCES unit/test_example_log.c LIBS test_store_fixture LABELS fast)
undine_test(test_example_blocks SOURCES property/test_example_blocks.c LIBS test_store_fixture LABELS fast)

foreach(format user arrivals example_block)
  undine_fuzz(fuzz_${format} SOURCES fuzz/fuzz_${format}.c LIBS test_store_fixture CORPUS fuzz/corpus/${format})
endforeach()

# Not a test: prints JSON lines.
add_executable(bench_store EXCLUDE_FROM_ALL bench/bench_store.c)
target_link_libraries(bench_store PRIVATE undine_flags test_store_fixture)
set_target_properties(bench_store PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
