# Tests of this layer, by hand.
undine_test(test_config SOURCES unit/test_config.c LIBS undine_configs LABELS fast)
target_compile_definitions(test_config PRIVATE UNDINE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
undine_fuzz(fuzz_config SOURCES fuzz/fuzz_config.c LIBS undine_configs
  CORPUS --runs 10000 fuzz/corpus/config ${PROJECT_SOURCE_DIR}/configs/demo.yaml ${PROJECT_SOURCE_DIR}/configs/kuairand.yaml)
