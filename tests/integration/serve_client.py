"""serve_client.py same URL REQUESTS ANSWERS: POST /v1/score answers each request as `undine score` did, one by one and all
at once.
serve_client.py refused URL: what is wrong is refused with a problem document that says where.
serve_client.py abuse URL PID [SECONDS]: malformed and huge requests cost a 4xx and no memory.
serve_client.py types URL OPENAPI: every type of a problem is described in the description that is served."""
import http.client
import json
import socket
import sys
import threading
import time
import urllib.parse


def connect(url):
    at = urllib.parse.urlsplit(url)
    return http.client.HTTPConnection(at.hostname, at.port, timeout=20)


def post(connection, body, path="/v1/score", **headers):
    """Status, headers and the JSON of the answer."""
    headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    connection.request("POST", path, body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, json.loads(answer.read())


def same(url, requests, answers):
    connection = connect(url)
    requests = [line for line in open(requests) if line.strip()]
    answers = [json.loads(line) for line in open(answers)]
    for request, expected in zip(requests, answers, strict=True):
        status, _, got = post(connection, request)
        assert status == 200 and got == expected, (request, got, expected)
    status, _, got = post(connection, '{"requests":[%s]}' % ",".join(requests))
    assert status == 200 and got == {"results": answers}, got
    assert post(connection, '{"requests":[]}')[2] == {"results": []}
    print("%d requests, scored as `undine score` does" % len(requests))


REFUSED = [
    ('{"candidates":[{"vidoe":1}]}', "/candidates/0/vidoe"),
    ('{"candidates":[{"video":1},{"video":1,"tag":[2,{}]}]}', "/candidates/1/tag/1"),
    ('{"candidates":{"video":1}}', "/candidates"),
    ('{"candidate":[]}', "/candidate"),
    ('{"profile":{"video":1}}', "/profile/video"),
    ('{"profile":{"age":1,"age":2}}', "/profile/age"),
    ('{"context":{"age":1}}', "/context/age"),
    ('{"sequences":{"views":[]}}', "/sequences/views"),
    ('{"sequences":{"clicks":[{},{"video":true}]}}', "/sequences/clicks/1/video"),
    ('{"sequences":{"clicks":[{"hour":1}],"clicks":[]}}', "/sequences/clicks/0/hour"),
    ('{"requests":[{},{"candidates":[{},{"x":1}]}]}', "/requests/1/candidates/1/x"),
    ('{"requests":[{},{"profile":{"x":1}}]}', "/requests/1/profile/x"),
    ('{"requests":3}', "/requests"),
    ('{"time":5}', "/time"),
    ('{"candidates":[', ""),
    ("", ""),
    ("[]", ""),
    ('{"user":"\\ud800"}', ""),
    ("[" * 1000, ""),
    ('{"candidates":[%s]}' % ",".join(["{}"] * 10001), "/candidates"),
]


def check_problem(status, headers, problem, expected):
    assert headers["Content-Type"] == "application/problem+json", headers
    assert status == expected and problem["status"] == expected, problem
    assert problem["type"].startswith("/openapi.json#/components/responses/"), problem
    assert problem["title"] and problem["detail"], problem
    assert set(problem) <= {"type", "title", "status", "detail", "pointer"}, problem


def refused(url):
    connection = connect(url)
    for body, pointer in REFUSED:
        status, headers, problem = post(connection, body)
        check_problem(status, headers, problem, 400)
        assert problem["pointer"] == pointer, (body[:100], problem)
    check_problem(*post(connection, "{}", Content_Type="text/plain"), 415)
    check_problem(*post(connection, "{}", path="/v1/scores"), 404)
    status, headers, problem = post(connection, "{}", path="/v1/versions")
    check_problem(status, headers, problem, 405)
    assert headers["Allow"] == "GET, HEAD"
    check_problem(*post(connection, b'{"user":"\xff"}'), 400)
    check_problem(*post(connect(url), " " * (1 << 20) + "{}"), 413)
    connection.request("GET", "/v1/score")
    answer = connection.getresponse()
    check_problem(answer.status, answer.headers, json.loads(answer.read()), 405)
    assert answer.headers["Allow"] == "POST"
    assert post(connection, "{}")[0] == 200
    print("%d ways to be wrong, each refused with its place" % (len(REFUSED) + 6))


def rss_bytes(pid):
    for line in open("/proc/%s/status" % pid):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024


ABUSE = [
    b"[" * 500000, b'{"candidates":[' + b"{}," * 300000 + b"{}]}", b'{"a":' * 100000, b"\x00" * 1000000,
    b'{"users":"' + b"x" * 1000000 + b'"}', b'{"user":"' + b"\xff" * 1000 + b'"}',
    b'{"requests":[' + b"{}," * 300000 + b"{}]}", b'{"candidates":[{"tag":[' + b"1," * 500000 + b"true]}]}",
    b"1" * 1000000, b'{"profile":{' + b",".join(b'"f%d":1' % i for i in range(50000)) + b"}}",
    b'{"sequences":{"clicks":[' + b'{"video":1},' * 80000 + b"7]}}",
]


def abuse_once(url, seconds):
    """Send each in turn on kept connections, and half of one that is then left; no answer may be anything but a 4xx, or a 503
    where too much came at once."""
    at = urllib.parse.urlsplit(url)
    end, statuses = time.monotonic() + seconds, {}
    while time.monotonic() < end:
        connection = connect(url)
        for body in ABUSE:
            status = post(connection, body)[0]
            statuses[status] = statuses.get(status, 0) + 1
        connection.close()
        for junk in b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01" * 100, b"POST /v1/score HTTP/1.1\r\nContent-Length: -5\r\n\r\n", \
                b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n" + b"{" * 9000:
            with socket.create_connection((at.hostname, at.port)) as s:
                s.sendall(junk)
    return statuses


def abuse(url, pid, seconds=3):
    seconds = float(seconds)
    abuse_once(url, seconds / 3)
    before, sums, failures = rss_bytes(pid), {}, []

    def run():
        try:
            for status, n in abuse_once(url, seconds).items():
                sums[status] = sums.get(status, 0) + n
        except Exception as e:  # a thread's failure is the test's
            failures.append(repr(e))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    after = rss_bytes(pid)
    assert not failures, failures
    assert all(400 <= status < 500 or status == 503 for status in sums) and sums, sums
    assert post(connect(url), "{}")[0] == 200
    # What each thread of the server keeps for its largest document, and no more however often.
    assert after < before + (100 << 20), (before, after)
    print("%d malformed documents of up to 1 MB: statuses %s; resident memory %.0f MiB before, %.0f after" % (
        sum(sums.values()), sums, before / 2 ** 20, after / 2 ** 20))


def types(url, openapi):
    described = json.load(open(openapi))["components"]["responses"]
    connection = connect(url)
    connection.request("GET", "/openapi.json")
    assert json.loads(connection.getresponse().read()) == json.load(open(openapi))
    for body, path in ("{", "/v1/score"), ("{}", "/nothing"), ("{}", "/healthz"):
        problem = post(connection, body, path=path)[2]
        assert problem["type"].rsplit("/", 1)[1] in described, problem


{"same": same, "refused": refused, "abuse": abuse, "types": types}[sys.argv[1]](*sys.argv[2:])
