/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the time of a server from exec to its first successful answer to GET /livez, and its CPU time until then.
 * The program starts the server again and again on one core and asks from the other core every tenth of a millisecond.
 * It ends each server and waits for its end before it starts the next one.
 */
#include "common.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ROUNDS_MAX = 1000,
	LIMIT_MS = 10000, /* until the first answer, and again until the end */
	SERVER_CORE = 0,
	OWN_CORE = 1,
};

struct times {
	double ready_ms[ROUNDS_MAX];
	double cpu_ms[ROUNDS_MAX];
};

static void wait_a_little(void)
{
	usleep(100);
}

static pid_t start(char **argv)
{
	pid_t pid = fork();
	int null;

	if (pid < 0)
		die_errno("fork");
	if (pid)
		return pid;
	pin_to_core(SERVER_CORE);
	null = open("/dev/null", O_RDWR);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	execv(argv[0], argv);
	_exit(127);
}

static bool answers(unsigned int port)
{
	static const char ask[] = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[64] = "";
	bool ok;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	ok = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	     send(fd, ask, strlen(ask), MSG_NOSIGNAL) == (ssize_t)strlen(ask) &&
	     recv(fd, answer, sizeof(answer) - 1, 0) > 0 && !strncmp(answer, "HTTP/1.1 200", 12);
	close(fd);
	return ok;
}

static void end(pid_t pid)
{
	uint64_t since = now_ns();

	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (now_ns() - since > LIMIT_MS * 1000000ull)
			kill(pid, SIGKILL);
		wait_a_little();
	}
}

static void measure(struct times *t, unsigned int round, unsigned int port, char **argv)
{
	uint64_t since = now_ns();
	pid_t pid = start(argv);

	while (!answers(port)) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			die("%s ended before it answered", argv[0]);
		if (now_ns() - since > LIMIT_MS * 1000000ull) {
			end(pid);
			die("%s does not answer", argv[0]);
		}
		wait_a_little();
	}
	t->ready_ms[round] = (double)(now_ns() - since) / 1e6;
	t->cpu_ms[round] = (double)cpu_ns_of(pid) / 1e6;
	end(pid);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct times *t = must_alloc(1, sizeof(*t));
	unsigned int rounds, port, i;

	if (argc < 4 || argv[3][0] != '/')
		die("usage: startup ROUNDS PORT /path/to/server [argument...]");
	rounds = (unsigned int)must_number(argv[1], "rounds", ROUNDS_MAX);
	port = (unsigned int)must_number(argv[2], "port", 65535);
	if (!rounds)
		die("no rounds");
	pin_to_core(OWN_CORE);
	for (i = 0; i < rounds; i++)
		measure(t, i, port, argv + 3);
	qsort(t->ready_ms, rounds, sizeof(double), by_size);
	qsort(t->cpu_ms, rounds, sizeof(double), by_size);
	printf("{\"mode\":\"startup\",\"rounds\":%u,\"ready_ms\":%.3f,\"ready_ms_min\":%.3f,\"ready_ms_max\":%.3f,"
	       "\"cpu_ms\":%.3f}\n",
	       rounds, t->ready_ms[rounds / 2], t->ready_ms[0], t->ready_ms[rounds - 1], t->cpu_ms[rounds / 2]);
	return 0;
}
