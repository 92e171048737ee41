# Tests of versions (learner/version.c, learner/model/) and of scorer/.
undine_test(test_safetensors SOURCES unit/test_safetensors.c LIBS undine_model LABELS fast)
undine_test(test_model_digest SOURCES unit/test_model_digest.c LIBS undine_model LABELS fast)
undine_test(test_version_chain SOURCES unit/test_version_chain.c support/chain_world.c support/version_fixture.c
  LIBS undine_learner LABELS fast)
undine_test(test_version_merge SOURCES unit/test_version_merge.c support/chain_world.c support/version_fixture.c
  LIBS undine_learner LABELS fast)
undine_test(test_version_publish SOURCES unit/test_version_publish.c support/version_fixture.c LIBS undine_learner
            LABELS fast)
undine_test(test_version SOURCES unit/test_version.c support/version_fixture.c LIBS undine_learner
  LABELS fast)
set(scorer_support support/version_fixture.c support/direct_score.c support/random_request.c)
undine_test(test_scorer SOURCES unit/test_scorer.c ${scorer_support}
  LIBS undine_scorer_static undine_learner LABELS fast)
undine_count_allocations(test_scorer)
undine_test(test_scorer_precision SOURCES unit/test_scorer_precision.c support/version_fixture.c
  support/random_request.c LIBS undine_scorer_static undine_learner m LABELS fast)
undine_count_allocations(test_scorer_precision)
undine_test(test_scorer_swap SOURCES unit/test_scorer_swap.c ${scorer_support}
  LIBS undine_scorer_static undine_learner LABELS fast)
undine_test(test_scorer_chain SOURCES unit/test_scorer_chain.c support/chain_world.c ${scorer_support}
  LIBS undine_scorer_static undine_learner LABELS fast)
undine_test(test_version_mutations SOURCES property/test_version_mutations.c support/chain_world.c ${scorer_support}
  LIBS undine_scorer_static undine_learner LABELS fast)
undine_test(test_linear_life SOURCES integration/test_linear_life.c support/example_stream.c
  LIBS undine_scorer_static undine_learner LABELS fast)

undine_test(test_scoring SOURCES unit/test_scoring.c support/version_fixture.c LIBS undine_ops LABELS fast)

# What scripts need: a version to look at, and the parts that `cmake --install --component scorer` copies.
add_executable(make_version support/make_version.c support/version_fixture.c)
target_link_libraries(make_version PRIVATE undine_flags undine_learner)
set_target_properties(make_version PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_executable(make_chain support/make_chain.c support/chain_world.c support/version_fixture.c)
target_link_libraries(make_chain PRIVATE undine_flags undine_learner)
set_target_properties(make_chain PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
undine_script_test(version_files integration/version_files.sh LABELS fast)
if(NOT UNDINE_TSAN)
  undine_script_test(score integration/score.sh LABELS integration)
  undine_script_test(serve integration/serve.sh LABELS integration)
  undine_script_test(export integration/export.sh LABELS integration once)
  undine_script_test(python integration/python.sh LABELS integration once)
  undine_script_test(formats integration/formats.sh LABELS integration once)
endif()
undine_test(test_publish_gate SOURCES unit/test_publish_gate.c support/version_fixture.c LIBS undine_ops LABELS fast)
undine_test(test_version_diff SOURCES unit/test_version_diff.c support/version_fixture.c LIBS undine_ops m LABELS fast)
undine_test(test_onnx SOURCES unit/test_onnx.c support/version_fixture.c LIBS undine_ops LABELS fast)
target_link_options(test_onnx PRIVATE LINKER:--wrap=malloc,--wrap=calloc,--wrap=realloc)
undine_fuzz(fuzz_safetensors SOURCES fuzz/fuzz_safetensors.c LIBS undine_model CORPUS fuzz/corpus/safetensors)
undine_fuzz(fuzz_manifest SOURCES fuzz/fuzz_manifest.c LIBS undine_model CORPUS fuzz/corpus/manifest)
undine_test(test_golden_version SOURCES golden/test_golden_version.c
  LIBS undine_scorer_static undine_learner m LABELS fast)
target_compile_definitions(test_golden_version PRIVATE
  GOLDEN_DIR="${CMAKE_CURRENT_SOURCE_DIR}/golden/versions-format-1")

add_executable(bench_scorer bench/bench_scorer.c support/version_fixture.c)
target_link_libraries(bench_scorer PRIVATE undine_flags undine_scorer_static undine_learner)
set_target_properties(bench_scorer PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
