#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The WebSocket conformance suite: every case of its table against the real server, or against any other.

usage: run.py PROGRAM [--full] [--only ID[,ID]] [--ways echo,ws] [--wss | --plain] [--list] [--verbose]
       run.py --against ws://HOST:PORT/PATH [--full] [--only ID[,ID]] ...

Without --full: every case in the clear with short message counts, and over TLS the groups 1 to 7 and what else is
marked quick; that is what `make test` runs. With --full (`make conformance`): every case with the counts of the
Autobahn testsuite, in the clear and over TLS. --only takes ids and their beginnings: 7, 7.9, 12.1.3.

--against tries the echo service of another server, without what needs ours (/ws, the second and third server).

One line for each case that is not OK, a table of verdicts by group, and "N passed, N failed": OK and INFORMATIONAL are
passes, everything else is not. The full table goes to BUILD/conformance/report.md (BUILD is TEST_BUILD).
"""
import argparse
import collections
import contextlib
import multiprocessing
import os
import pathlib
import queue
import signal
import ssl
import sys
import threading
import time
import traceback
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import deflate  # noqa: E402
import judge  # noqa: E402
import selftest  # noqa: E402
import strict  # noqa: E402
import suite  # noqa: E402
from wire import Target  # noqa: E402

THREADS = 16         # cases under way at a time in each process
HEAVY = 3            # of which so many may move megabytes
Run = collections.namedtuple("Run", "case way tls")
Done = collections.namedtuple("Done", "id way tls verdict note seconds")


def wanted(case, only):
    return not only or any(case.id == o or case.id.startswith(o.rstrip(".") + ".") for o in only)


def table(args):
    """Every case in every way and over every transport of this run, the heavy ones first."""
    runs = []
    for n, case in enumerate(judge.CASES):
        if not wanted(case, args.only) or (args.against and (case.server != "main" or case.ours)):
            continue
        for way in case.ways:
            if way not in args.ways:
                continue
            if not args.wss:
                runs.append(Run(n, way, False))
            if case.tls and not args.plain and (args.full or args.wss or (case.quick and way == "echo")):
                runs.append(Run(n, way, True))
    runs.sort(key=lambda r: -judge.CASES[r.case].weight)
    return runs


def worker(tasks, results, targets, full):
    """One process of the run: threads that take cases until there are none."""
    heavy = threading.Semaphore(HEAVY)

    def loop():
        while True:
            run = tasks.get()
            if run is None:
                return
            case = judge.CASES[run.case]
            with heavy if case.weight else contextlib.nullcontext():
                started = time.monotonic()
                try:
                    verdict, note = judge.run_case(case, run.way, targets[run.tls], full)
                except Exception:  # a fault of the suite, not of the server
                    verdict, note = judge.FAILED, traceback.format_exc()
                results.put(Done(case.id, run.way, run.tls, verdict, note, time.monotonic() - started))

    threads = [threading.Thread(target=loop) for _ in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def run_all(runs, targets, full, verbose):
    """Runs them over as many processes as there are cores; the results in the order of the table."""
    context = multiprocessing.get_context("fork")
    tasks, results = context.Queue(), context.Queue()
    count = len(os.sched_getaffinity(0))
    for r in runs:
        tasks.put(r)
    for _ in range(count * THREADS):
        tasks.put(None)
    processes = [context.Process(target=worker, args=(tasks, results, targets, full)) for _ in range(count)]
    for p in processes:
        p.start()
    done = []
    while len(done) < len(runs):
        try:
            d = results.get(timeout=5)
        except queue.Empty:
            if not any(p.is_alive() for p in processes):
                break
            continue
        done.append(d)
        if verbose or d.verdict not in judge.GOOD:
            print(line(d), flush=True)
    for p in processes:
        p.join()
    return sorted(done, key=lambda d: ([int(n) for n in d.id.split(".")], d.way, d.tls))


def name(d):
    return f"{d.id}{'' if d.way == 'echo' else ' on /ws'}{' over TLS' if d.tls else ''}"


def line(d):
    text = next(c.text for c in judge.CASES if c.id == d.id)
    return f"{d.verdict:14} {name(d)}: {text}\n{'':14} {d.note}"


# ---- the report ------------------------------------------------------------------------------------------------------

GROUPS = {0: "the suite itself, against flawed servers", 1: "framing", 2: "pings and pongs", 3: "reserved bits",
          4: "opcodes",
          5: "fragmentation", 6: "UTF-8", 7: "close handling", 9: "limits and performance",
          10: "automatic fragmentation",
          12: "permessage-deflate, five corpora", 13: "permessage-deflate, parameters",
          14: "12 and 13, without context takeover", 15: "permessage-deflate on /ws",
          20: "opening handshake", 21: "masking", 22: "lengths", 23: "close codes and reasons",
          24: "frames cut at every byte", 25: "closing handshake", 26: "ends of the connection", 27: "floods",
          28: "permessage-deflate, offers", 29: "permessage-deflate, messages", 31: "independent clients"}


def summary(done):
    """Rows of (group, name, cases, one count for each verdict)."""
    by = collections.OrderedDict()
    for d in done:
        by.setdefault(int(d.id.split(".")[0]), collections.Counter())[d.verdict] += 1
    return [(g, GROUPS.get(g, ""), sum(c.values()), [c[v] for v in judge.VERDICTS]) for g, c in by.items()]


def print_summary(done):
    print(f"\n{'group':42}{'cases':>6} " + " ".join(f"{v:>13}" for v in judge.VERDICTS))
    for g, what, n, counts in summary(done):
        print(f"{g:>3} {what:38}{n:>6} " + " ".join(f"{c:>13}" for c in counts))


def write_report(path, done, args, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {c.id: c for c in judge.CASES}
    with open(path, "w", encoding="utf-8") as f:
        f.write("# WebSocket conformance\n\n")
        f.write(f"{time.strftime('%Y-%m-%d %H:%M')}, {'full' if args.full else 'short'} counts, {seconds:.0f} s.\n\n")
        f.write("| group | | cases | " + " | ".join(judge.VERDICTS) + " |\n|--:|---|--:|" + "--:|" * 6 + "\n")
        for g, what, n, counts in summary(done):
            f.write(f"| {g} | {what} | {n} | " + " | ".join(map(str, counts)) + " |\n")
        f.write("\n| case | | RFC | verdict | s | |\n|---|---|---|---|--:|---|\n")
        for d in done:
            c = texts[d.id]
            note = d.note.replace("|", "\\|").replace("\n", " ")
            f.write(f"| {name(d)} | {c.text} | {c.section} | {d.verdict} | {d.seconds:.2f} | {note} |\n")


# ---- the servers -----------------------------------------------------------------------------------------------------

MIB = 1 << 20
ECHO = {"dev": {"echo_path": "/echo"}}
LIFTED = {
    **ECHO,
    "security": {"max_message_size": "32MiB", "enable_rate_limit": False},
    "limits": {"fragments": 16777216},
}
SERVERS = {
    # what docs/conformance.md tells for the Autobahn testsuite, but with the default timeouts
    "main": {**LIFTED, "performance": {"max_queue_bytes": "64MiB", "enable_compression": True,
                                       "compression_context_takeover": True, "compression_min_bytes": 0}},
    "forgetful": {**LIFTED, "performance": {"max_queue_bytes": "64MiB", "enable_compression": True}},
    "strict": {**ECHO, "performance": {"enable_compression": True}},
}


def ours(stack, program):
    """Starts the three servers; each speaks TLS on the same port."""
    os.environ["E2E_WSC"] = os.path.abspath(program)
    import lib
    certificate = lib.Certificate()
    context = certificate.context()
    plain, secure = {}, {}
    for which, config in SERVERS.items():
        server = stack.enter_context(lib.Server({**config, "tls": certificate.config()}))
        plain[which] = Target("127.0.0.1", server.port, "/echo", None, server.process.pid)
        secure[which] = plain[which]._replace(tls=context)
    return {False: plain, True: secure}


def foreign(url):
    """The one server that --against names."""
    u = urllib.parse.urlsplit(url)
    tls = None
    if u.scheme == "wss":
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    target = Target(u.hostname, u.port or (443 if tls else 80), u.path or "/", tls)
    return {False: {"main": target}, True: {"main": target}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?")
    parser.add_argument("--against")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", type=lambda s: s.split(","), default=[])
    parser.add_argument("--ways", type=lambda s: s.split(","), default=["echo", "ws"])
    parser.add_argument("--wss", action="store_true", help="only over TLS")
    parser.add_argument("--plain", action="store_true", help="only in the clear")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    if args.against:
        args.ways = ["echo"]
        args.plain, args.wss = not args.against.startswith("wss:"), args.against.startswith("wss:")

    selftest.register()
    suite.register()
    deflate.register()
    strict.register()
    if args.list:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # for --list | head
        for c in sorted(judge.CASES, key=judge.Case.key):
            print(f"{c.id:10} {c.section:12} {','.join(c.ways):8} {c.text}")
        return 0
    started = time.monotonic()
    runs, missing = table(args), 0
    with contextlib.ExitStack() as stack:
        targets = foreign(args.against) if args.against else ours(stack, args.program)
        done = run_all(runs, targets, args.full, args.verbose)
        try:
            stack.pop_all().close()
        except AssertionError:  # a server that does not end well, or whose own checks report a fault
            traceback.print_exc()
            missing = 1
    seconds = time.monotonic() - started
    missing += len(runs) - len(done)
    print_summary(done)
    write_report(pathlib.Path(os.environ.get("TEST_BUILD", "build")) / "conformance" / "report.md", done, args, seconds)
    passed = sum(d.verdict in judge.GOOD for d in done)
    failed = len(done) - passed + missing
    print(f"{seconds:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed else 1


if __name__ == "__main__":
    sys.exit(main())
