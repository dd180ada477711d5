# SPDX-License-Identifier: Apache-2.0
"""The base of the scenes: a gateway, crowds against it, figures, and a count of the checks that held.

    with Scene({"limits": {...}}) as s:
        quiet = s.quiet()                         # an ordinary pair, alone
        heads = s.crowd("heads", 10000)
        ...
        s.check("the slow heads are gone in 11 s", heads.figures()["longest_ms"] <= 11000)
    # leaving the block: crowds end, memory and descriptors must be back, SIGTERM must end it with 0
    sys.exit(s.verdict())
"""
import json
import os
import resource
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
sys.dont_write_bytecode = True
os.environ["E2E_WSC"] = sys.argv[1] if len(sys.argv) > 1 else ""
import lib  # noqa: E402

PAGE = os.sysconf("SC_PAGE_SIZE")
PAIRS = 4
TICK = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


def ahead():
    """Gateway and pairs run before all other programs, where that is allowed: in quiet and under siege alike."""
    raise_descriptors()
    try:
        os.nice(-10)
    except PermissionError:
        pass


def first():
    """The same, and nothing holds them up. Not for a gateway that is kept fully busy: no other program would run.

    A crowd takes as much of a processor as it can get. On a real network that is another machine's; with nice values alone
    a figure would be the scheduler's, which lets a program that wakes up wait while another has its slice.
    """
    raise_descriptors()
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        ahead()


def gentle():
    """A crowd takes the time that the gateway and the pairs leave: on a real network its processor is another one."""
    raise_descriptors()
    os.nice(10)


def raise_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd:
    """The program `crowd` with its kind and number; see crowd.c."""

    def __init__(self, port, kind, count, limits=gentle):
        self.kind, self.count, self.last = kind, count, {}
        self.process = subprocess.Popen([os.path.join(os.environ["TEST_BUILD"], "tests/pressure/crowd"), kind, str(port),
                                         str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=limits)

    def line(self):
        line = self.process.stdout.readline()
        lib.ok(line, f"the crowd of {self.kind} has ended by itself")
        return json.loads(line)

    def figures(self):
        """So far; of a probe: since the last time."""
        self.process.stdin.write("mark\n")
        self.process.stdin.flush()
        while True:
            answer = self.line()
            if "kind" in answer:
                self.last = answer
                return answer

    def until(self, look, seconds, every=0.1):
        """Figures of which @look holds, or the last ones when the time is up."""
        end = time.monotonic() + seconds
        while True:
            f = self.figures()
            if look(f) or time.monotonic() > end:
                return f
            time.sleep(every)

    def all_up(self, seconds=60):
        return self.until(lambda f: f["opened"] >= self.count and f["up"] + f["gone"] >= self.count, seconds)

    def all_open(self, seconds=60):
        return self.until(lambda f: f["opened"] >= self.count, seconds)

    def all_gone(self, seconds):
        return self.until(lambda f: f["gone"] >= self.count, seconds)

    def end(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.close()
            except OSError:
                pass
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Scene:
    def __init__(self, config=None, back=True, growth=16 * MIB, limits=ahead, **server):
        """@growth: bytes that the process may hold more at the end than when it was warm; @back: is that looked at?

        @limits: ahead() or first(), for gateway and pairs.
        """
        self.config, self.back, self.growth, self.limits, self.server_options = config, back, growth, limits, server
        self.crowds, self.passed, self.failed = [], 0, 0

    def __enter__(self):
        self.server = lib.Server(self.config, limits=self.limits, **self.server_options)
        self.warm()
        self.base_memory, self.base_descriptors = self.memory(), self.server.descriptors()
        self.highest = self.base_memory
        print(f"warm: {self.base_memory / MIB:.1f} MiB, {self.base_descriptors} descriptors", flush=True)
        return self

    def warm(self):
        """Everything that is made once is made."""
        with lib.Ws(self.server.address, "warm") as w:
            w.send(to="warm", content="x")
            w.recv(content="x")
        lib.eventually(lambda: self.server.stats()["active_connections"] == 0)

    def __exit__(self, kind, value, trace):
        for c in self.crowds:
            c.end()
        if kind is not None:
            print(self.server.text()[-3000:])
            self.server.kill()
            return
        if self.back:
            self.is_back()
        self.server.signal(15)
        self.check("SIGTERM ends it with status 0", self.server.wait(60) == 0)
        lib.no_sanitizer(self.server.text())
        self.server.kill()

    def is_back(self):
        end = time.monotonic() + 60
        while time.monotonic() < end and (self.server.descriptors() > self.base_descriptors or
                                          self.memory() > self.base_memory + self.growth):
            time.sleep(0.2)
        now, descriptors = self.memory(), self.server.descriptors()
        self.check(f"memory is back: {self.base_memory / MIB:.1f} MiB warm, {self.highest / MIB:.1f} MiB at most, "
                   f"{now / MIB:.1f} MiB at the end", now <= self.base_memory + self.growth)
        self.check(f"descriptors are back: {self.base_descriptors} before, {descriptors} now",
                   descriptors <= self.base_descriptors)

    # ---- figures

    def memory(self):
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * PAGE

    def cpu(self):
        with open(f"/proc/{self.server.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def share(self, seconds, look=lambda: None):
        """The server's share of a core over that time; memory is looked at meanwhile, and @look is called."""
        began, before = time.monotonic(), self.cpu()
        while time.monotonic() < began + seconds:
            self.highest = max(self.highest, self.memory())
            look()
            time.sleep(0.1)
        return (self.cpu() - before) / (time.monotonic() - began)

    def crowd(self, kind, count, limits=gentle):
        c = Crowd(self.server.port, kind, count, limits)
        self.crowds.append(c)
        return c

    def probe(self, seconds=4):
        """Ordinary pairs, and their figures in quiet: (crowd, figures)."""
        pair = self.crowd("probe", PAIRS, self.limits)
        time.sleep(0.5)
        pair.figures()
        time.sleep(seconds)
        quiet = pair.figures()
        print(f"the pairs in quiet: {self.latency(quiet)}", flush=True)
        return pair, quiet

    @staticmethod
    def latency(f):
        return f"p50 {f['p50_us'] / 1000:.2f} ms, p99 {f['p99_us'] / 1000:.2f} ms, max {f['max_us'] / 1000:.1f} ms " \
               f"of {f['messages']} messages"

    def under(self, pair, quiet, seconds, name):
        """The pair and the server over that time, while something goes on: figures, printed."""
        pair.figures()
        share = self.share(seconds)
        f = pair.figures()
        print(f"{name}: {self.latency(f)}; server {share * 100:.0f} % of a core, {self.memory() / MIB:.1f} MiB; "
              f"p99 {f['p99_us'] / max(quiet['p99_us'], 1):.2f} of quiet", flush=True)
        return f, share

    def nothing_lost(self, pair, name=""):
        """All that the pairs have sent has come."""
        f = pair.until(lambda f: f["under_way"] <= 2, 10)
        self.check(f"{name}: nothing of the pairs is lost" if name else "nothing of the pairs is lost", f["under_way"] <= 2)

    def check(self, sentence, holds):
        print("ok    " if holds else "FAILED", sentence, flush=True)
        if holds:
            self.passed += 1
        else:
            self.failed += 1

    def log(self, msg):
        return [e for e in self.server.log() if e["msg"].startswith(msg)]


def verdict(*scenes):
    passed, failed = sum(s.passed for s in scenes), sum(s.failed for s in scenes)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
