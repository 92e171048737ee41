# Tests of this layer, by hand.
undine_test(test_decode SOURCES unit/test_decode.c LIBS undine_ingest LABELS fast)
add_library(test_decode_twin_support STATIC support/decode_twin.c)
target_link_libraries(test_decode_twin_support PUBLIC undine_ingest PkgConfig::JANSSON)
undine_test(test_decode_twin SOURCES property/test_decode_twin.c LIBS test_decode_twin_support LABELS fast)
undine_fuzz(fuzz_decode SOURCES fuzz/fuzz_decode.c LIBS test_decode_twin_support CORPUS fuzz/corpus/decode)
if(NOT UNDINE_TSAN)
  undine_test(test_kafka_parts SOURCES unit/test_kafka_parts.c LIBS undine_ingest LABELS fast)
endif()
undine_test(test_source_file SOURCES unit/test_source_file.c LIBS undine_ingest LABELS fast)
undine_test(test_order SOURCES unit/test_order.c LIBS undine_ingest LABELS fast)
undine_fuzz(fuzz_meta SOURCES fuzz/fuzz_meta.c LIBS undine_ingest CORPUS fuzz/corpus/meta)

# Everything right of a source, random streams, and the join once more by brute force.
add_library(test_ingest_world STATIC support/ingest_world.c support/join_twin.c support/memory_source.c
  support/order_twin.c support/scenario.c support/stream_maker.c)
target_link_libraries(test_ingest_world PUBLIC undine_ingest test_store_fixture PkgConfig::CMOCKA)
undine_test(test_join SOURCES unit/test_join.c LIBS test_ingest_world LABELS fast)
undine_test(test_accounting SOURCES unit/test_accounting.c LIBS test_ingest_world LABELS fast)
undine_test(test_ingest SOURCES unit/test_ingest.c LIBS test_ingest_world LABELS fast)
undine_test(test_join_twin SOURCES property/test_join_twin.c LIBS test_ingest_world LABELS fast)
undine_test(test_order_live SOURCES property/test_order_live.c LIBS test_ingest_world LABELS fast)
# A store of each format, and what makes it.
add_executable(make_golden_store support/make_golden_store.c support/golden_store.c)
target_link_libraries(make_golden_store PRIVATE test_ingest_world)
set_target_properties(make_golden_store PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
undine_test(test_golden_store SOURCES golden/test_golden_store.c support/golden_store.c LIBS test_ingest_world
  LABELS fast)
target_compile_definitions(test_golden_store PRIVATE
  GOLDEN_STORE_DIR="${CMAKE_CURRENT_SOURCE_DIR}/golden/store-format-2")
add_executable(bench_ingest bench/bench_ingest.c)
target_link_libraries(bench_ingest PRIVATE test_ingest_world)
set_target_properties(bench_ingest PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_executable(bench_decode bench/bench_decode.c)
target_link_libraries(bench_decode PRIVATE undine_ingest)
set_target_properties(bench_decode PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
