#include "scorer/scorer.h"

#include <stdlib.h>

struct image *session_pin(struct undine_session *t)
{
    struct image *image = atomic_load(&t->scorer->current);
    for (;;) {
        atomic_store(&t->pinned, image);
        struct image *again = atomic_load(&t->scorer->current);
        if (again == image) {
            return image;
        }
        image = again;
    }
}

void session_unpin(struct undine_session *t)
{
    atomic_store_explicit(&t->pinned, NULL, memory_order_release);
}

int undine_session_open(struct undine_session **out, struct undine_scorer *s,
                        struct undine_error *error)
{
    struct undine_err err = {0};
    struct undine_session *t = calloc(1, sizeof *t);
    if (t == NULL) {
        int rc = undine_err_set(&err, UNDINE_ENOMEM, "no memory for a session");
        return scorer_error(error, &err, rc);
    }
    atomic_init(&t->pinned, NULL);
    t->scorer = s;
    (void)pthread_mutex_lock(&s->mutex);
    t->next = s->sessions;
    s->sessions = t;
    (void)pthread_mutex_unlock(&s->mutex);
    struct image *image = session_pin(t);
    t->version = image->number;
    int rc = model_scratch_open(&t->scratch, image->model, &err);
    session_unpin(t);
    if (rc < 0) {
        undine_session_close(t);
        return scorer_error(error, &err, rc);
    }
    *out = t;
    return UNDINE_OK;
}

void undine_session_close(struct undine_session *t)
{
    if (t == NULL) {
        return;
    }
    struct undine_scorer *s = t->scorer;
    (void)pthread_mutex_lock(&s->mutex);
    struct undine_session **at = &s->sessions;
    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
    (void)pthread_mutex_unlock(&s->mutex);
    model_scratch_close(t->scratch);
    request_release(&t->request);
    free(t);
}

uint64_t undine_session_version(const struct undine_session *t)
{
    return t->version;
}

void undine_session_cut(const struct undine_session *t, uint64_t *values, uint64_t *steps)
{
    *values = t->cut.values;
    *steps = t->cut.steps;
}

static int check_schema(const struct schema *s, const struct session_steps *steps,
                        struct undine_err *err)
{
    if (steps == NULL || schema_data_digest(s) == steps->data_digest) {
        return UNDINE_OK;
    }
    return undine_err_set(err, UNDINE_ESTATE,
                          "the published version has another schema than the stored users");
}

int session_score(struct undine_session *t, const struct undine_request *req,
                  const struct session_steps *steps, float *prob, struct undine_err *err)
{
    struct image *image = session_pin(t);
    t->version = image->number;
    int rc = check_schema(&image->reader->manifest.schema, steps, err);
    if (rc == UNDINE_OK) {
        rc = request_build(&t->request, image->chain, req, steps == NULL ? NULL : steps->sequence,
                           err);
    }
    if (rc == UNDINE_OK && req->n_candidates > 0) {
        model_scratch_use(t->scratch, image->model);
        rc = model_score(image->model, t->scratch, &t->request.batch, prob, err);
    }
    session_unpin(t);
    if (rc == UNDINE_OK) {
        t->cut.values += t->request.cut.values;
        t->cut.steps += t->request.cut.steps;
    }
    for (size_t i = 0; rc == UNDINE_OK && i < req->n_candidates; i++) {
        prob[i] = model_sigmoid(prob[i]);
    }
    return rc;
}

int undine_score(struct undine_session *t, const struct undine_request *req, float *prob,
                 struct undine_error *error)
{
    struct undine_err err = {0};
    int rc = session_score(t, req, NULL, prob, &err);
    return scorer_error(error, &err, rc);
}
