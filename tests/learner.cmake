# Tests of learner/ (its models: model.cmake).
undine_test(test_table SOURCES unit/test_table.c LIBS undine_learner LABELS fast)
undine_test(test_table_index SOURCES unit/test_table_index.c LIBS undine_learner LABELS fast)
undine_test(test_distinct SOURCES unit/test_distinct.c LIBS undine_learner LABELS fast)
undine_test(test_retention SOURCES property/test_retention.c LIBS undine_learner LABELS fast)
undine_test(test_trainer_rows SOURCES unit/test_trainer_rows.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_admission SOURCES unit/test_admission.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_optimizer SOURCES unit/test_optimizer.c LIBS undine_learner LABELS fast)
undine_test(test_regularizer SOURCES unit/test_regularizer.c LIBS undine_learner LABELS fast)
undine_test(test_regularizer_trainer SOURCES unit/test_regularizer_trainer.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_own_tables SOURCES unit/test_own_tables.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_dropout SOURCES unit/test_dropout.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_schedule SOURCES unit/test_schedule.c LIBS undine_learner LABELS fast)
undine_test(test_metrics SOURCES unit/test_metrics.c LIBS undine_learner LABELS fast)
undine_test(test_slices SOURCES unit/test_slices.c support/example_stream.c
  LIBS undine_learner m LABELS fast)
undine_test(test_attention SOURCES unit/test_attention.c support/example_stream.c
  LIBS undine_learner m LABELS fast)
undine_test(test_norms SOURCES unit/test_norms.c support/example_stream.c
  LIBS undine_learner m LABELS fast)
undine_test(test_popularity SOURCES unit/test_popularity.c LIBS undine_learner LABELS fast)
undine_test(test_batch_builder SOURCES unit/test_batch_builder.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_loss SOURCES unit/test_loss.c LIBS undine_learner LABELS fast)
undine_test(test_trainer_late SOURCES unit/test_trainer_late.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_trainer SOURCES unit/test_trainer.c support/example_stream.c LIBS undine_learner LABELS fast)
undine_test(test_trainer_allocations SOURCES unit/test_trainer_allocations.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_count_allocations(test_trainer_allocations)
undine_test(test_guard SOURCES unit/test_guard.c support/example_stream.c LIBS undine_learner LABELS fast)
undine_test(test_gate SOURCES unit/test_gate.c support/example_stream.c LIBS undine_learner PkgConfig::JANSSON m LABELS fast)
undine_test(test_frozen SOURCES unit/test_frozen.c support/example_stream.c LIBS undine_learner m LABELS fast)
undine_test(test_trainer_workers SOURCES property/test_trainer_workers.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_trainer_changes SOURCES property/test_trainer_changes.c support/example_stream.c
  LIBS undine_learner m LABELS fast)
undine_test(test_workers_rows SOURCES property/test_workers_rows.c support/example_stream.c
  LIBS undine_learner LABELS slow)
undine_test(test_progressive SOURCES integration/test_progressive.c support/example_stream.c
  LIBS undine_learner m LABELS fast)
undine_test(test_batch_cut SOURCES property/test_batch_cut.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_learning SOURCES integration/test_learning.c support/example_stream.c
  LIBS undine_learner LABELS fast)
undine_test(test_trainer_log SOURCES integration/test_trainer_log.c
  LIBS test_store_fixture undine_learner LABELS fast)
undine_test(test_live_replay SOURCES property/test_live_replay.c
  LIBS test_ingest_world undine_learner LABELS fast)
undine_test(test_blas SOURCES unit/test_blas.c support/toy_batch.c LIBS undine_learner m LABELS fast)
undine_script_test(libraries integration/libraries.sh LABELS fast)
undine_test(test_torch_training SOURCES golden/test_torch_training.c support/torch_golden.c
  support/toy_batch.c support/example_stream.c LIBS undine_learner PkgConfig::JANSSON LABELS fast)
target_compile_definitions(test_torch_training PRIVATE
  TORCH_GOLDEN_DIR="${CMAKE_CURRENT_SOURCE_DIR}/golden/torch")
add_executable(bench_table EXCLUDE_FROM_ALL bench/bench_table.c)
target_link_libraries(bench_table PRIVATE undine_flags undine_learner)
set_target_properties(bench_table PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_executable(bench_publish EXCLUDE_FROM_ALL bench/bench_publish.c bench/bench_shape.c support/example_stream.c)
target_link_libraries(bench_publish PRIVATE undine_flags undine_learner m)
set_target_properties(bench_publish PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
