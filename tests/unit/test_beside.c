/* Work beside its caller: what it returns and says, and that it is done even where no thread can be
 * had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the four above */
#include <cmocka.h>

#include "ops/beside.h"

#include <dlfcn.h>
#include <errno.h>

static bool no_threads;

/* In front of the C library's. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    typedef int (*create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    create_fn create;
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : create(thread, attr, fn, arg);
}

struct work {
    pthread_t by;
    int rc;
};

static int work(void *payload, struct undine_err *err)
{
    struct work *w = payload;
    w->by = pthread_self();
    return w->rc == 0 ? 0 : undine_err_set(err, w->rc, "what went wrong");
}

static void test_result_and_error(void **state)
{
    (void)state;
    struct beside b;
    struct undine_err err = {0};
    struct work good = {.rc = 0}, bad = {.rc = UNDINE_ESTATE};
    beside_begin(&b, "beside", work, &good);
    assert_int_equal(beside_join(&b, &err), 0);
    assert_false(pthread_equal(good.by, pthread_self()));
    assert_int_equal(err.code, 0);
    beside_begin(&b, "beside", work, &bad);
    assert_int_equal(beside_join(&b, &err), UNDINE_ESTATE);
    assert_string_equal(err.msg, "what went wrong");
    beside_begin(&b, "beside", work, &bad);
    assert_int_equal(beside_join(&b, NULL), UNDINE_ESTATE);
}

static void test_without_a_thread(void **state)
{
    (void)state;
    struct beside b;
    struct undine_err err = {0};
    struct work w = {.rc = UNDINE_EIO};
    no_threads = true;
    beside_begin(&b, "beside", work, &w);
    no_threads = false;
    assert_int_equal(beside_join(&b, &err), UNDINE_EIO);
    assert_true(pthread_equal(w.by, pthread_self()));
    assert_string_equal(err.msg, "what went wrong");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_result_and_error),
        cmocka_unit_test(test_without_a_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
