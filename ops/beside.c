#include "ops/beside.h"

static void *run(void *payload)
{
    struct beside *b = payload;
    b->rc = b->fn(b->payload, &b->err);
    return NULL;
}

void beside_begin(struct beside *b, const char *name, beside_fn fn, void *payload)
{
    *b = (struct beside){.fn = fn, .payload = payload};
    b->threaded = pthread_create(&b->thread, NULL, run, b) == 0;
    if (b->threaded) {
        (void)pthread_setname_np(b->thread, name);
    }
}

int beside_join(struct beside *b, struct undine_err *err)
{
    if (b->threaded) {
        (void)pthread_join(b->thread, NULL);
    } else {
        (void)run(b);
    }
    if (b->rc < 0 && err != NULL) {
        *err = b->err;
    }
    return b->rc;
}
