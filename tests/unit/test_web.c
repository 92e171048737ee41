/* What /readyz says before the daemon is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the four above */
#include <cmocka.h>

#include "ops/web.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct answer {
    char text[4096];
};

static struct answer ask(uint16_t port)
{
    struct answer a = {{0}};
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(fd, request, sizeof request - 1), sizeof request - 1);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, a.text + len, sizeof a.text - 1 - len)) > 0) {
        len += (size_t)n;
    }
    (void)close(fd);
    return a;
}

static void expect(uint16_t port, const char *what)
{
    struct answer a = ask(port);
    assert_non_null(strstr(a.text, "HTTP/1.1 503"));
    if (strstr(a.text, what) == NULL) {
        print_error("%s\nhas no %s\n", a.text, what);
        fail();
    }
}

static const struct config config = {
    .http = {.listen = "127.0.0.1:0", .threads = 1, .body_max = 4096}};

static void test_readyz_says_how_far_both_halves_are(void **state)
{
    (void)state;
    struct web *w = NULL;
    struct undine_err err = {0};
    struct restore_lanes lanes = {{0}, {0}};
    assert_int_equal(web_open(&w, &config, &lanes, &err), 0);
    uint16_t port = web_port(w);
    expect(port, "{\"ready\":false,\"phase\":\"starting\"}\n");

    restore_progress_begin(&lanes.state, RESTORE_STORE, 0);
    expect(port, "{\"ready\":false,\"phase\":\"opening the store\",\"seconds\":0.");

    restore_progress_begin(&lanes.state, RESTORE_USERS, 8);
    restore_progress_add(&lanes.state, 2);
    expect(port,
           "\"phase\":\"restoring users\",\"done\":2,\"total\":8,\"share\":0.250,\"seconds\":0.");
    assert_null(strstr(ask(port).text, "beside"));

    restore_progress_begin(&lanes.learner, RESTORE_ROWS, 10);
    restore_progress_add(&lanes.learner, 11); /* never more than all */
    expect(port, "\"phase\":\"restoring users\"");
    expect(port,
           ",\"beside\":{\"phase\":\"restoring rows\",\"done\":10,\"total\":10,\"share\":1.000,");

    restore_progress_begin(&lanes.state, RESTORE_NOTHING, 0);
    expect(port, "{\"ready\":false,\"phase\":\"restoring rows\"");
    assert_null(strstr(ask(port).text, "beside"));
    web_close(w);
}

static void test_readyz_where_nothing_is_watched(void **state)
{
    (void)state;
    struct web *w = NULL;
    struct undine_err err = {0};
    assert_int_equal(web_open(&w, &config, NULL, &err), 0);
    expect(web_port(w), "{\"ready\":false,\"phase\":\"starting\"}\n");
    web_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readyz_says_how_far_both_halves_are),
        cmocka_unit_test(test_readyz_where_nothing_is_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
