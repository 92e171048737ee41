# Tests of this layer, by hand.
undine_test(test_decode SOURCES unit/test_decode.c LIBS undine_ingest LABELS fast)
undine_test(test_source_file SOURCES unit/test_source_file.c LIBS undine_ingest LABELS fast)
undine_test(test_order SOURCES unit/test_order.c LIBS undine_ingest LABELS fast)
undine_fuzz(fuzz_meta SOURCES fuzz/fuzz_meta.c LIBS undine_ingest CORPUS fuzz/corpus/meta)
