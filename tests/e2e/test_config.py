# SPDX-License-Identifier: Apache-2.0
"""The configuration: the sources of values, the faults, and that each key does as its table row says."""
import json
import os
import re
import resource
import signal
import socket
import struct
import time

import lib
from lib import (API, CLOSE, CONT, PING, TEXT, Http, Scratch, Server, eq, eventually, fail, failure, has, name, ok, row,
                 shared, success, wsc)

FOUR_KEYS = """# config.yaml
wsc:
  enabled: true
  node_ip: "0.0.0.0"
  node_port: 8080
  websocket_origins:
    - "*"
"""
LOOPBACK = {"node_ip": "127.0.0.1", "node_port": 0}


# ---- files, environment, command line --------------------------------------------------------------------------------


@row("1.four-keys", "1.file")
def test_the_four_keys_of_the_quick_reference_serve_all_eight_endpoints():
    with Server(text=FOUR_KEYS, settings=["node_port=0"]) as s:
        eq([e["address"] for e in s.log("listening")], ["0.0.0.0"])
        bob, stream = s.ws("bob"), s.sse("user2")
        success(s.send("user1", "user2", "Hi"))
        stream.recv(content="Hi")
        success(s.broadcast("x", type="notice"))
        bob.recv("notice")
        for path in (API + "/online", API + "/stats", "/wsc/stats", "/wsc/online"):
            success(s.get(path))


@row("1.file")
def test_without_a_name_config_yaml_of_the_directory_is_read():
    with Scratch() as d:
        d.write("config.yaml", {"wsc": dict(LOOPBACK, node_id="from-the-directory")})
        with Server(args=["serve"], cwd=d.path) as s:
            eq(s.stats()["node_id"], "from-the-directory")


@row("1.file", "threat 98")
def test_without_any_file_the_defaults_are_served_on_loopback_alone():
    with Scratch() as d, Server(args=["serve"], cwd=d.path, settings=["node_port=0"]) as s:
        eq([e["address"] for e in s.log("listening")], ["127.0.0.1"])
        s.ws("a").quiet()
    has(wsc("config", "--defaults").out, "node_port: 8080")


@row("1.file")
def test_only_the_section_wsc_is_read():
    with Server(text="other:\n  node_port: nonsense\n  x: [1, 2]\nwsc:\n  node_ip: 127.0.0.1\n  node_port: 0\n"
                "more: ${NOT_SET}\n") as s:
        success(s.get("/wsc/stats"))
    with Scratch() as d:
        done = wsc("check", d.write("c.yaml", "redis:\n  host: x\nwsc:\n  enabled: true\nserver: {port: 99999999}\n"))
        eq((done.status, done.err), (0, ""), done)


@row("1.spelling")
def test_keys_may_be_written_with_dashes():
    with Server(text="wsc:\n  node-ip: 127.0.0.1\n  node-port: 0\n  node-id: dashed\n  max-connections-per-user: 1\n"
                "  multi-login: reject\n  security:\n    max-message-size: 2\n") as s:
        eq(s.stats()["node_id"], "dashed")
        s.ws("a")
        failure(s.ws("a", check=False).answer, 409, "too_many_connections")
        failure(s.send("a", "a", "x" * 3000), 413, "body_too_large")
    with Server(LOOPBACK, settings=["node-id=x", "security.max-message-size=3"]) as s:
        eq(s.stats()["node_id"], "x")


def effective(value, key="heartbeat_interval"):
    """The meaning of a value, taken from the fault that client_timeout is not greater than it."""
    with Scratch() as d:
        done = wsc("check", d.write("c.yaml", f"wsc:\n  client_timeout: 100ms\n  {key}: {value}\n"))
    eq(done.status, 2, done)
    return re.search(r"heartbeat_interval, which is (\w+)", done.text)[1]


@row("1.durations")
def test_durations_are_seconds_or_carry_a_unit():
    for text, value in (("10", "10s"), ("500ms", "500ms"), ("30s", "30s"), ("5m", "5m"), ("1h", "1h"),
                        ("1m30s", "90s"), ('"15"', "15s"),
                        ("60", "1m"), ("3600s", "1h")):
        eq(effective(text), value, text)
    for text in ("5 m", "1d", "-1", "1.5", "s", "1s2", "ms", "99999999999999999999", "0x10", "010", ""):
        faults(f"wsc:\n  heartbeat_interval: {text}\n", [(2, "heartbeat_interval", "allowed: 50ms..1h")])


@row("1.sizes")
def test_sizes_are_in_the_keys_unit_or_carry_one():
    for text, limit in (("2", 2048), ("2KiB", 2048), ("3072B", 3072), ("1MiB", 1 << 20), ("2 KB", 2048)):
        with Server(dict(LOOPBACK, security={"max_message_size": text})) as s:
            eq(s.log("limits")[0]["max_message_bytes"], limit, text)
    for text in ("1TB", "x", "1.5MiB", "-1", "KiB", "0", "512B", "65MiB"):
        faults(f"wsc:\n  security:\n    max_message_size: {text}\n",
               [(3, "security.max_message_size", "allowed: 1KiB..64MiB")])


@row("1.variables")
def test_variables_in_a_value_are_taken_from_the_environment():
    text = 'wsc:\n  node_ip: 127.0.0.1\n  node_port: 0\n  node_id: "a-${WHO}-${WHO}.${X}"\n' \
        '  websocket_origins: ["https://${HOST}"]\n'
    with Server(text=text, env={"WHO": "me", "X": "y", "HOST": "app.example"}) as s:
        eq(s.stats()["node_id"], "a-me-me.y")
        s.ws("a", headers=[("Origin", "https://app.example")])
        failure(s.ws("a", headers=[("Origin", "https://other.example")], check=False).answer, 403, "forbidden_origin")
    faults(text, [(4, "node_id", "${WHO} is not set"), (5, "websocket_origins", "${HOST} is not set")], env={"X": "y"})


@row("1.environment")
def test_the_environment_overrides_the_file_and_set_overrides_both():
    config = dict(LOOPBACK, node_id="file", security={"max_message_size": 4})
    with Server(config) as s:
        eq(s.stats()["node_id"], "file")
    env = {"WSC_NODE_ID": "environment", "WSC_SECURITY_MAX_MESSAGE_SIZE": "2KiB"}
    with Server(config, env=env) as s:
        eq((s.stats()["node_id"], s.log("limits")[0]["max_message_bytes"]), ("environment", 2048))
    with Server(config, env=env, settings=["node_id=set", "wsc.security.max_message_size=3"]) as s:
        eq((s.stats()["node_id"], s.log("limits")[0]["max_message_bytes"]), ("set", 3072))


@row("1.environment")
def test_a_list_in_the_environment_is_written_with_commas_or_as_in_yaml():
    for text in ("https://a.example, https://b.example", '["https://a.example", "https://b.example"]'):
        with Server(env={"WSC_WEBSOCKET_ORIGINS": text}) as s:
            for o, status in (("https://a.example", 101), ("https://b.example", 101), ("https://c.example", 403)):
                eq(s.ws("a", headers=[("Origin", o)], check=False).answer.status, status)


@row("1.environment")
def test_a_fault_in_the_environment_or_a_setting_is_reported_by_name():
    with Scratch() as d:
        file = d.write("c.yaml", {"wsc": LOOPBACK})
        for command in ("check", "serve"):
            done = wsc(command, file, "--set", "workers=1000", "--set", "nod_ip=x", env={"WSC_NODE_PORT": "eighty"})
            eq(done.status, 2, done)
            eq(len(done.lines), 3, done)
            has(done.text, "WSC_NODE_PORT", '"eighty"', "workers", '"1000"', "1..64", "nod_ip", "did you mean node_ip?")
        done = wsc("check", file, env={"WSC_HEARTBEAT_INTERVALL": "1"})
        eq(done.status, 0)
        has(done.text, "warning", "WSC_HEARTBEAT_INTERVALL", "did you mean WSC_HEARTBEAT_INTERVAL?")


@row("1.secret-file", "threat 100", "hardening.secret-files")
def test_a_value_may_be_read_from_the_file_that_name_file_names():
    with Scratch() as d:
        secret = d.write("secret", "from-a-file\n")
        with Server(env={"WSC_NODE_ID_FILE": secret}) as s:
            eq(s.stats()["node_id"], "from-a-file")
        with Server({"node_id": "${NODE_NAME}-1"}, env={"NODE_NAME_FILE": secret}) as s:
            eq(s.stats()["node_id"], "from-a-file-1")
        file = d.write("c.yaml", {"wsc": LOOPBACK})
        done = wsc("check", file, env={"WSC_NODE_ID_FILE": d / "nothing"})
        eq(done.status, 2)
        has(done.text, "WSC_NODE_ID_FILE", "nothing")
        eq(wsc("check", file, env={"WSC_NODE_ID_FILE": secret, "WSC_NODE_ID": "x"}).status, 2)


# ---- faults ----------------------------------------------------------------------------------------------------------


def faults(text, expected, env=None, warnings=0):
    """`wsc check` and `wsc serve` stop with exit code 2 and exactly one line for each of (line, key, *parts)."""
    with Scratch() as d:
        file = d.write("config.yaml", text)
        said = []
        for command in ("check", "serve"):
            done = wsc(command, file, env=env)
            eq(done.status, 2, command, repr(text), done)
            lines = [line for line in done.lines if not line.startswith("warning: ")]
            eq(len(done.lines) - len(lines), warnings, done)
            eq(len(lines), len(expected), command, repr(text), "\n".join(done.lines))
            for line, (number, key, *parts) in zip(lines, expected):
                has(line, f"{file}:{number}: ", key, *parts)
            said.append(lines)
        eq(said[0], said[1], "check and serve say the same")


@row("1.faults")
def test_every_fault_is_one_line_with_file_line_key_value_and_allowed_values():
    faults("""wsc:
  node_port: 80800
  heartbeat_intervall: 10
  workers: many
  slow_consumer: clsoe
  paths:
    websocket: ws
  security:
    message_rate: 0
    blocked_ips: [10.0.0.0/8, 10.0.0.1/8]
    nonsense_here: 1
  client_timeout: 100ms
""", [(2, "node_port", '"80800"', "out of range", "0..65535"),
      (3, "heartbeat_intervall", "did you mean heartbeat_interval?"),
      (4, "workers", '"many"', "auto or 1..64"),
      (5, "slow_consumer", '"clsoe"', "close or drop_oldest", "did you mean close?"),
      (7, "paths.websocket", '"ws"', "a path such as /ws"), (9, "security.message_rate", '"0"', "1/s..1000000/s"),
      (10, "security.blocked_ips", '"10.0.0.1/8"'), (11, "security.nonsense_here", "unknown key"),
      (12, "client_timeout", "100ms", "longer than heartbeat_interval, which is 30s")])


@row("1.faults")
def test_an_unknown_key_is_a_fault_with_a_suggestion_where_one_is_near():
    for text, near in (("node_prot: 1", "node_port"), ("web_socket_origins: []", "websocket_origins"),
                       ("securty: {}", "security"),
                       ("max_content_length: 5", "security.max_content_length"), ("Node_Port: 1", "node_port")):
        faults(f"wsc:\n  {text}\n", [(2, text.split(":")[0], "unknown key", f"did you mean {near}?")])
    faults("wsc:\n  completely_different: 1\n", [(2, "completely_different", "unknown key")])


@row("1.faults", "threat 7", "threat 96")
def test_wrong_types_are_faults():
    for text, key in (("node_port: [1]", "node_port"), ("node_port: {a: 1}", "node_port"),
                      ("enabled: maybe", "enabled"), ("security: 5", "security"),
                      ("node_port:", "node_port"), ("websocket_origins: [[a]]", "websocket_origins"),
                      ("node_ip: localhost", "node_ip"),
                      ("websocket_origins: [\"app.example.com\"]", "websocket_origins"),
                      ("websocket_origins: \"https://a/path\"", "websocket_origins"),
                      ("node_ip: []", "node_ip"), ("node_id: \"a b\"", "node_id"), ("node_id: " + "x" * 65, "node_id"),
                      ("workers: 0", "workers"),
                      ("workers: 65", "workers"), ("max_connections_per_user: 0", "max_connections_per_user"),
                      ("multi_login: none", "multi_login")):
        faults(f"wsc:\n  {text}\n", [(2, key, "allowed" if key != "security" else "section")]
               if "{a" not in text and "[[" not in text
               else [(2, key)])


@row("1.faults")
def test_a_key_that_is_there_twice_and_broken_yaml_are_faults():
    faults("wsc:\n  node_port: 1\n  node-port: 2\n", [(3, "node-port", "twice")])
    for text in ("wsc:\n\tnode_port: 1\n", "wsc: [\n", "wsc:\n  - a\n", "wsc:\n  websocket_origins: [*]\n",
                 "wsc: {a: 1\n", "wsc: text\n"):
        with Scratch() as d:
            done = wsc("serve", d.write("c.yaml", text))
            eq((done.status, len(done.lines)), (2, 1), repr(text), done)
            has(done.text, "c.yaml:")


@row("1.faults", "threat 96")
def test_hostile_files_are_refused_in_words():
    deep = "wsc: " + "[" * 5000 + "]" * 5000
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{c}: &{c} [{', '.join(['*' + p] * 8)}]\n"
                                                   for p, c in zip("abcdefgh", "bcdefghi")) \
        + "wsc:\n  websocket_origins: *i\n"
    for text in (deep, bomb, "wsc: {}\n" + "#" * (2 << 20), b"\xff\xfe\x00wsc", b"wsc:\n  node_id: \xff\n",
                 b"wsc:\n  node_id: \"\x00\"\n",
                 "wsc:\n  node_id: \"\\x1b[31m\"\n", "---\nwsc: {}\n---\nwsc: {}\n"):
        with Scratch() as d:
            done = wsc("check", d.write("c.yaml", text))
            eq(done.status, 2, repr(text[:60]), done)
            ok(done.lines and len(done.text) < 4000, done)
            ok("\x1b" not in done.text and "\0" not in done.text, repr(done.text))


@row("1.timeouts")
def test_a_written_client_timeout_must_be_greater_than_the_heartbeat_interval():
    faults("wsc:\n  heartbeat_interval: 10\n  client_timeout: 10\n",
           [(3, "client_timeout", "10s", "longer than heartbeat_interval")])
    faults("wsc:\n  client_timeout: 30\n", [(2, "client_timeout", "30s")])
    with Scratch() as d:
        eq(wsc("check", d.write("c.yaml", "wsc:\n  heartbeat_interval: 10m\n")).status, 0,
           "a default is not checked against it")
        eq(wsc("check", d.write("c.yaml", "wsc:\n  client_timeout: 31\n")).status, 0)


@row("1.performance.max_queue_bytes")
def test_a_queue_smaller_than_a_message_is_a_fault():
    faults("wsc:\n  performance:\n    max_queue_bytes: 1MiB\n", [(3, "performance.max_queue_bytes", "1088KiB")])
    faults("wsc:\n  security:\n    max_message_size: 4MiB\n  performance:\n    max_queue_bytes: 2MiB\n",
           [(5, "performance.max_queue_bytes", "4160KiB")])


@row("1.performance.max_queue_bytes", "1.security.max_message_size")
def test_a_queue_limit_that_is_not_configured_holds_the_longest_message():
    with Server({"security": {"max_message_size": "8MiB"}}) as s, s.ws("alice") as w:
        for size in (3 << 20, 6 << 20):
            w.send(to="alice", content="x" * size)
            eq(len(w.recv()["content"]), size)


@row("1.check")
def test_check_starts_nothing_and_reports_a_good_configuration():
    with Scratch() as d:
        done = wsc("check", d.write("c.yaml", FOUR_KEYS))
        eq(done.status, 0, done)
        has(done.out, "no faults")
        eq(done.err, "")
        done = wsc("check", cwd=d.path)
        eq(done.status, 0, done)
        d.write("config.yaml", "wsc:\n  nonsense: 1\n")
        eq(wsc("check", cwd=d.path).status, 2)
        eq(wsc("check", d / "nothing.yaml").status, 1)


@row("1.disabled")
def test_enabled_false_says_so_and_exits_2():
    with Scratch() as d:
        done = wsc("serve", d.write("c.yaml", "wsc:\n  enabled: false\n"))
        eq(done.status, 2, done)
        has(done.text, "not enabled")
        eq(wsc("serve", d.write("c.yaml", "wsc:\n  enabled: true\n"), "--set", "enabled=false").status, 2)


@row("1.disabled")
def test_no_section_wsc_says_so_and_exits_2():
    with Scratch() as d:
        for text in ("other: {}\n", "", "# nothing\n"):
            done = wsc("serve", d.write("c.yaml", text))
            eq(done.status, 2, repr(text), done)
            has(done.text, "no section wsc")
    with Server(text="wsc:\n", settings=["node_port=0", "node_ip=127.0.0.1"]) as s:
        success(s.get("/wsc/stats"))


@row("1.cannot-run")
def test_a_taken_port_is_exit_code_1_and_one_clear_line():
    with Server() as s, Scratch() as d:
        done = wsc("serve", d.write("c.yaml", {"wsc": {"node_ip": "127.0.0.1", "node_port": s.port}}))
        eq((done.status, len(done.lines)), (1, 1), done)
        has(done.text, str(s.port), "in use")
        success(s.get("/wsc/stats"))


@row("1.cannot-run")
def test_an_address_that_is_not_ours_is_exit_code_1():
    with Scratch() as d:
        done = wsc("serve", d.write("c.yaml", {"wsc": {"node_ip": "192.0.2.1", "node_port": 0}}))
        eq((done.status, len(done.lines)), (1, 1), done)
        has(done.text, "192.0.2.1 port 0: ")


@row("1.cannot-run", "1.node_ip")
def test_a_unix_path_in_use_is_reported_without_a_word_about_ports():
    with Scratch() as d:
        path = d.write("precious", "keep me")
        done = wsc("serve", d.write("c.yaml", {"wsc": {"node_ip": "unix:" + path, "node_port": 0}}))
        eq((done.status, len(done.lines)), (1, 1), done)
        has(done.text, path, "no socket")
        ok("port" not in done.text, done)
        with open(path) as f:
            eq(f.read(), "keep me")


@row("1.faults", "1.node_ip")
def test_an_address_that_is_there_twice_is_a_fault():
    for addresses in (["127.0.0.1", "::1", "127.0.0.1"], ["unix:/tmp/a", "unix:/tmp/a"]):
        with Scratch() as d:
            done = wsc("check", d.write("c.yaml", {"wsc": {"node_ip": addresses, "node_port": 0}}))
            eq((done.status, len(done.lines)), (2, 1), done)
            has(done.text, "node_ip", addresses[0] + " appears twice")


@row("1.cannot-run")
def test_a_file_that_cannot_be_read_is_exit_code_1_and_one_clear_line():
    with Scratch() as d:
        for path in (d / "nothing.yaml", d.path, "/proc/self/mem"):
            done = wsc("serve", path)
            eq((done.status, len(done.lines)), (1, 1), path, done)
            has(done.text, path, "cannot be read")


@row("1.cannot-run")
def test_no_descriptors_is_exit_code_1_and_one_clear_line():
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    s = Server(limits=few, ready=False)
    try:
        eq(s.wait(), 1, s.text())
        lines = [line for line in s.text().splitlines() if line]
        eq(len(lines), 1, lines)
        has(lines[0], "descriptors")
    finally:
        s.kill()


@row("server.descriptors", "hardening.core-files")
def test_the_descriptor_limit_is_raised_to_the_hard_limit_and_logged():
    def some():
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 700))
    with Server(limits=some) as s:
        eq(s.log("limits")[0]["descriptors"], 700)
        with open(f"/proc/{s.process.pid}/limits", encoding="ascii") as f:
            has(re.sub(" +", " ", f.read()), "Max open files 700 700")


@row("server.commands")
def test_version_help_and_unknown_commands():
    done = wsc("version")
    eq(done.status, 0)
    ok(re.fullmatch(r"wsc \d+\.\d+\.\d+\S*\n", done.out), done)
    for command in (["help"], ["--help"], ["-h"], ["check", "--help"], ["check", "-h"]):
        done = wsc(*command)
        eq(done.status, 0)
        has(done.out, "wsc serve", "wsc check", "--set")
    for args, why in ((["sevre"], "unknown command"), (["serve", "a", "b"], "only one configuration file"),
                      (["serve", "--nonsense"], "unknown option"), (["serve", "--sett", "a=b"], "unknown option"),
                      (["serve", "--set"], "key=value"), (["check", "--set", "novalue"], "key=value"),
                      (["config"], "--defaults"), (["config", "--x"], "--defaults")):
        done = wsc(*args)
        eq((done.status, len(done.lines)), (2, 1), args, done)
        has(done.text, why)


@row("server.commands")
def test_the_printed_defaults_are_a_good_configuration_without_warnings():
    with Scratch() as d:
        file = d.write("c.yaml", wsc("config", "--defaults").out)
        done = wsc("check", file)
        eq((done.status, done.err), (0, ""), done)
        with Server(args=["serve", file], settings=["node_port=0", "node_ip=127.0.0.1"]) as s:
            success(s.get("/wsc/stats"))


@row("server.commands")
def test_the_program_prints_docs_config_md_and_the_man_page():
    for form, path in (("--markdown", "docs/config.md"), ("--man", "man/wsc.yaml.5")):
        with open(os.path.join(lib.ROOT, path), encoding="utf-8") as f:
            eq(wsc("config", form).out == f.read(), True, path,
               f"is older than the table; write it anew: wsc config {form} >{path}")


# ---- keys that wait, keys that do nothing ----------------------------------------------------------------------------


@row("1.not-built", "1.auth.mode", "1.store", "1.admin.token", "6.kind", "threat 89", "threat 145",
     "hardening.constant-time")
def test_a_key_whose_absence_would_weaken_safety_or_durability_stops_the_start():
    for text, key, word in (("auth:\n    mode: token", "auth.mode", "token"),
                            ("store:\n    kind: sqlite", "store.kind", "storage"),
                            ("store:\n    kind: postgres", "store.kind", "storage"),
                            ("admin:\n    token: s3cret", "admin.token", "admin token")):
        faults(f"wsc:\n  {text}\n", [(3, key, "not in this version", word)])
    with Scratch() as d:
        done = wsc("serve", d.write("c.yaml", {"wsc": LOOPBACK}), env={"WSC_ADMIN_TOKEN": "s3cret"})
        eq(done.status, 2)
        ok("s3cret" not in done.text, "a secret is never printed")


@row("1.store", "6.kind")
def test_store_kind_none_is_the_default_and_may_be_written():
    with Server({"store": {"kind": "none"}}) as s:
        failure(s.send("a", "nobody", "x"), 404, "user_offline", "store.kind: none")


LATER = {"ack_timeout": "5s", "ack_retries": 3, "store.path": "./data/wsc.db", "store.url": "postgres://x",
         "store.sync": "commit",
         "store.flush_ms": 100, "store.offline_ttl": "7h", "store.offline_max": 10, "store.dedupe_window": "10m"}


@row("1.later", "6.sync", "6.offline", "6.dedupe")
def test_keys_that_wait_for_a_later_version_are_checked_and_warn():
    for key, value in LATER.items():
        with Scratch() as d:
            section, _, leaf = key.rpartition(".")
            text = f"wsc:\n  {section}:\n    {leaf}: {value}\n" if section else f"wsc:\n  {leaf}: {value}\n"
            done = wsc("check", d.write("c.yaml", text))
            eq((done.status, len(done.err.splitlines())), (0, 1), key, done)
            has(done.err, "warning: ", key, "no effect in this version")
            text = text.replace(f": {value}", ": [nonsense]")
            eq(wsc("check", d.write("c.yaml", text)).status, 2, key)


OLDER_GROUPS = "redis group ticket vip enhancement distributed".split()
OLDER = ("sse_timeout write_wait max_message_size min_rec_time max_rec_time rec_factor auto_reconnect max_retries "
         "base_delay max_delay backoff_factor jitter retryable_errors non_retryable_errors "
         "enable_circuit_breaker").split()
OLDER_PERFORMANCE = ("read_buffer_size write_buffer_size enable_metrics metrics_interval enable_slow_log "
                     "slow_log_threshold").split()
PROTECT_NOTHING = "enable_auth enable_encryption token_expiration max_login_attempts login_lock_duration".split()


@row("1.older-keys", "threat 154")
def test_older_keys_that_do_nothing_here_are_accepted_with_one_warning_each():
    config = {k: {"enabled": True, "deep": {"er": [1]}} for k in OLDER_GROUPS}
    config.update({k: 1 for k in OLDER})
    config["performance"] = {k: 1 for k in OLDER_PERFORMANCE}
    keys = OLDER_GROUPS + OLDER + ["performance." + k for k in OLDER_PERFORMANCE]
    with Scratch() as d:
        done = wsc("check", d.write("c.yaml", {"wsc": config}))
        eq(done.status, 0, done)
        lines = done.err.splitlines()
        eq(len(lines), len(keys), done)
        for key in keys:
            eq(sum(f"wsc.{key}: has no effect" in line for line in lines), 1, key, done)
    with Server(config) as s:
        success(s.get("/wsc/stats"))
        has(s.text(), "wsc.redis: has no effect")


@row("1.older-keys", "threat 89")
def test_older_keys_that_sound_like_protection_warn_that_they_protect_nothing():
    with Scratch() as d:
        done = wsc("check", d.write("c.yaml", {"wsc": {"security": {k: 1 for k in PROTECT_NOTHING}}}))
        eq((done.status, len(done.err.splitlines())), (0, len(PROTECT_NOTHING)), done)
        for k in PROTECT_NOTHING:
            ok(any(k in line and "protects nothing" in line for line in done.err.splitlines()), k, done)


# ---- each key --------------------------------------------------------------------------------------------------------


@row("1.node_ip")
def test_port_0_takes_a_free_port_and_prints_it():
    with Server() as a, Server() as b:
        ok(a.port > 0 and b.port > 0 and a.port != b.port)
        success(a.get("/wsc/stats"))
        success(b.get("/wsc/stats"))


@row("1.node_ip")
def test_a_port_that_is_given_is_taken_and_again_after_a_restart():
    with Server() as s:
        port = s.port
        s.ws("a").quiet()
    for _ in range(2):
        with Server({"node_port": port}) as s:
            eq(s.port, port)
            s.ws("a").quiet()


@row("1.node_ip")
def test_a_unix_socket_serves_everything_and_nothing_else_is_needed():
    with Scratch() as d:
        path = d / "wsc.sock"
        for addresses in (["127.0.0.1", f"unix:{path}"], f"unix:{path}"):
            with Server({"node_ip": addresses}) as s:
                bob = s.keep(lib.Ws(path, "bob"))
                stream = s.keep(lib.Sse(path, "bob"))
                with Http(path) as h:
                    eq(success(h.ask("POST", API + "/send", {"to": "bob", "content": "x"},
                                     [("X-User-ID", "a")]))["data"]["delivered_count"], 2)
                bob.recv(content="x")
                stream.recv(content="x")


@row("1.node_ip")
def test_ipv6_is_served():
    try:
        with socket.socket(socket.AF_INET6) as s6:
            s6.bind(("::1", 0))
    except OSError:
        return
    with Server({"node_ip": "::1"}) as s:
        s.ws("a").quiet()
        eq(s.get("/").status, 200)
    for v4 in ("0.0.0.0", "127.0.0.1"):
        for addresses in ([v4, "::"], ["::", v4]):
            with Server({"node_ip": addresses}) as s:
                for host in ("127.0.0.1", "::1"):
                    with Http((host, s.port)) as h:
                        success(h.ask("GET", API + "/stats"))


@row("1.workers")
def test_workers_is_the_number_of_event_loop_threads():
    def threads(n):
        with Server({"workers": n}) as s:
            eq(s.log("limits")[0]["workers"], n)
            users = [s.ws(f"u{i}") for i in range(10)]
            for u in users:
                users[0].send(to=u.user, content="x")
                u.recv(content="x")
            return s.threads()
    one = threads(1)
    eq(threads(4) - one, 3)
    with Server() as s:
        eq(s.log("limits")[0]["workers"], len(os.sched_getaffinity(0)))


@row("1.heartbeat_interval")
def test_a_silent_client_is_pinged():
    with Server({"heartbeat_interval": "100ms", "client_timeout": "30s"}) as s:
        ws = s.ws("a")
        for _ in range(3):
            opcode, payload, _ = ws.recv_frame()
            eq(opcode, PING)
            ws.send_frame(lib.PONG, payload)


@row("1.client_timeout", "7.4408", "threat 133", "owasp.11")
def test_a_client_that_answers_no_ping_is_closed_with_4408():
    with Server({"heartbeat_interval": "100ms", "client_timeout": "300ms"}) as s:
        ws = s.ws("a", pong=False)
        frames = []
        while not ws.closed:
            frames.append(ws.recv_frame()[0])
        ok(PING in frames[:-1], "a ping comes first:", frames)
        ws.expect_close(4408, "client_timeout")
        s.gone("a")


@row("1.client_timeout")
def test_a_client_that_answers_pings_is_never_closed():
    with Server({"heartbeat_interval": "50ms", "client_timeout": "30s"}) as s:
        ws = s.ws("a")
        for _ in range(30):
            opcode, payload, _ = ws.recv_frame()
            eq(opcode, PING)
            ws.send_frame(lib.PONG, payload)
        ws.quiet()


@row("1.client_timeout")
def test_the_default_of_client_timeout_is_three_intervals():
    with Server({"heartbeat_interval": "100ms"}) as s:
        ws = s.ws("a", pong=False)
        pings = 0
        while not ws.closed:
            pings += ws.recv_frame()[0] == PING
        eq(ws.closed.code, 4408)
        ok(pings >= 1, pings)


def flood(s, user, size=4000, limit=20000):
    """Sends to a client that reads nothing until the server closes it; returns how many messages were taken."""
    h = s.http()
    for i in range(limit):
        a = h.ask("POST", API + "/send", {"to": user, "content": str(i), "filler": "x" * size}, [("X-User-ID", "a")])
        if a.status != 200:
            failure(a, 404, "user_offline")
            return i
    fail(limit, "messages found room for a client that reads nothing")


@row("1.message_buffer_size", "1.slow_consumer", "7.1013", "threat 113", "owasp.12")
def test_a_slow_reader_is_closed_with_1013_and_sees_no_gap_before():
    with Server({"message_buffer_size": 5, "performance": {"kernel_queue": "4KiB"}}) as s:
        slow = s.ws("slow", rcvbuf=4096)
        sent = flood(s, "slow")
        n = 0
        try:
            while True:
                eq(slow.recv()["content"], str(n))
                n += 1
        except lib.Closed as closed:
            eq(closed.code, 1013)
            ok(closed.reason)
        ok(n <= sent, n, sent)
        slow.expect_end()
        ok(s.ws("slow"), "it may come back")


@row("1.message_buffer_size")
def test_a_larger_buffer_holds_more_messages():
    taken = []
    for size in (2, 400):
        with Server({"message_buffer_size": size,
                     "performance": {"kernel_queue": "4KiB", "max_queue_bytes": "64MiB"}}) as s:
            s.ws("slow", rcvbuf=4096)
            taken.append(flood(s, "slow", 1000))
    ok(taken[1] > taken[0] + 300, taken)


@row("1.sse_message_buffer")
def test_a_larger_stream_buffer_holds_more_events():
    taken = []
    for size in (2, 400):
        with Server({"sse_message_buffer": size,
                     "performance": {"kernel_queue": "4KiB", "max_queue_bytes": "64MiB"}}) as s:
            s.sse("slow", rcvbuf=4096)
            taken.append(flood(s, "slow", 1000))
    ok(taken[1] > taken[0] + 300, taken)


@row("1.message_buffer_size")
def test_a_reader_that_keeps_up_may_receive_any_burst():
    with Server({"message_buffer_size": 1, "sse_message_buffer": 1}) as s:
        bob, stream, alice = s.ws("bob"), s.sse("bob"), s.ws("alice")
        alice.send_raw(b"".join(lib.frame(TEXT, json.dumps({"to": "bob", "content": str(i)}).encode())
                                for i in range(300)))
        for i in range(300):
            bob.recv(content=str(i))
            stream.recv(content=str(i))


@row("1.slow_consumer")
def test_a_slow_reader_delays_no_other_reader():
    with Server({"workers": 1, "performance": {"kernel_queue": "4KiB"}, "message_buffer_size": 1000,
                 "sse_message_buffer": 1000}) as s:
        s.ws("bob", rcvbuf=4096)
        quick = s.ws("bob")
        h = s.http()
        for i in range(300):
            success(h.ask("POST", API + "/send", {"to": "bob", "content": str(i), "filler": "x" * 1000},
                          [("X-User-ID", "a")]))
            quick.recv(content=str(i))


@lib.not_chopped
@row("1.performance.max_queue_bytes", "threat 113")
def test_max_queue_bytes_bounds_the_queue_of_one_connection():
    taken = []
    for size in ("128KiB", "16MiB"):
        with Server({"message_buffer_size": 1000000, "security": {"max_message_size": "64KiB"},
                     "performance": {"kernel_queue": "4KiB", "max_queue_bytes": size}}) as s:
            slow = s.ws("slow", rcvbuf=4096)
            taken.append(flood(s, "slow", 60000))
            slow.expect_close(1013)
    ok(taken[1] > 3 * taken[0], taken)


@row("1.performance.kernel_queue")
def test_kernel_queue_bounds_the_bytes_in_the_kernel():
    taken = []
    for size in ("4KiB", "64MiB"):
        with Server({"message_buffer_size": 2, "performance": {"kernel_queue": size}}) as s:
            s.ws("slow", rcvbuf=4096)
            taken.append(flood(s, "slow"))
    ok(taken[1] > taken[0] + 20, taken)


# ---- origins ---------------------------------------------------------------------------------------------------------

RULES = ["https://app.example.com", "http://localhost:3000", "https://*.example.org", "https://odd.example:8443",
         "http://[::1]:3000", "null-app://x"]
ALLOWED = ["https://app.example.com", "HTTPS://App.Example.COM", "https://app.example.com:443", "http://localhost:3000",
           "https://a.example.org", "https://a.b.example.org", "https://odd.example:8443", "http://[::1]:3000",
           "null-app://x"]
HOSTILE = [
    "https://evil.com", "http://app.example.com", "https://app.example.com:8443", "https://app.example.com:80",
    "https://app.example.com.evil.com",
    "https://evil-app.example.com", "https://evilapp.example.com", "https://app.example.com@evil.com",
    "https://evil.com#app.example.com",
    "https://evil.com/app.example.com", "https://evil.com?app.example.com", "https://app.example.com/",
    "https://app.example.com/x",
    "https://app.example.com\\@evil.com", "https://app.example.com%00.evil.com", "https://app.example.com%2eevil.com",
    "app.example.com",
    "//app.example.com", "https:app.example.com", "https:///app.example.com", "https://", "null", "NULL", "*",
    "https://*", "https://*.example.com",
    "https://*.example.org", "https://example.org", "https://.example.org", "https://evilexample.org",
    "https://example.org.evil.com",
    "https://a.example.org.evil.com", "http://a.example.org", "https://a.example.org:8443",
    "https://a.example.org@evil.com",
    "https://evil.com/.example.org", "https://evil.com#.example.org", "http://localhost", "http://localhost:3001",
    "https://localhost:3000",
    "http://localhost:3000.evil.com", "http://127.0.0.1:3000", "http://[::1]", "http://[::2]:3000", "file://",
    "data:text/html,x",
    "javascript:alert(1)", "chrome-extension://abc", "https://app.example.com https://evil.com",
    "https://evil.com, https://app.example.com",
    "https://app.example.com,https://evil.com", " ", "https://app.example.com:0443", "https://evil.com a.example.org",
    "https://evil.com\\.example.org", "https://app.ex\xe4mple.com",
    "https://xn--app.example.com", "https://app。example.com".encode().decode("latin-1"),
    "https://user:pass@app.example.com",
]


@row("1.websocket_origins", "threat 103", "threat 104", "threat 105", "owasp.4")
def test_allowed_origins_pass_and_hostile_ones_get_403_without_effect():
    with Server({"websocket_origins": RULES}) as s:
        bob = s.ws("bob")
        for origin in ALLOWED:
            s.ws("a", headers=[("Origin", origin)]).close()
            a = s.ask("GET", "/wsc/stats", headers=[("Origin", origin)])
            success(a)
            eq(a.header("Access-Control-Allow-Origin"), origin)
        for origin in HOSTILE:
            try:
                refused_origin(s, origin)
            except AssertionError as e:
                raise lib.Wrong(f"Origin {origin!r}: {e}") from e
        success(s.send("x", "bob", "marker"))
        bob.recv(content="marker")
        eq(s.stats()["broadcasts"], 0)


def refused_origin(s, origin):
    body = json.dumps({"to": "bob", "content": "forged"}).encode()
    for method, path, payload in (("GET", "/ws?user_id=a", None), ("GET", "/sse?user_id=a", None),
                                  ("POST", API + "/send", body),
                                  ("POST", API + "/broadcast", body), ("GET", API + "/online", None),
                                  ("GET", "/wsc/stats", None),
                                  ("OPTIONS", API + "/send", None)):
        with Http(s.address) as h:
            lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "X-User-ID: a"]
            if path.startswith("/ws?"):
                lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
            if payload:
                lines.append(f"Content-Length: {len(payload)}")
            h.send_raw("\r\n".join(lines).encode() + b"\r\nOrigin: " + origin.encode("latin-1") + b"\r\n\r\n"
                       + (payload or b""))
            a = h.answer()
            failure(a, 403, "forbidden_origin")
            eq(a.header("Access-Control-Allow-Origin"), None)


@row("1.websocket_origins", "threat 105")
def test_two_origin_headers_do_not_help():
    with Server({"websocket_origins": ["https://app.example.com"]}) as s:
        for headers in ([("Origin", "https://app.example.com"), ("Origin", "https://evil.com")],
                        [("Origin", "https://evil.com"), ("Origin", "https://app.example.com")]):
            failure(s.ask("GET", "/wsc/stats", headers=headers), 403, "forbidden_origin")


@row("1.websocket_origins")
def test_a_star_allows_every_origin():
    with Server({"websocket_origins": ["*"]}) as s:
        for origin in ("https://anything.example", "null", "http://localhost:1"):
            s.ws("a", headers=[("Origin", origin)]).close()
            success(s.ask("GET", "/wsc/stats", headers=[("Origin", origin)]))


@row("1.websocket_origins", "threat 96")
def test_an_empty_list_allows_only_the_gateways_own_origin():
    with Server({"websocket_origins": []}) as s:
        own = [("Host", f"gate.example:{s.port}"), ("Origin", f"http://gate.example:{s.port}")]
        s.ws("a", headers=own).quiet()
        success(s.ask("GET", "/wsc/stats", headers=own))
        for origin in ("https://evil.com", "http://gate.example", f"http://evil.gate.example:{s.port}", "null"):
            failure(s.ask("GET", "/wsc/stats", headers=[own[0], ("Origin", origin)]), 403, "forbidden_origin")
        s.ws("a").quiet()


@row("1.websocket_origins", "threat 103")
def test_without_origin_a_request_passes_unless_require_origin():
    with Server({"websocket_origins": ["https://app.example.com"]}) as s:
        s.ws("a").quiet()
        success(s.get("/wsc/stats"))
    with Server({"websocket_origins": ["https://app.example.com"], "require_origin": True}) as s:
        failure(s.ws("a", check=False).answer, 403, "forbidden_origin")
        failure(s.get("/wsc/stats"), 403, "forbidden_origin", "require_origin")
        success(s.ask("GET", "/wsc/stats", headers=[("Origin", "https://app.example.com")]))
        s.ws("a", headers=[("Origin", "https://app.example.com")]).quiet()


# ---- paths, users ----------------------------------------------------------------------------------------------------


@row("1.paths")
def test_every_path_can_be_moved():
    paths = {"websocket": "/a/socket", "sse": "/a/stream", "stats": "/a/numbers", "online": "/a/who", "api": "/hub"}
    with Server({"paths": paths}) as s:
        bob = s.ws("bob", path="/a/socket")
        stream = s.sse("bob", path="/a/stream")
        for path in ("/a/numbers", "/a/who", "/hub/stats", "/hub/online"):
            success(s.get(path))
        success(s.post("/hub/send", {"to": "bob", "content": "x"}, X_User_ID="a"))
        success(s.post("/hub/broadcast", {"content": "y"}))
        for end in (bob, stream):
            end.recv(content="x")
            end.recv(content="y")
        for path in ("/ws?user_id=a", "/sse?user_id=a", "/wsc/stats", "/wsc/online", API + "/stats", API + "/online",
                     API + "/send"):
            failure(s.get(path), 404, "not_found")
    faults("wsc:\n  paths:\n    sse: /ws\n", [(3, "paths.sse", "/ws", "already used by paths.websocket")])
    for path in ("/livez", "/metrics"):
        faults(f"wsc:\n  paths:\n    stats: {path}\n", [(3, "paths.stats", "already used by the gateway itself")])


@row("1.max_connections_per_user", "1.multi_login", "7.4409")
def test_replace_closes_the_oldest_connection_with_4409():
    with Server({"max_connections_per_user": 3}) as s:
        first = s.ws("bob")
        stream = s.sse("bob")
        third = s.ws("bob")
        fourth = s.ws("bob")
        first.expect_close(4409)
        fifth = s.ws("bob", protocols=["wsc.v1"])
        stream.expect_closed(4409, False)
        eq(success(s.send("a", "bob", "x"))["data"]["delivered_count"], 3)
        for end in (third, fourth, fifth):
            end.recv(content="x")
        s.ws("carol").quiet()


@row("1.max_connections_per_user", "1.multi_login")
def test_one_with_replace_is_single_sign_on():
    with Server({"max_connections_per_user": 1, "multi_login": "replace"}) as s:
        held = s.ws("bob")
        for _ in range(10):
            new = s.ws("bob")
            held.expect_close(4409)
            held = new
        held.quiet()
        eq(s.is_online("bob"), 1)


@row("1.max_connections_per_user", "owasp.10")
def test_the_default_is_eight_connections_of_a_user():
    s = shared()
    user = name()
    ends = [s.ws(user) for _ in range(8)]
    ends[0].quiet()
    ninth = s.ws(user)
    ends[0].expect_close(4409)
    for end in ends[1:] + [ninth]:
        end.quiet()


@row("1.multi_login", "7.4409", "2.wsc-v1")
def test_reject_refuses_the_new_connection():
    with Server({"max_connections_per_user": 2, "multi_login": "reject"}) as s:
        held = [s.ws("bob"), s.sse("bob")]
        failure(s.ws("bob", check=False).answer, 409, "too_many_connections")
        failure(s.sse("bob", check=False).answer, 409, "too_many_connections")
        s.ws("bob", protocols=["wsc.v1"]).expect_close(4409, "max_connections_per_user")
        eq(success(s.send("a", "bob", "x"))["data"]["delivered_count"], 2)
        for end in held:
            end.recv(content="x")
        held[0].close()
        eventually(lambda: s.is_online("bob") == 1, "one has left")
        s.ws("bob").quiet()
        s.ws("carol").quiet()


@row("1.multi_login")
def test_allow_sets_no_limit():
    with Server({"max_connections_per_user": 1, "multi_login": "allow"}) as s:
        ends = [s.ws("bob") for _ in range(30)]
        eq(success(s.send("a", "bob", "x"))["data"]["delivered_count"], 30)
        for end in ends:
            end.recv(content="x")


@row("1.multi_login")
def test_a_storm_of_logins_of_one_user_leaves_exactly_the_allowed_number():
    with Server({"max_connections_per_user": 2, "workers": 4}) as s:
        for _ in range(40):
            s.ws("bob")
        eventually(lambda: s.is_online("bob") == 2, "two are left")
        eq(s.stats()["online_users"], 1)


# ---- security --------------------------------------------------------------------------------------------------------


@row("1.security.max_message_size", "7.1009", "threat 8", "threat 9")
def test_a_message_that_is_too_large_closes_with_1009():
    with Server({"security": {"max_message_size": 2}}) as s:
        bob, alice = s.ws("bob"), s.ws("alice")
        frame = len(json.dumps({"to": "bob", "content": ""}))
        alice.send(to="bob", content="x" * (2048 - frame))
        bob.recv()
        alice.send(to="bob", content="x" * (2049 - frame))
        alice.expect_close(1009)
        announced = s.ws("announced")
        announced.send_raw(struct.pack("!BBQ", 0x81, 0xff, 1 << 62) + b"abcd")
        announced.expect_close(1009)
        pieces = s.ws("pieces")
        for i in range(30):
            try:
                pieces.send_frame(TEXT if i == 0 else CONT, b"x" * 100, fin=False)
            except OSError:
                break
        pieces.expect_close(1009)
        bob.quiet()


@row("1.security.max_message_size", "threat 9", "threat 11", "owasp.8")
def test_the_default_is_one_mebibyte():
    s = shared()
    alice, bob = s.ws(name("alice")), s.ws(name("bob"))
    alice.send(to=bob.user, content="x" * ((1 << 20) - 200))
    bob.recv(content="x" * ((1 << 20) - 200))
    alice.send(to=bob.user, content="x" * (1 << 20))
    alice.expect_close(1009)


@row("1.security.max_content_length")
def test_max_content_length_counts_the_bytes_of_content():
    with Server({"security": {"max_content_length": 10}}) as s:
        bob, alice = s.ws("bob"), s.ws("alice")
        for content in ("x" * 10, "é" * 5, "\n" * 10, ""):
            alice.send(to="bob", content=content)
            bob.recv(content=content)
            success(s.send("a", "bob", content))
            bob.recv(content=content)
        for content in ("x" * 11, "é" * 6, "\n" * 11):
            alice.send(to="bob", content=content, id="m")
            alice.expect_error("bad_message", "m", "max_content_length")
            failure(s.send("a", "bob", content), 400, "bad_message", "max_content_length")
            failure(s.broadcast(content), 400, "bad_message", "max_content_length")
        alice.send(to="bob", data={"long": "x" * 100})
        bob.recv()
        bob.quiet()


@row("1.security.sender_mismatch")
def test_sender_mismatch_overwrite_puts_the_true_sender_in_place():
    with Server({"security": {"sender_mismatch": "overwrite"}}) as s:
        bob, alice = s.ws("bob"), s.ws("alice")
        for false in ("mallory", "system", "bob"):
            alice.send(to="bob", content="x", from_=false)
            bob.recv(content="x", from_="alice")
        alice.quiet()
        failure(s.send("a", "bob", "x", **{"from": "mallory"}), 403, "sender_mismatch")


@row("1.security.sender_mismatch")
def test_sender_mismatch_hook_fails_the_start_of_a_server_without_hooks():
    faults("wsc:\n  security:\n    sender_mismatch: hook\n", [(3, "security.sender_mismatch", "on_message_received")])


@row("1.security.blocked_ips")
def test_blocked_addresses_are_refused_and_others_are_not():
    with Server({"security": {"blocked_ips": ["127.0.0.2", "127.1.0.0/16"]}}) as s:
        s.ws("a").quiet()
        for source in ("127.0.0.2", "127.1.2.3"):
            failure(s.ws("a", source=source, check=False).answer, 403, "forbidden_ip")
            with Http(s.address, source=source) as h:
                failure(h.ask("GET", "/wsc/stats"), 403, "forbidden_ip")
        for source in ("127.0.0.3", "127.2.0.1"):
            s.ws("a", source=source).quiet()


@row("1.security.whitelist")
def test_with_the_whitelist_only_its_addresses_are_let_in():
    with Server({"security": {"enable_ip_whitelist": True, "whitelist_ips": ["127.0.0.1", "127.1.0.0/16"],
                              "blocked_ips": ["127.1.0.9"]}}) as s:
        s.ws("a").quiet()
        s.ws("a", source="127.1.2.3").quiet()
        failure(s.ws("a", source="127.0.0.2", check=False).answer, 403, "forbidden_ip")
        failure(s.ws("a", source="127.1.0.9", check=False).answer, 403, "forbidden_ip")
    with Server({"security": {"whitelist_ips": ["10.0.0.1"]}}) as s:
        s.ws("a").quiet()
        has(s.text(), "whitelist_ips", "no effect")


@row("1.security.trusted_proxies", "threat 108")
def test_x_forwarded_for_is_believed_only_from_trusted_proxies():
    blocked = {"blocked_ips": ["203.0.113.0/24"]}
    with Server({"security": dict(blocked, trusted_proxies=["127.0.0.0/8", "198.51.100.7"])}) as s:
        for forwarded, status in (("203.0.113.5", 403), ("192.0.2.1", 200), ("192.0.2.1, 203.0.113.5", 403),
                                  ("203.0.113.5, 192.0.2.1", 200),
                                  ("203.0.113.5, 198.51.100.7", 403), ("203.0.113.5,127.0.0.9, 198.51.100.7", 403),
                                  ("192.0.2.1,198.51.100.7", 200),
                                  ("203.0.113.5:4711", 403), ("203.0.113.5:4711, 198.51.100.7:443", 403),
                                  ("192.0.2.1:4711", 200), ("[::ffff:203.0.113.5]:4711", 403),
                                  ("203.0.113.5, nonsense", 200)):
            eq(s.ask("GET", "/wsc/stats", headers=[("X-Forwarded-For", forwarded)]).status, status, forwarded)
        eq(s.ask("GET", "/wsc/stats", headers=[("X-Forwarded-For", "203.0.113.5"),
                                               ("X-Forwarded-For", "192.0.2.1")]).status, 200)
        eq(s.ask("GET", "/wsc/stats", headers=[("X-Forwarded-For", "192.0.2.1"),
                                               ("X-Forwarded-For", "203.0.113.5")]).status, 403)
        failure(s.ws("a", headers=[("X-Forwarded-For", "203.0.113.5")], check=False).answer, 403, "forbidden_ip")
    with Server({"security": blocked}) as s:
        success(s.ask("GET", "/wsc/stats", headers=[("X-Forwarded-For", "203.0.113.5")]))
    with Server({"security": {"blocked_ips": ["127.0.0.1"]}}) as s:
        failure(s.ask("GET", "/wsc/stats", headers=[("X-Forwarded-For", "192.0.2.1")]), 403, "forbidden_ip")


def proxy_v2(source):
    addresses = socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 999, 80)
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, len(addresses)) + addresses


@row("1.security.trusted_proxies", "threat 108")
def test_the_proxy_protocol_is_believed_only_from_trusted_proxies():
    request = b"GET /wsc/stats HTTP/1.1\r\nHost: h\r\n\r\n"
    line = b"PROXY TCP4 %s 127.0.0.1 999 80\r\n"
    security = {"blocked_ips": ["203.0.113.0/24"], "trusted_proxies": ["127.0.0.1"]}
    with Server({"security": security}) as s:
        for preface, status in ((line % b"203.0.113.5", 403), (line % b"192.0.2.1", 200), (b"PROXY UNKNOWN\r\n", 200),
                                (proxy_v2("203.0.113.5"), 403), (proxy_v2("192.0.2.1"), 200), (b"", 200)):
            with Http(s.address) as h:
                h.send_raw(preface + request)
                eq(h.answer().status, status, preface)
        s.ws("a", preface=line % b"192.0.2.1").quiet()
        for source in ("127.0.0.2",):
            with Http(s.address, source=source) as h:
                h.send_raw(line % b"192.0.2.1" + request)
                failure(h.answer(), 400, "bad_request")
                h.expect_end()


@row("1.security.message_rate", "1.security.enable_rate_limit", "owasp.9")
def test_messages_over_the_rate_are_refused_one_by_one_and_not_delivered():
    with Server({"security": {"message_rate": "1/s", "message_burst": 3}}) as s:
        bob, alice = s.ws("bob"), s.ws("alice")
        for i in range(8):
            alice.send(to="bob", content=str(i), id=f"m{i}")
        refused = []
        while len(refused) < 4:
            m = alice.recv("error")
            eq(m["data"]["code"], "rate_limited")
            ok(isinstance(m["data"]["retry_after_ms"], int) and m["data"]["retry_after_ms"] > 0, m)
            refused.append(m)
        for i in range(3):
            bob.recv(content=str(i))
        h = s.http()
        for i in range(20):
            success(h.ask("POST", API + "/send", {"to": "bob", "content": f"h{i}"}, [("X-User-ID", "alice")]))
        contents = [bob.recv()["content"] for _ in range(20)]
        eq([c for c in contents if c.startswith("h")][:15], [f"h{i}" for i in range(15)], "calls are never counted")
        bob.send(to="bob", content="a rate of its own")


@row("1.security.message_rate")
def test_after_a_pause_messages_are_taken_again():
    with Server({"security": {"message_rate": "10/s", "message_burst": 2}}) as s:
        alice = s.ws("alice")

        def taken():
            alice.send(to="alice", content="x")
            m = alice.recv()
            if m["type"] == "error":
                eq(m["data"]["code"], "rate_limited")
                time.sleep(m["data"]["retry_after_ms"] / 1000)
            return m["type"] == "text"
        for _ in range(5):
            eventually(taken, "room again")


@row("1.security.message_rate", "7.4429", "owasp.9")
def test_a_sender_still_over_the_rate_after_ten_seconds_is_closed_with_4429():
    with Server({"security": {"message_rate": "1/s", "message_burst": 5}}) as s:
        alice = s.ws("alice")
        end = time.monotonic() + 10 + lib.LIMIT * 2
        while not alice.closed:
            ok(time.monotonic() < end, "never closed")
            try:
                for _ in range(5):
                    alice.send(to="alice", content="x")
            except OSError:
                pass
            time.sleep(0.05)
            while alice.has_input() and not alice.closed:
                alice.recv_frame()
        alice.expect_close(4429)


@row("1.security.enable_rate_limit")
def test_without_rate_limits_there_are_none():
    with Server({"security": {"enable_rate_limit": False, "message_rate": "1/s", "message_burst": 1,
                              "connect_rate": "1/s"},
                 "limits": {"control_rate": "1/s", "control_burst": 1}}) as s:
        alice = s.ws("alice")
        for i in range(50):
            alice.send(to="alice", content=str(i))
            alice.recv(content=str(i))
            alice.send_frame(PING, b"x")
            eq(alice.recv_frame()[0], lib.PONG)
            s.ws("bob").cut()


@row("1.security.connect_rate", "7.4429", "2.wsc-v1", "threat 127", "threat 178", "owasp.10")
def test_connect_rate_counts_new_sockets_and_streams_of_one_address():
    with Server({"security": {"connect_rate": "1/s"}}) as s:
        def exhaust(make):
            for i in range(200):
                a = make().answer
                if a.status == 429:
                    failure(a, 429, "rate_limited")
                    ok(int(a.header("Retry-After")) > 0, a)
                    return i
            fail("never refused")
        ok(exhaust(lambda: s.ws(name(), check=False)) >= 1, "the first one is let in")
        exhaust(lambda: s.sse(name(), check=False))

        def told():
            ws = s.ws(name(), protocols=["wsc.v1"])
            ws.send_text("ping")
            try:
                ws.recv_text()
            except lib.Closed as closed:
                eq(closed.code, 4429)
                return True
            return False
        eventually(told, "4429")
        for _ in range(30):
            success(s.get("/wsc/stats"))
        s.ws(name(), source="127.0.0.2").quiet()


@row("1.auth.mode", "1.auth-warning", "threat 89", "owasp.1")
def test_open_mode_on_an_address_that_others_can_reach_is_one_warning_line():
    with Server({"node_ip": "0.0.0.0", "auth": {"mode": "open"}}) as s:
        lines = [e for e in s.log() if e["level"] == "warn" and "auth.mode" in e["msg"]]
        eq(len(lines), 1, s.text())
        has(lines[0]["msg"], "open", "any")
    with Server() as s:
        eq([e for e in s.log() if e["level"] == "warn"], [], s.text())


@row("1.limits", "7.1008", "threat 12")
def test_a_message_of_too_many_fragments_is_closed_with_1008():
    with Server({"limits": {"fragments": 4}}) as s:
        alice = s.ws("alice")
        parts = [b'{"to":', b'"alice",', b'"content":', b'"x"}']
        for i, part in enumerate(parts):
            alice.send_frame(TEXT if i == 0 else CONT, part, fin=i == 3)
        alice.recv(content="x")
        for i in range(5):
            alice.send_frame(TEXT if i == 0 else CONT, b"x", fin=False)
        alice.expect_close(1008)


@row("1.limits", "7.1008", "threat 27")
def test_too_many_control_frames_are_closed_with_1008():
    with Server({"limits": {"control_rate": "1/s", "control_burst": 5}}) as s:
        alice = s.ws("alice")
        for _ in range(4):
            alice.send_frame(PING, b"x")
            eq(alice.recv_frame()[0], lib.PONG)
        alice.send_raw(lib.frame(PING, b"x") * 40)
        alice.expect_close(1008)


@row("1.limits")
def test_the_limits_of_a_head_can_be_set():
    with Server({"limits": {"header_bytes": "2KiB", "header_count": 10, "uri_bytes": 300}}) as s:
        success(s.get("/wsc/stats?" + "x" * 200))
        failure(s.get("/wsc/stats?" + "x" * 300), 414, "uri_too_long")
        failure(s.ask("GET", "/wsc/stats", headers=[("X-A", "x" * 3000)]), 431, "headers_too_large")
        failure(s.ask("GET", "/wsc/stats", headers=[(f"X-{i}", "x") for i in range(11)]), 431, "headers_too_large")


# ---- signals, log ----------------------------------------------------------------------------------------------------


@row("server.signals", "7.1001", "threat 179")
def test_sigterm_and_sigint_close_every_connection_with_1001_and_exit_0():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Server({"workers": 3}) as s:
            sockets = [s.ws(f"u{i}") for i in range(10)]
            streams = [s.sse(f"s{i}") for i in range(3)]
            idle = s.http()
            success(idle.ask("GET", "/livez"))
            success(s.broadcast("last words"))
            s.signal(number)
            for ws in sockets:
                ws.recv(content="last words")
                ok(ws.expect_close(1001), "a reason")
            for stream in streams:
                stream.recv(content="last words")
                stream.expect_closed(1001, True)
            idle.expect_end()
            eq(s.wait(), 0)


@row("server.signals", "threat 24")
def test_a_client_that_does_not_answer_the_close_does_not_hold_the_server():
    with Server({"shutdown_timeout": "500ms"}) as s:
        stubborn = s.ws("stubborn")
        s.ws("deaf", rcvbuf=4096)
        s.http().send_raw(b"GET /wsc/st")
        s.signal(signal.SIGTERM)
        stubborn.expect_close(1001, answer=False)
        eq(s.wait(), 0)


@row("server.signals", "server.probes", "threat 179", "threat 180")
def test_while_the_server_stops_new_clients_are_refused_and_readyz_is_503():
    with Server({"shutdown_timeout": "20s"}) as s:
        stubborn = s.ws("stubborn")
        half = s.http()
        half.send_raw(b"GET /readyz HTTP/1.1\r\n")
        late = s.http()
        late.send_raw(b"GET /sse?user_id=late HTTP/1.1\r\n")
        success(s.get("/wsc/stats"))
        s.signal(signal.SIGTERM)
        stubborn.expect_close(1001, answer=False)
        half.send_raw(b"Host: h\r\n\r\n")
        failure(half.answer(), 503, "shutting_down")
        late.send_raw(b"Host: h\r\n\r\n")
        failure(late.answer(), 503, "shutting_down")

        def refused():
            try:
                Http(s.address).cut()
            except ConnectionError:
                return True
            return False
        eventually(refused, "no new connections")
        stubborn.send_frame(CLOSE, struct.pack("!H", 1001))
        eq(s.wait(), 0)


@row("server.signals", "threat 132")
def test_a_second_signal_exits_at_once():
    with Server({"shutdown_timeout": "10m"}) as s:
        stubborn = s.ws("stubborn")
        s.signal(signal.SIGTERM)
        stubborn.expect_close(1001, answer=False)
        s.signal(signal.SIGTERM)
        ok(s.wait() in (128 + signal.SIGTERM, -signal.SIGTERM, 0), "exit status")


@row("server.log")
def test_the_start_lines_name_addresses_endpoints_authentication_workers_and_limits():
    with Server({"workers": 2}) as s:
        listening, = s.log("listening")
        eq((listening["address"], listening["port"], listening["page"]),
           ("127.0.0.1", s.port, f"http://localhost:{s.port}/"))
        eq(s.log("endpoints")[0]["websocket"], "/ws")
        eq(s.log("authentication")[0]["mode"], "open")
        eq(s.log("limits")[0]["workers"], 2)


@row("server.log")
def test_the_log_is_text_for_people_or_json_and_has_levels():
    for format, first in (("text", re.compile(r"20\d\d-\d\d-\d\dT\S+Z info +listening +address=127.0.0.1 port=\d+")),
                          ("json", re.compile(r"\{.*\}"))):
        s = Server(settings=[f"log.format={format}"], ready=False)
        try:
            eventually(lambda: "listening" in s.text() and s.text().endswith("\n"), "listening")
            for line in s.text().splitlines():
                if "listening" in line:
                    ok(first.match(line), repr(line))
            s.signal(signal.SIGTERM)
            eq(s.wait(), 0)
        finally:
            s.kill()
    s = Server(settings=["log.level=error"], ready=False)
    try:
        eventually(lambda: s.threads() > 1, "the workers")
        s.signal(signal.SIGTERM)
        eq(s.wait(), 0)
        eq(s.text(), "")
    finally:
        s.kill()


@row("server.log", "threat 101", "threat 181", "hardening.secret-logs", "owasp.14")
def test_traffic_writes_no_log_lines():
    with Server() as s:
        before = len(s.log())
        alice, bob = s.ws("alice"), s.ws("bob")
        for i in range(20):
            alice.send(to="bob", content=str(i))
            bob.recv()
            alice.send(to="nobody", content="x")
            alice.recv("error")
            success(s.broadcast("x"))
            alice.recv("notice")
            bob.recv("notice")
        eq(len(s.log()), before, s.text())


@row("server.descriptors", "threat 142")
def test_ended_connections_leave_no_descriptors():
    with Server() as s:
        s.ws("warm").close()
        eventually(lambda: s.stats()["active_connections"] == 0)
        before = s.descriptors()
        for i in range(60):
            c = [s.ws, s.sse][i % 2](f"u{i}")
            if i % 3 == 0:
                c.reset()
            else:
                c.cut()
        eventually(lambda: s.stats()["active_connections"] == 0, "all are gone")
        eventually(lambda: s.descriptors() <= before, "no descriptor is left")
