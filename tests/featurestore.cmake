# Tests of this layer, by hand.
add_library(test_store_fixture STATIC support/store_fixture.c)
target_link_libraries(test_store_fixture PUBLIC undine_featurestore)

undine_test(test_event SOURCES unit/test_event.c LIBS test_store_fixture LABELS fast)
undine_test(test_store SOURCES unit/test_store.c LIBS test_store_fixture LABELS fast)
undine_test(test_users SOURCES unit/test_users.c LIBS test_store_fixture LABELS fast)
undine_test(test_users_model SOURCES property/test_users_model.c LIBS test_store_fixture LABELS fast)
undine_test(test_arrivals SOURCES unit/test_arrivals.c LIBS test_store_fixture LABELS fast)
undine_test(test_example_log SOURCES unit/test_example_log.c LIBS test_store_fixture LABELS fast)

foreach(format user arrivals example_block)
  undine_fuzz(fuzz_${format} SOURCES fuzz/fuzz_${format}.c LIBS test_store_fixture CORPUS fuzz/corpus/${format})
endforeach()
