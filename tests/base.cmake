# Tests of base/.
undine_test(test_base SOURCES unit/test_base.c LIBS undine_base LABELS fast)
undine_test(test_schema SOURCES unit/test_schema.c LIBS undine_base LABELS fast)
undine_test(test_nearest SOURCES unit/test_nearest.c LIBS undine_base LABELS fast)
undine_test(test_workers SOURCES unit/test_workers.c LIBS undine_base LABELS fast)
