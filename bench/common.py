# SPDX-License-Identifier: Apache-2.0
"""
The parts of bench/run and bench/compare: servers, loads, the memory of an idle connection, and tables.

A server runs on core 0, the load on core 1. Server and StandingLoad end their processes at the end of `with`.
"""
import json
import os
import random
import select
import signal
import socket
import statistics
import subprocess
import tempfile
import time

SERVER_CORE, LOAD_CORE = 0, 1
IDLE_CONNECTIONS = 10000

# name, arguments of the load, connections that the table speaks of
LOADS = {
    'pairs-1': ('pairs', 200, 1, 'user to user, 200 connections, 1 outstanding'),
    'pairs-16': ('pairs', 200, 16, 'user to user, 200 connections, 16 outstanding'),
    'broadcast-1000': ('broadcast', 1000, 1, 'broadcast to 1,000 connections'),
    'broadcast-10000': ('broadcast', 10000, 1, 'broadcast to 10,000 connections'),
}


class Failed(Exception):
    pass


def free_port():
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(('127.0.0.1', port))
                return port
            except OSError:
                pass


class Server:
    """One server process on its own port; `with` starts and ends it."""

    def __init__(self, name, argv, port, source='http'):
        self.name, self.argv, self.port, self.source, self.process = name, argv, port, source, None

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()  # no config.yaml is found there
        self.log = open(f'{self.directory.name}/log', 'w+')
        try:
            self.process = subprocess.Popen(self.argv, cwd=self.directory.name, stdin=subprocess.DEVNULL,
                                            stdout=self.log, stderr=subprocess.STDOUT, env=clean_environment(),
                                            preexec_fn=lambda: pin(SERVER_CORE))
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_ready(self):
        deadline = time.monotonic() + 20
        while not self.is_alive():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f'{self.name} did not start: {self.last_words()}')
            time.sleep(0.02)

    def is_alive(self):
        try:
            with socket.create_connection(('127.0.0.1', self.port), timeout=2) as s:
                s.sendall(b'GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
                return s.recv(64).startswith(b'HTTP/1.1 200')
        except OSError:
            return False

    def last_words(self):
        self.log.seek(0)
        return self.log.read()[-500:].strip()

    def memory(self):
        """Bytes: private_dirty is what the process alone has written to, rss all that is in memory for it."""
        fields = {}
        with open(f'/proc/{self.process.pid}/smaps_rollup') as rollup:
            for line in rollup.readlines()[1:]:
                name, size = line.split(':')
                fields[name] = int(size.split()[0]) * 1024
        return {'private_dirty': fields['Private_Dirty'], 'rss': fields['Rss']}

    def __exit__(self, *_):
        if self.process:
            end(self.process, 20)
        self.log.close()
        self.directory.cleanup()


def wsc_server(name, program, settings=(), wrapper=()):
    """The binary @program with one worker and no rate limits, run by the command @wrapper if there is one."""
    port = free_port()
    argv = [*wrapper, program, 'serve']
    for setting in ['node_ip=127.0.0.1', f'node_port={port}', 'workers=1',
                    'security.enable_rate_limit=false', *settings]:
        argv += ['--set', setting]
    return Server(name, argv, port)


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith('WSC_')}


def pin(core):
    try:
        os.sched_setaffinity(0, {core})
    except OSError:
        pass


def end(process, seconds):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def load_command(build, server, mode, connections, window, *more):
    return [f'{build}/bench/bench_load', mode, f'--port={server.port}', f'--connections={connections}',
            f'--window={window}', f'--pid={server.process.pid}', f'--core={LOAD_CORE}', f'--source={server.source}',
            f'--name={server.name}', *more]


def measured_by(command, seconds):
    """The JSON line that @command prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f'not done in {seconds} s: {command[0]}') from None
    if done.returncode:
        raise Failed(done.stderr.strip() or f'exit code {done.returncode}')
    return json.loads(done.stdout)


class StandingLoad:
    """A load that opens its connections and waits. Each step() lets it send for one window."""

    def __init__(self, command):
        self.command = [*command, '--steps']

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        try:
            self.line()
        except BaseException:
            self.__exit__()
            raise
        return self

    def line(self):
        """The load itself gives up when nothing has moved for 10 s."""
        if not select.select([self.process.stdout], [], [], 120)[0]:
            raise Failed('the load does not answer')
        line = self.process.stdout.readline()
        if not line:
            raise Failed(self.process.stderr.read().strip() or 'the load has ended')
        return json.loads(line)

    def step(self):
        try:
            self.process.stdin.write('\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # line() says why
        return self.line()

    def __exit__(self, *_):
        end(self.process, 10)
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


def idle_memory(build, server):
    """Memory with no connection, and with many that have been silent for a second."""
    before = server.memory()
    with StandingLoad(load_command(build, server, 'idle', IDLE_CONNECTIONS, 1)):
        time.sleep(1)
        after = server.memory()
    each = {f'{key}_each': round((after[key] - before[key]) / IDLE_CONNECTIONS, 1) for key in before}
    return {'mode': 'idle', 'server': server.name, 'connections': IDLE_CONNECTIONS, 'before': before, **each}


def figure(value):
    return f'{value / 1000:,.0f} k' if value >= 10000 else f'{value:,.0f}' if value >= 100 else f'{value:.1f}'


def spread(values, show=figure):
    if not values:
        return '–'
    return f'{show(statistics.median(values))} ({show(min(values))} to {show(max(values))})'


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows = [rows[0], ['-' * width for width in widths], *rows[1:]]
    for row in rows:
        print('| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |')
