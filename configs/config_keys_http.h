/* config_keys_http.h: the rows of config_keys.c for HTTP; included there. */
#ifndef UNDINE_CONFIGS_CONFIG_KEYS_HTTP_H
#define UNDINE_CONFIGS_CONFIG_KEYS_HTTP_H

    SECTION("http", "Metrics, health and scoring over HTTP (docs/serving.md)."),
    {.path = "http.listen",
     .type = CONFIG_STRING,
     AT(http.listen),
     RANGE(0, 255),
     .fallback = "127.0.0.1:9187",
     .doc = "Address and port; empty = no HTTP. `/v1/users` shows what users did and `/v1/score` "
            "what the model thinks of it: beyond loopback put a proxy that authenticates before it."},
    {.path = "http.threads",
     .type = CONFIG_INT,
     AT(http.threads),
     RANGE(1, 64),
     .fallback = "2",
     .doc = "Threads that answer, and with them requests that are scored at once."},
    {.path = "http.precision",
     .type = CONFIG_ENUM,
     AT(http.precision),
     .names = names_precision,
     .fallback = "f32",
     .doc = "What scores are computed in: `f32` as the model was trained; `int16` takes about half "
            "the time and a processor with AVX-512 VNNI, without which the program does not start "
            "(docs/scorers.md)."},
    {.path = "http.body_max",
     .type = CONFIG_BYTES,
     AT(http.body_max),
     RANGE(1024, 64 * MIB),
     .fallback = "1MiB",
     .doc = "Largest body of a request. All that are being received or answered together take 64 "
            "times as much at most."},
    {.path = "http.token_file",
     .type = CONFIG_STRING,
     AT(http.token_file),
     RANGE(0, 1023),
     .fallback = "",
     .doc = "File whose first line is the bearer token that changes of versions by HTTP need, and "
            "`/v1/users` then too. Empty: no version can be changed by HTTP."},
    {.path = "http.tls_cert",
     .type = CONFIG_STRING,
     AT(http.tls_cert),
     RANGE(0, 1023),
     .fallback = "",
     .doc = "PEM file of the certificate and its chain. Empty: no TLS."},
    {.path = "http.tls_key",
     .type = CONFIG_STRING,
     AT(http.tls_key),
     RANGE(0, 1023),
     .fallback = "",
     .doc = "PEM file of the certificate's key."},

#endif
