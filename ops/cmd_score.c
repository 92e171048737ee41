#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/precision.h"
#include "ops/score_json.h"
#include "ops/zfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scoring {
    struct undine_session *session;
    struct score_json json;
    struct writer answer;
    float *prob;
    size_t prob_capacity;
    uint64_t lines, failed;
};

static bool room_for(struct scoring *s, size_t n)
{
    if (n > s->prob_capacity) {
        float *prob = reallocarray(s->prob, n, sizeof *prob);
        if (prob == NULL) {
            return false;
        }
        s->prob = prob;
        s->prob_capacity = n;
    }
    return true;
}

/* One request, one line of output. */
static void score_line(struct scoring *s, const char *line, size_t len)
{
    struct undine_err err = {0};
    struct undine_error why = {0};
    const char *message = NULL;
    s->lines++;
    if (score_json_parse(&s->json, line, len, &err) < 0) {
        message = err.msg;
    } else if (!room_for(s, s->json.request.n_candidates)) {
        message = "no memory for the scores";
    } else if (undine_score(s->session, &s->json.request, s->prob, &why) < 0) {
        message = why.message;
    }
    writer_clear(&s->answer);
    if (message != NULL) {
        s->failed++; /* DROP(request_refused) */
        score_json_error(&s->answer, message);
    } else {
        score_json_answer(&s->answer, undine_session_version(s->session), s->prob,
                          s->json.request.n_candidates);
    }
    writer_u8(&s->answer, '\n');
    (void)fwrite(s->answer.data, 1, s->answer.len, stdout);
}

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t\r\n")] == '\0';
}

static int score_file(struct scoring *s, const char *input)
{
    char *line = NULL;
    size_t capacity = 0;
    struct undine_err err = {0};
    FILE *in = zfile_read(input, &err);
    if (in == NULL) {
        (void)fprintf(stderr, "undine score: %s\n", err.msg);
        return EXIT_FAILED;
    }
    /* A line that a read error cut short is no request. */
    ssize_t len = 0;
    while ((len = getline(&line, &capacity, in)) >= 0 && ferror(in) == 0) {
        if (!is_blank(line)) {
            score_line(s, line, (size_t)len);
        }
    }
    bool unread = zfile_close(in, input, &err) < 0;
    if (unread) {
        (void)fprintf(stderr, "undine score: %s\n", err.msg);
    }
    bool unwritten = fflush(stdout) != 0 || ferror(stdout) != 0;
    if (unwritten) {
        (void)fprintf(stderr, "undine score: output: %s\n", strerror(errno));
    }
    uint64_t values, steps;
    undine_session_cut(s->session, &values, &steps);
    if (values > 0 || steps > 0) {
        (void)fprintf(stderr,
                      "undine score: %" PRIu64 " ids beyond values_max and %" PRIu64
                      " steps beyond their sequence's length were left out\n",
                      values, steps);
    }
    if (s->failed > 0) {
        (void)fprintf(stderr, "undine score: %" PRIu64 " of %" PRIu64 " requests were refused\n",
                      s->failed, s->lines);
    }
    free(line);
    return unread || unwritten || s->failed > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int score_all(struct undine_scorer *scorer, const char *input)
{
    struct scoring s = {0};
    struct undine_error err = {0};
    int code = EXIT_FAILED;
    score_json_init(&s.json);
    writer_init(&s.answer);
    if (undine_session_open(&s.session, scorer, &err) < 0) {
        (void)fprintf(stderr, "undine score: %s\n", err.message);
    } else {
        code = score_file(&s, input);
    }
    undine_session_close(s.session);
    score_json_release(&s.json);
    writer_release(&s.answer);
    free(s.prob);
    return code;
}

int cmd_score(int argc, char **argv)
{
    const char *versions = NULL, *input = NULL, *word = "f32";
    const struct args_option options[] = {
        {"versions", 'v', ARGS_STRING, &versions, "DIR", "where versions are published (required)"},
        {"input", 'i', ARGS_STRING, &input, "FILE",
         "requests, one JSON object a line, .zst too, - for standard input (required)"},
        {"precision", 0, ARGS_STRING, &word, "NAME",
         "f32, or int16: half the time, where the processor has AVX-512 VNNI; default f32"},
    };
    int code = args_parse(argc, argv, "score --versions DIR --input FILE", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    if (versions == NULL || input == NULL) {
        (void)fprintf(stderr, "undine score: %s is required; see `undine score --help`\n",
                      versions == NULL ? "--versions" : "--input");
        return EXIT_USAGE;
    }
    enum undine_precision precision;
    struct undine_err why = {0};
    if (precision_parse(&precision, word, &why) < 0) {
        (void)fprintf(stderr, "undine score: %s\n", why.msg);
        return EXIT_USAGE;
    }
    struct undine_scorer *scorer = NULL;
    struct undine_error err = {0};
    int rc = undine_scorer_open_with(&scorer, versions, precision, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "undine score: %s\n", err.message);
        return args_exit_code(rc);
    }
    code = score_all(scorer, input);
    undine_scorer_close(scorer);
    return code;
}
