# Tests of versions (learner/version.c, learner/model/) and of scorer/.
undine_test(test_safetensors SOURCES unit/test_safetensors.c LIBS undine_model LABELS fast)
undine_test(test_version SOURCES unit/test_version.c support/version_fixture.c LIBS undine_learner
  LABELS fast)
set(scorer_support support/version_fixture.c support/direct_score.c support/random_request.c)
undine_test(test_scorer SOURCES unit/test_scorer.c ${scorer_support}
  LIBS undine_scorer_static undine_learner LABELS fast)
target_link_options(test_scorer PRIVATE LINKER:--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray
  LINKER:--wrap=aligned_alloc)
undine_test(test_scorer_swap SOURCES unit/test_scorer_swap.c ${scorer_support}
  LIBS undine_scorer_static undine_learner LABELS fast)
