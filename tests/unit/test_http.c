#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ready_status = 503;

static int handle_health(void *payload, struct writer *body)
{
    (void)payload;
    writer_bytes(body, "ok\n", 3);
    return 200;
}

static int handle_ready(void *payload, struct writer *body)
{
    const char *text = "restoring\n";
    writer_bytes(body, text, strlen(text));
    return *(int *)payload;
}

static int handle_big(void *payload, struct writer *body)
{
    (void)payload;
    uint8_t *p = writer_extend(body, 1000000);
    if (p != NULL) {
        memset(p, 'z', 1000000);
    }
    return 200;
}

static int handle_no_memory(void *payload, struct writer *body)
{
    (void)payload;
    writer_bytes(body, "half", 4);
    body->bad = true;
    return 200;
}

static const struct http_route ROUTES[] = {
    {"/healthz", "text/plain", handle_health, NULL},
    {"/readyz", "text/plain", handle_ready, &ready_status},
    {"/big", "text/plain", handle_big, NULL},
    {"/memory", "text/plain", handle_no_memory, NULL},
};

static struct http *serve(void)
{
    struct http *h = NULL;
    struct undine_err err = {0};
    const struct http_options opt = {
        .listen = "127.0.0.1:0", .routes = ROUTES, .n_routes = sizeof ROUTES / sizeof ROUTES[0]};
    int rc = http_open(&h, &opt, &err);
    if (rc < 0) {
        fail_msg("%s", err.msg);
    }
    assert_true(http_port(h) > 0);
    return h;
}

static int connect_to(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* Send text, read until the server closes.  Caller frees. */
static char *talk(uint16_t port, const char *request)
{
    int fd = connect_to(port);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    size_t capacity = 2000000, len = 0;
    char *reply = calloc(1, capacity);
    assert_non_null(reply);
    for (;;) {
        ssize_t n = recv(fd, reply + len, capacity - 1 - len, 0);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    (void)close(fd);
    return reply;
}

static void expect(uint16_t port, const char *request, const char *status, const char *part)
{
    char *reply = talk(port, request);
    if (strncmp(reply, status, strlen(status)) != 0 || strstr(reply, part) == NULL) {
        fail_msg("%s\n-> expected %s and %s, got\n%.400s", request, status, part, reply);
    }
    free(reply);
}

#define REQUEST(method, path) method " " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void test_routes(void **state)
{
    (void)state;
    struct http *h = serve();
    expect(http_port(h), REQUEST("GET", "/healthz"), "HTTP/1.1 200", "\r\n\r\nok\n");
    expect(http_port(h), REQUEST("GET", "/healthz?x=1"), "HTTP/1.1 200", "\r\n\r\nok\n");
    ready_status = 503;
    expect(http_port(h), REQUEST("GET", "/readyz"), "HTTP/1.1 503", "restoring\n");
    ready_status = 200;
    expect(http_port(h), REQUEST("GET", "/readyz"), "HTTP/1.1 200", "restoring\n");
    expect(http_port(h), REQUEST("GET", "/memory"), "HTTP/1.1 500", "\r\n\r\n");
    http_close(h);
}

static void test_refusals(void **state)
{
    (void)state;
    struct http *h = serve();
    uint16_t port = http_port(h);
    expect(port, REQUEST("GET", "/nothing"), "HTTP/1.1 404", "/healthz /readyz");
    expect(port, REQUEST("GET", "/healthz/"), "HTTP/1.1 404", "/healthz");
    expect(port, REQUEST("DELETE", "/healthz"), "HTTP/1.1 405", "Allow: GET, HEAD");
    expect(
        port,
        "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.1 405", "Allow: GET, HEAD");
    http_close(h);
}

static void test_head_has_no_body(void **state)
{
    (void)state;
    struct http *h = serve();
    char *reply = talk(http_port(h), REQUEST("HEAD", "/healthz"));
    assert_memory_equal(reply, "HTTP/1.1 200", 12);
    assert_non_null(strstr(reply, "Content-Length: 3"));
    const char *end = strstr(reply, "\r\n\r\n");
    assert_non_null(end);
    assert_string_equal(end, "\r\n\r\n");
    free(reply);
    http_close(h);
}

static void test_big_answers_and_long_headers(void **state)
{
    (void)state;
    struct http *h = serve();
    char *reply = talk(http_port(h), REQUEST("GET", "/big"));
    const char *body = strstr(reply, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(strlen(body + 4), 1000000);
    free(reply);

    char *request = malloc(70000);
    assert_non_null(request);
    int n = snprintf(request, 70000, "GET /healthz HTTP/1.1\r\nX: ");
    memset(request + n, 'a', 60000);
    (void)snprintf(request + n + 60000, 64, "\r\n\r\n");
    reply = talk(http_port(h), request);
    free(request);
    assert_true(reply[0] == '\0' || strncmp(reply, "HTTP/1.1 4", 10) == 0);
    free(reply);
    expect(http_port(h), REQUEST("GET", "/healthz"), "HTTP/1.1 200", "ok\n"); /* still serves */
    http_close(h);
}

static void test_kept_connection(void **state)
{
    (void)state;
    struct http *h = serve();
    int fd = connect_to(http_port(h));
    const char *request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for (int i = 0; i < 3; i++) {
        char reply[1024] = {0};
        size_t len = 0;
        assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL),
                         (ssize_t)strlen(request));
        while (strstr(reply, "\r\n\r\nok\n") == NULL) {
            ssize_t n = recv(fd, reply + len, sizeof reply - 1 - len, 0);
            assert_true(n > 0);
            len += (size_t)n;
        }
    }
    (void)close(fd);
    http_close(h);
}

static void test_idle_connections_do_not_block_others(void **state)
{
    (void)state;
    struct http *h = serve();
    int idle[16];
    for (size_t i = 0; i < 16; i++) {
        idle[i] = connect_to(http_port(h));
    }
    expect(http_port(h), REQUEST("GET", "/healthz"), "HTTP/1.1 200", "ok\n");
    for (size_t i = 0; i < 16; i++) {
        (void)close(idle[i]);
    }
    http_close(h);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",     "9187", "127.0.0.1:", "127.0.0.1:x", "::1:9187", "127.0.0.1:70000", "127.0.0.1:-1",
        "a b:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct http *h = NULL;
        struct undine_err err = {0};
        const struct http_options opt = {.listen = wrong[i]};
        assert_int_equal(http_open(&h, &opt, &err), UNDINE_ECONFIG);
        assert_null(h);
        assert_non_null(strstr(err.msg, wrong[i]));
    }
}

static void test_taken_port(void **state)
{
    (void)state;
    struct http *h = serve(), *second = NULL;
    struct undine_err err = {0};
    char listen_at[32];
    (void)snprintf(listen_at, sizeof listen_at, ":%u", http_port(h));
    const struct http_options opt = {.listen = listen_at};
    assert_int_equal(http_open(&second, &opt, &err), UNDINE_EIO);
    assert_null(second);
    assert_non_null(strstr(err.msg, "in use"));
    http_close(h);
    http_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_big_answers_and_long_headers),
        cmocka_unit_test(test_kept_connection),
        cmocka_unit_test(test_idle_connections_do_not_block_others),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_taken_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
