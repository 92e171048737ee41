# Tests of learner/ (its models: model.cmake).
undine_test(test_table SOURCES unit/test_table.c LIBS undine_learner LABELS fast)
undine_test(test_optimizer SOURCES unit/test_optimizer.c LIBS undine_learner LABELS fast)
undine_test(test_metrics SOURCES unit/test_metrics.c LIBS undine_learner LABELS fast)
undine_test(test_popularity SOURCES unit/test_popularity.c LIBS undine_learner LABELS fast)
