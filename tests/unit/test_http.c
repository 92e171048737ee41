#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "ops/http_problem.h"

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

static int handle_health(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload, (void)in;
    out->content_type = "text/plain";
    writer_bytes(&out->body, "ok\n", 3);
    return 200;
}

static int handle_ready(void *payload, const struct http_request *in, struct http_answer *out)
{
    const char *text = "restoring\n";
    (void)in;
    writer_bytes(&out->body, text, strlen(text));
    return *(int *)payload;
}

static int handle_big(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload, (void)in;
    uint8_t *p = writer_extend(&out->body, 1000000);
    if (p != NULL) {
        memset(p, 'z', 1000000);
    }
    return 200;
}

static int handle_no_memory(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload, (void)in;
    writer_bytes(&out->body, "half", 4);
    out->body.bad = true;
    return 200;
}

static int handle_echo(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload;
    writer_bytes(&out->body, in->body, in->body_len);
    return 200;
}

static int handle_user(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload;
    if (!http_bearer(in, "secret")) {
        out->authenticate = "Bearer";
        return http_problem(out, HTTP_PROBLEM_Unauthorized, NULL, "who asks for %s?", in->rest);
    }
    writer_bytes(&out->body, in->rest, strlen(in->rest));
    return 200;
}

static int handle_slow(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload, (void)in;
    (void)usleep(300000);
    writer_bytes(&out->body, "late", 4);
    return 200;
}

static const struct http_route ROUTES[] = {
    {"GET", "/healthz", handle_health, NULL}, {"GET", "/readyz", handle_ready, &ready_status},
    {"GET", "/big", handle_big, NULL},        {"GET", "/memory", handle_no_memory, NULL},
    {"POST", "/echo", handle_echo, NULL},     {"GET", "/users/*", handle_user, NULL},
    {"GET", "/slow", handle_slow, NULL},
};

static struct http *serve_with(struct http_options opt)
{
    struct http *h = NULL;
    struct undine_err err = {0};
    opt.listen = "127.0.0.1:0";
    opt.routes = ROUTES;
    opt.n_routes = sizeof ROUTES / sizeof ROUTES[0];
    int rc = http_open(&h, &opt, &err);
    if (rc < 0) {
        fail_msg("%s", err.msg);
    }
    assert_true(http_port(h) > 0);
    return h;
}

static struct http *serve(void)
{
    return serve_with((struct http_options)HTTP_OPTIONS_DEFAULT);
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
    expect(port, REQUEST("GET", "/echo"), "HTTP/1.1 405", "Allow: POST");
    expect(port, REQUEST("GET", "/users/"), "HTTP/1.1 404", "/users/*");
    expect(port, REQUEST("GET", "/nothing"), "HTTP/1.1 404",
           "Content-Type: application/problem+json");
    http_close(h);
}

#define POST(type, body_headers, body)                                                             \
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: " type "\r\n" body_headers                    \
    "Connection: close\r\n\r\n" body

static void test_bodies(void **state)
{
    (void)state;
    struct http_options opt = HTTP_OPTIONS_DEFAULT;
    opt.body_max = 10;
    struct http *h = serve_with(opt);
    uint16_t port = http_port(h);
    expect(port, POST("application/json", "Content-Length: 5\r\n", "hello"), "HTTP/1.1 200",
           "\r\n\r\nhello");
    expect(port, POST("Application/JSON; charset=utf-8", "Content-Length: 10\r\n", "0123456789"),
           "HTTP/1.1 200", "\r\n\r\n0123456789");
    expect(port, POST("application/json", "Content-Length: 0\r\n", ""), "HTTP/1.1 200",
           "Content-Length: 0");
    expect(port, POST("application/json", "Content-Length: 11\r\n", "0123456789a"), "HTTP/1.1 413",
           "\"at most 10 bytes are taken\"");
    expect(port, POST("application/json", "Content-Length: 99999999999999\r\n", "x"),
           "HTTP/1.1 413", "\"status\":413");
    expect(port,
           POST("application/json", "Transfer-Encoding: chunked\r\n",
                "6\r\nhello \r\n4\r\nyou!\r\n0\r\n\r\n"),
           "HTTP/1.1 200", "\r\n\r\nhello you!");
    expect(port,
           POST("application/json", "Transfer-Encoding: chunked\r\n",
                "6\r\nhello \r\n5\r\nyou!!\r\n0\r\n\r\n"),
           "HTTP/1.1 413", "BodyTooLarge");
    expect(port, POST("application/x-www-form-urlencoded", "Content-Length: 5\r\n", "hello"),
           "HTTP/1.1 415", "UnsupportedMediaType");
    expect(port, POST("application/jsonx", "Content-Length: 5\r\n", "hello"), "HTTP/1.1 415",
           "application/json");
    expect(port,
           "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: "
           "close\r\n\r\nab",
           "HTTP/1.1 400", "takes no body");
    assert_int_equal(atomic_load(&http_counters(h)->bodies_bytes), 0);
    assert_int_equal(atomic_load(&http_counters(h)->responses[2]), 4);
    assert_int_equal(atomic_load(&http_counters(h)->responses[4]), 6);
    http_close(h);
}

static void test_all_bodies_are_bounded(void **state)
{
    (void)state;
    struct http_options opt = HTTP_OPTIONS_DEFAULT;
    opt.bodies_max = 12;
    struct http *h = serve_with(opt);
    uint16_t port = http_port(h);
    int first = connect_to(port); /* holds 8 of them, and does not go on */
    const char *half = POST("application/json", "Content-Length: 9\r\n", "12345678");
    assert_int_equal(send(first, half, strlen(half), MSG_NOSIGNAL), (ssize_t)strlen(half));
    while (atomic_load(&http_counters(h)->bodies_bytes) != 8) {
        (void)usleep(1000);
    }
    expect(port, POST("application/json", "Content-Length: 4\r\n", "four"), "HTTP/1.1 200", "four");
    expect(port, POST("application/json", "Content-Length: 5\r\n", "five!"), "HTTP/1.1 503",
           "Retry-After: 1");
    assert_int_equal(atomic_load(&http_counters(h)->busy), 1);
    assert_int_equal(send(first, "9", 1, MSG_NOSIGNAL), 1);
    char reply[1024] = {0};
    assert_true(recv(first, reply, sizeof reply - 1, MSG_WAITALL) > 0);
    assert_non_null(strstr(reply, "\r\n\r\n123456789"));
    assert_int_equal(atomic_load(&http_counters(h)->bodies_bytes), 0);
    (void)close(first);
    http_close(h);
}

static void test_rest_and_token(void **state)
{
    (void)state;
    struct http *h = serve();
    uint16_t port = http_port(h);
    expect(port, REQUEST("GET", "/users/7"), "HTTP/1.1 401", "WWW-Authenticate: Bearer");
    static const char *const wrong[] = {"Bearer secre", "Bearer secret1", "Basic secret", "Bearer"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char request[256];
        (void)snprintf(request, sizeof request,
                       "GET /users/7 HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n"
                       "Connection: close\r\n\r\n",
                       wrong[i]);
        expect(port, request, "HTTP/1.1 401", "who asks for 7?");
    }
    expect(port,
           "GET /users/a%2Fb%20c HTTP/1.1\r\nHost: x\r\nAuthorization: bearer secret\r\n"
           "Connection: close\r\n\r\n",
           "HTTP/1.1 200", "\r\n\r\na/b c");
    http_close(h);
}

/* Several requests in one packet, and a client that has nothing more to say. */
static void test_pipelined_and_half_closed(void **state)
{
    (void)state;
    struct http *h = serve();
    int fd = connect_to(http_port(h));
    const char *requests =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
        "3\r\n\r\noneGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" POST(
            "application/json", "Content-Length: 5\r\n", "three");
    assert_int_equal(send(fd, requests, strlen(requests), MSG_NOSIGNAL), (ssize_t)strlen(requests));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    char reply[4096] = {0};
    size_t len = 0;
    for (ssize_t n = 1; n > 0; len += (size_t)n) {
        n = recv(fd, reply + len, sizeof reply - 1 - len, 0);
        assert_true(n >= 0);
    }
    char *one = strstr(reply, "\r\n\r\none"), *two = strstr(reply, "\r\n\r\nok\n");
    char *three = strstr(reply, "\r\n\r\nthree");
    assert_true(one != NULL && two > one && three > two);
    (void)close(fd);
    http_close(h);
}

/* Read until the server ends the connection; whether that came within ms. */
static bool ended_within(int fd, int64_t ms)
{
    const struct timeval wait = {.tv_sec = ms / 1000 + 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    int64_t begun_ns = clock_monotonic_ns();
    char reply[1024];
    ssize_t n = 1;
    while (n > 0) {
        n = recv(fd, reply, sizeof reply, 0);
    }
    (void)close(fd);
    return clock_monotonic_ns() - begun_ns < ms * 1000000;
}

static void test_slow_clients_are_cut(void **state)
{
    (void)state;
    struct http_options opt = HTTP_OPTIONS_DEFAULT;
    opt.idle_timeout_ms = 1000;
    opt.request_timeout_ms = 500;
    struct http *h = serve_with(opt);
    int silent = connect_to(http_port(h)), headers = connect_to(http_port(h));
    int body = connect_to(http_port(h));
    const char *begun = POST("application/json", "Content-Length: 1000\r\n", "");
    assert_int_equal(send(body, begun, strlen(begun), MSG_NOSIGNAL), (ssize_t)strlen(begun));
    for (int i = 0; i < 25; i++) { /* a byte every 100 ms: never idle */
        (void)send(headers, "G", 1, MSG_NOSIGNAL);
        (void)send(body, "b", 1, MSG_NOSIGNAL);
        (void)usleep(100000);
    }
    assert_true(ended_within(silent, 1000));
    assert_true(ended_within(headers, 1000));
    assert_true(ended_within(body, 1000));
    assert_int_equal(atomic_load(&http_counters(h)->cut), 2);
    assert_int_equal(atomic_load(&http_counters(h)->bodies_bytes), 0);
    expect(http_port(h), REQUEST("GET", "/healthz"), "HTTP/1.1 200", "ok\n");
    http_close(h);
}

/* Beyond the limit a connection waits until another one ends. */
static void test_too_many_connections(void **state)
{
    (void)state;
    struct http_options opt = HTTP_OPTIONS_DEFAULT;
    opt.connections_max = 4;
    opt.idle_timeout_ms = 60000;
    struct http *h = serve_with(opt);
    int idle[4];
    for (size_t i = 0; i < 4; i++) {
        idle[i] = connect_to(http_port(h));
    }
    while (atomic_load(&http_counters(h)->connections) < 4) {
        (void)usleep(1000);
    }
    int fd = connect_to(http_port(h));
    const char *request = REQUEST("GET", "/healthz");
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    (void)usleep(200000);
    char reply[1024] = {0};
    assert_true(recv(fd, reply, sizeof reply, MSG_DONTWAIT) < 0);
    assert_int_equal(atomic_load(&http_counters(h)->connections), 4);
    (void)close(idle[0]);
    assert_true(recv(fd, reply, sizeof reply - 1, 0) > 0);
    assert_memory_equal(reply, "HTTP/1.1 200", 12);
    (void)close(fd);
    for (size_t i = 1; i < 4; i++) {
        (void)close(idle[i]);
    }
    http_close(h);
}

static void *drain(void *payload)
{
    http_drain(payload, 5000);
    return NULL;
}

/* What has been begun is answered, and told that nothing follows; nobody else comes in. */
static void test_drain(void **state)
{
    (void)state;
    struct http_options opt = HTTP_OPTIONS_DEFAULT;
    opt.threads = 2;
    struct http *h = serve_with(opt);
    int half = connect_to(http_port(h)), slow = connect_to(http_port(h));
    int idle = connect_to(http_port(h));
    const char *begun =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
        "8\r\n\r\nhalf";
    const char *late = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(send(half, begun, strlen(begun), MSG_NOSIGNAL), (ssize_t)strlen(begun));
    assert_int_equal(send(slow, late, strlen(late), MSG_NOSIGNAL), (ssize_t)strlen(late));
    (void)usleep(100000);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drain, h), 0);
    (void)usleep(200000);
    assert_int_equal(send(half, "half", 4, MSG_NOSIGNAL), 4);
    const int fds[] = {half, slow};
    static const char *const bodies[] = {"\r\n\r\nhalfhalf", "\r\n\r\nlate"};
    for (size_t i = 0; i < 2; i++) {
        char reply[1024] = {0};
        assert_true(recv(fds[i], reply, sizeof reply - 1, MSG_WAITALL) > 0);
        assert_non_null(strstr(reply, bodies[i]));
        assert_non_null(strstr(reply, "Connection: close"));
        (void)close(fds[i]);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)close(idle);
    http_close(h);
}

static void test_keys(void **state)
{
    (void)state;
    struct http_options opt = HTTP_OPTIONS_DEFAULT;
    struct undine_err err = {0};
    struct http *h = NULL;
    opt.listen = "127.0.0.1:0";
    opt.tls_cert = "/nowhere/cert.pem";
    opt.tls_key = "/nowhere/key.pem";
    assert_int_equal(http_open(&h, &opt, &err), UNDINE_EIO);
    assert_non_null(strstr(err.msg, "/nowhere/cert.pem"));
    char name[] = "/tmp/undine-test.XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "no certificate\n", 15), 15);
    opt.tls_cert = opt.tls_key = name;
    assert_int_equal(http_open(&h, &opt, &err), UNDINE_EIO);
    assert_non_null(strstr(err.msg, "did not start"));
    assert_null(h);
    (void)close(fd);
    (void)unlink(name);
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
        struct http_options opt = HTTP_OPTIONS_DEFAULT;
        opt.listen = wrong[i];
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
    struct http_options opt = HTTP_OPTIONS_DEFAULT;
    opt.listen = listen_at;
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
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_all_bodies_are_bounded),
        cmocka_unit_test(test_rest_and_token),
        cmocka_unit_test(test_pipelined_and_half_closed),
        cmocka_unit_test(test_slow_clients_are_cut),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
