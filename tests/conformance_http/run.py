#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 to the letter: requests that have fooled other servers, against the server alone and behind real proxies.

usage: run.py PROGRAM [TEXT...]    only tests whose name contains a TEXT
The cases are lines of cases.txt. CUTS=1 tries every case cut at every byte (otherwise every eighth cut).
Prints "N passed, N failed"; a case counts as one, in each way that it is run.
"""
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
sys.dont_write_bytecode = True
if len(sys.argv) > 1:
    os.environ["E2E_WSC"] = os.path.abspath(sys.argv[1])

import behind  # noqa: E402
import cases  # noqa: E402
import direct  # noqa: E402
import proxied  # noqa: E402
from lib import Server, eq, name, ok  # noqa: E402

CASES = cases.read()
CONFIG = {"websocket_origins": ["https://good.example"]}


def stories_of(cut):
    with Server(CONFIG) as s:
        return len(CASES), direct.run(s, direct.Inbox(s), CASES, cut)


# Shows: 4.corpus, threat 43, threat 44, threat 45, threat 46, threat 50, threat 54
def test_every_request_gets_exactly_its_answers_and_nothing_hidden_in_it_is_served():
    return stories_of(direct.whole)


# Shows: 4.corpus
def test_every_request_means_the_same_when_it_comes_in_single_bytes():
    return stories_of(direct.single_bytes)


# Shows: 4.corpus
def test_every_request_means_the_same_when_it_is_cut_in_two():
    parts = direct.parts_of_run()
    with Server(CONFIG) as s:
        tried, stories = direct.run_cuts(s, direct.Inbox(s), CASES, parts // 2, parts)
    print(f"      {tried} cuts", flush=True)
    return len(CASES), stories


# ---- the PROXY protocol ----------------------------------------------------------------------------------------------


# Shows: 1.security.trusted_proxies
def test_a_trusted_proxys_header_names_the_client_and_a_broken_one_is_refused():
    return proxied.run(proxied.read(), proxied.whole)


# Shows: 1.security.trusted_proxies
def test_a_proxy_header_means_the_same_when_it_comes_in_single_bytes():
    return proxied.run(proxied.read(), proxied.single_bytes)


# Shows: 1.security.trusted_proxies
def test_a_proxy_header_means_the_same_when_it_is_cut_in_two():
    return proxied.run(proxied.read(), proxied.in_two)


# Shows: 1.security.trusted_proxies
def test_a_proxy_header_of_an_untrusted_peer_is_a_bad_request():
    return proxied.from_a_stranger(proxied.read())


# Shows: 1.security.trusted_proxies, threat 108
def test_no_client_forges_an_address_by_proxy_header_or_x_forwarded_for():
    return proxied.spoof_matrix()


# Shows: 1.security.trusted_proxies
def test_a_proxy_header_counts_once_and_for_the_whole_connection():
    return proxied.only_once()


def test_the_first_page_does_not_answer_clients_that_a_proxy_header_names():
    return proxied.the_first_page()


# ---- behind the proxies of docs/guide.md -----------------------------------------------------------------------------


def gateway(**security):
    """The gateway as the guide configures it, with some more of `security`."""
    config = behind.gateway()
    config["security"] = {**config["security"], **security}
    return config


def corpus_behind(proxy_of):
    with Server(gateway()) as s:
        n, stories, reached = behind.corpus(proxy_of, s, direct.Inbox(s), CASES)
        ok(reached > 200, "the proxy let through only", reached)
        print(f"      the proxy let {reached} requests through", flush=True)
        return n, stories


# Shows: 4.behind-proxies, threat 42, threat 65
def test_behind_nginx_no_request_is_hidden_in_another_and_no_answer_reaches_another_client():
    return corpus_behind(lambda port: behind.nginx(port, 9, everything=True))


# Shows: 4.behind-proxies, threat 42
def test_behind_haproxy_no_request_is_hidden_in_another_and_no_answer_reaches_another_client():
    return corpus_behind(lambda port: behind.haproxy(port, everything=True))


# Shows: 4.behind-proxies
def test_behind_haproxy_with_the_proxy_protocol_no_request_is_hidden_and_no_answer_reaches_another_client():
    return corpus_behind(lambda port: behind.haproxy(port, everything=True, server_line=behind.with_proxy_v2))


def planted(proxy_of):
    case = cases.Case(len(CASES) + 1, "a request whose answer comes twice", "404 open", "planted",
                      "GET /planted HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n")
    with Server(gateway()) as s:
        _, stories, _ = behind.corpus(proxy_of, s, direct.Inbox(s), [CASES[0], case], b"/planted", patient=1)
    ok(any("planted" in x and "the server has answered" in x for x in stories), "not noticed:", stories)
    return 1, []


# Shows: 4.behind-proxies
def test_behind_nginx_a_server_that_answers_twice_would_be_noticed():
    return planted(lambda port: behind.nginx(port, 9, everything=True))


# Shows: 4.behind-proxies
def test_behind_haproxy_a_server_that_answers_twice_would_be_noticed():
    return planted(lambda port: behind.haproxy(port, everything=True))


ONLINE = "/api/v1/websocket/online"


# Shows: docs.proxies, owasp.15
def test_the_guides_nginx_passes_sockets_and_streams_of_the_user_that_the_application_names():
    app = behind.WhoAmI()

    def cookie(user):
        return [("Cookie", f"user={user}")]
    with Server(gateway(blocked_ips=["127.0.0.5"])) as s, behind.nginx(s.port, app.port) as proxy:
        behind.speaks_websocket_and_streams(s, proxy, name, cookie)
        mallory = name("mallory")
        with behind.Stream(proxy.address, query={"user_id": "alice"}, headers=cookie(mallory)) as stream:
            eq(stream.connected["user_id"], mallory, "the query is not believed")
        for path in ("/sse?user_id=alice", "/ws?user_id=alice"):
            eq(behind.status(proxy, path), 401, path)
            eq(behind.status(proxy, path, [("X-User-ID", "alice")]), 401, path)
        forgotten = cookie("forgotten")
        eq(behind.status(proxy, "/sse?user_id=alice", forgotten), 401, "an application that names nobody")
        eq(behind.status(proxy, "/sse?user_id=alice", [*forgotten, ("X-User-ID", "alice")]), 401)
        for path in ("/wsc/stats", "/", "/livez", "/api/v1/websocket/../../../wsc/stats", "//api/v1/websocket/online/"):
            eq(behind.status(proxy, path), 404, path)
        behind.shows_the_true_client(proxy, ONLINE, [])
    return 1, []


def haproxy_deployment(server_line):
    config = {**gateway(blocked_ips=["127.0.0.5"]), "sse_heartbeat": 1}
    with Server(config) as s, behind.haproxy(s.port, server_line=server_line) as proxy:
        behind.eventually(lambda: behind.status(proxy, ONLINE) == 200, "HAProxy finds the gateway healthy")
        behind.speaks_websocket_and_streams(s, proxy, name, lambda user: [])
        for path in ("/wsc/stats", "/", "/livez", "/xapi/"):
            eq(behind.status(proxy, path), 404, path)
        eq(behind.status(proxy, "/sse", [("X-User-ID", "alice")]), 401, "a client's X-User-ID does not get through")
        behind.shows_the_true_client(proxy, ONLINE, [])
    return 1, []


# Shows: docs.proxies, owasp.15
def test_the_guides_haproxy_passes_sockets_and_streams_and_tells_the_true_client():
    return haproxy_deployment(None)


# Shows: docs.proxies
def test_haproxys_send_proxy_v2_is_understood_and_tells_the_true_client():
    return haproxy_deployment(behind.with_proxy_v2)


# Shows: docs.proxies
def test_haproxys_send_proxy_is_understood_and_tells_the_true_client():
    return haproxy_deployment(behind.with_proxy_v1)


# Shows: docs.proxies, owasp.15
def test_the_guides_timeouts_are_longer_than_the_heartbeats():
    longest = max(behind.heartbeat())
    nginx, haproxy = behind.blocks("nginx")[0], behind.blocks("haproxy")[0]
    eq(len(behind.seconds(nginx, "proxy_read_timeout")), 2, "one for sockets, one for streams")
    for text, words in ((nginx, ("proxy_read_timeout", "proxy_send_timeout")),
                        (haproxy, ("timeout client", "timeout server", "timeout tunnel"))):
        for word in words:
            found = behind.seconds(text, word)
            ok(found and min(found) > longest, word, found, "heartbeat", longest)
    return 1, []


def discover():
    return {n: f for n, f in globals().items() if n.startswith("test_") and callable(f)}


def main():
    passed = failed = 0
    for name, test in discover().items():
        if len(sys.argv) > 2 and not any(t in name for t in sys.argv[2:]):
            continue
        started = time.monotonic()
        try:
            n, stories = test()
        except Exception as e:
            n, stories = 1, [traceback.format_exc() + getattr(e, "server_log", "")[-8000:]]
        bad = min(n, len(stories))
        passed, failed = passed + n - bad, failed + bad
        print(f"{'FAIL' if bad else 'ok  '}  {name}: {n - bad} of {n} ({time.monotonic() - started:.1f} s)", flush=True)
        for story in stories[:20]:
            print("      " + story.replace("\n", "\n      "), flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
