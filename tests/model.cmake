# Tests of this layer, by hand.  The double build checks gradients, the float one is what runs.
undine_test(test_model_gradient SOURCES unit/test_model_gradient.c support/toy_batch.c
  LIBS undine_model_f64 m LABELS fast)
