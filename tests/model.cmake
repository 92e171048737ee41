# Tests of this layer, by hand.  The double build checks gradients, the float one is what runs.
# undine_model_test(NAME SOURCES file...): in both.
function(undine_model_test name)
  undine_test(${name} SOURCES ${ARGN} LIBS undine_model m LABELS fast)
  undine_test(${name}_f64 SOURCES ${ARGN} LIBS undine_model_f64 m LABELS fast)
endfunction()

undine_test(test_model_gradient SOURCES unit/test_model_gradient.c support/toy_batch.c
  LIBS undine_model_f64 m LABELS fast)
undine_model_test(test_bag unit/test_bag.c)
undine_model_test(test_model_reference unit/test_model_reference.c support/model_reference.c
  support/toy_batch.c)
undine_model_test(test_model_kernels unit/test_model_kernels.c)
undine_model_test(test_model_dice unit/test_model_dice.c)
undine_test(test_low_kernels SOURCES unit/test_low_kernels.c LIBS undine_model m LABELS fast)
undine_test(test_low_scores SOURCES property/test_low_scores.c support/toy_batch.c LIBS undine_model m LABELS fast)
undine_test(test_json_text SOURCES unit/test_json_text.c LIBS undine_model PkgConfig::JANSSON LABELS fast)
undine_test(test_model_options SOURCES unit/test_model_options.c support/toy_batch.c
  LIBS undine_model m LABELS fast)
undine_model_test(test_model_workers unit/test_model_workers.c support/toy_batch.c)
undine_test(test_model_shards SOURCES unit/test_model_shards.c LIBS undine_model LABELS fast)
undine_model_test(test_model_din unit/test_model_din.c support/toy_batch.c)
undine_model_test(test_model_freeze unit/test_model_freeze.c support/toy_batch.c)
undine_test(test_model_overfit SOURCES unit/test_model_overfit.c support/toy_batch.c
  LIBS undine_model m LABELS fast)
target_link_options(test_model_overfit PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=aligned_alloc)

add_executable(bench_model bench/bench_model.c support/toy_batch.c)
target_link_libraries(bench_model PRIVATE undine_learner)
set_target_properties(bench_model PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# Against PyTorch in double; the files and what makes them: golden/torch.
undine_model_test(test_torch_parity golden/test_torch_parity.c support/torch_golden.c
  support/toy_batch.c)
foreach(test test_torch_parity test_torch_parity_f64)
  target_link_libraries(${test} PRIVATE PkgConfig::JANSSON)
  target_compile_definitions(${test} PRIVATE
    TORCH_GOLDEN_DIR="${CMAKE_CURRENT_SOURCE_DIR}/golden/torch")
endforeach()
