#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the end-to-end tests: the real program on loopback, seen from outside.

usage: run.py [--wsc PATH] [--jobs N] [--list] [--verbose] [--tls] [PATH] [PATTERN ...]

A test is a function `test_what_happens()` of a file test_*.py beside this one, with @row("3.frame-binary", ...) above
it: the rows of tests/contract.md and docs/threats.md that it shows (tests/maps). PATTERN is a part of a test's or a
row's name. PATH, the program, is build/wsc by default. Failures are printed with the log of the server; the last line
is "N passed, N failed".

--tls   all clients speak TLS; without the tests that look below it, and those of the configuration and of TLS itself
"""
import argparse
import glob
import importlib.util
import multiprocessing
import os
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import lib  # noqa: E402

TEST_SECONDS = 600 if lib.SLOW else 120
NOT_OVER_TLS = {"test_config", "test_docs", "test_browser", "test_threats", "test_tls"}


def discover():
    """All tests: {name: function}, in the order of files and lines."""
    tests = {}
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        module = os.path.basename(path)[:-3]
        spec = importlib.util.spec_from_file_location(module, path)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[module] = loaded
        spec.loader.exec_module(loaded)
        for name, f in vars(loaded).items():
            if not name.startswith("test_") or not callable(f):
                continue
            if name in tests:
                sys.exit(f"two tests are called {name}")
            if not getattr(f, "rows", None):
                sys.exit(f"{module}.{name} names no row")
            tests[name] = f
    return tests


# ---- running ---------------------------------------------------------------------------------------------------------


class OutOfTime(Exception):
    pass


def _out_of_time(*_):
    raise OutOfTime(f"the test took longer than {TEST_SECONDS} s")


def logs_of(e):
    """The logs that belong to a failure: of a server that its block has ended, and of all servers still running."""
    parts = [e.server_log] if getattr(e, "server_log", None) else []
    for server in lib.LIVE:
        text = server.text()[server.mark:]
        status = server.process.poll()
        if status is not None:
            text += f"\n(this server has ended by itself: {status})\n"
        if text:
            parts.append(text)
    return "".join(f"--- server's log ---\n{p[-12000:].rstrip()}\n" for p in parts)


def run_one(f):
    """None, or the text of its failure."""
    signal.alarm(TEST_SECONDS)
    try:
        lib.new_test()
        f()
        for server in list(lib._shared.values()):
            if not server.running():
                lib.fail("the shared server has ended by itself: exit status", server.process.returncode)
            lib.no_sanitizer(server.text())
    except BaseException as e:
        story = traceback.format_exc() + logs_of(e)
        for server in list(lib.LIVE):
            if server not in lib._shared.values():
                server.kill()
        return story
    finally:
        signal.alarm(0)
    return None


def worker(tests, todo, results):
    lib._die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _out_of_time)
    while True:
        name = todo.get()
        if name is None:
            break
        started = time.monotonic()
        results.put((name, "begun", 0))
        story = run_one(tests[name])
        results.put((name, story, time.monotonic() - started))
    end = run_one(lib.stop_shared)
    if end:
        results.put(("the shared server ends with status 0", end, 0.0))
    results.put(None)


def run(tests, jobs, verbose):
    context = multiprocessing.get_context("fork")
    todo, results = context.SimpleQueue(), context.Queue()
    processes = [context.Process(target=worker, args=(tests, todo, results)) for _ in range(jobs)]
    for p in processes:
        p.start()
    for name in list(tests) + [None] * jobs:
        todo.put(name)
    passed, failed, left, begun = 0, [], jobs, set()
    while left:
        try:
            item = results.get(timeout=5)
        except Exception:
            if not any(p.is_alive() for p in processes):
                break
            continue
        if item is None:
            left -= 1
            continue
        name, story, seconds = item
        if story == "begun":
            begun.add(name)
            continue
        begun.discard(name)
        if story is None:
            passed += 1
            if verbose:
                print(f"ok    {name} ({seconds:.1f} s)", flush=True)
        else:
            failed.append(name)
            print(f"FAIL  {name} ({seconds:.1f} s)\n{story}", flush=True)
    for name in sorted(begun):
        failed.append(name)
        print(f"FAIL  {name}: the process that ran it is gone", flush=True)
    for p in processes:
        p.join(10)
        if p.is_alive():
            p.kill()
    if failed:
        print("failed:\n" + "\n".join("  " + n for n in failed))
    return passed, len(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wsc")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("patterns", nargs="*")
    args = parser.parse_args()
    lib.OVER_TLS = lib.OVER_TLS or args.tls
    patterns = args.patterns
    if patterns and "/" in patterns[0]:
        args.wsc = args.wsc or patterns[0]
        patterns = patterns[1:]
    os.environ["E2E_WSC"] = os.path.abspath(args.wsc or lib.program())
    tests = discover()
    if lib.OVER_TLS:
        tests = {n: f for n, f in tests.items()
                 if f.__module__ not in NOT_OVER_TLS and not getattr(f, "below_tls", False)}
    if lib.CHOP:
        tests = {n: f for n, f in tests.items() if not getattr(f, "not_chopped", False)}
    chosen = {n: f for n, f in tests.items()
              if not patterns or any(p in n or any(p in r for r in f.rows) for p in patterns)}
    if args.list:
        for n, f in chosen.items():
            print(f"{n}  {' '.join(f.rows)}")
        return 0
    passed, failed = run(chosen, max(1, args.jobs), args.verbose)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
