/* example.c: score two videos for a user with the newest version, again whenever Enter is pressed.
 *
 *     cc example.c $(pkg-config --cflags --libs undine) -o example && ./example state/versions */
#include <undine.h>

#include <stdio.h>
#include <string.h>

static struct undine_value id(const char *text)
{
    return (struct undine_value){text, strlen(text)};
}

int main(int argc, char **argv)
{
    struct undine_error err = {0};
    struct undine_scorer *scorer = NULL;
    struct undine_session *session = NULL;
    int failed = 1;
    if (argc != 2) {
        fprintf(stderr, "usage: %s VERSIONS_DIR\n", argv[0]);
        return 2;
    }
    if (undine_scorer_open(&scorer, argv[1], &err) < 0 ||
        undine_session_open(&session, scorer, &err) < 0) {
        goto out;
    }

    /* Names are those of the configuration's fields and sequences. */
    struct undine_value video[] = {id("5239"), id("77")}, watched = id("1234");
    struct undine_feature seen = {"video", &watched, 1};
    struct undine_feature shown[] = {{"video", &video[0], 1}, {"video", &video[1], 1}};
    struct undine_features step = {&seen, 1}, candidates[] = {{&shown[0], 1}, {&shown[1], 1}};
    struct undine_sequence clicks = {"clicks", &step, 1};
    struct undine_request request = {.user_id = id("712"),
                                     .sequences = &clicks,
                                     .n_sequences = 1,
                                     .candidates = candidates,
                                     .n_candidates = 2};
    float p[2];
    do {
        if (undine_scorer_refresh(scorer, &err) < 0) { /* the version in use stays in use */
            fprintf(stderr, "%s\n", err.message);
        }
        if (undine_score(session, &request, p, &err) < 0) {
            goto out;
        }
        printf("version %llu: %.4f %.4f\n", (unsigned long long)undine_session_version(session),
               p[0], p[1]);
    } while (getchar() == '\n');
    failed = 0;

out:
    if (failed) {
        fprintf(stderr, "%s\n", err.message);
    }
    undine_session_close(session);
    undine_scorer_close(scorer);
    return failed;
}
