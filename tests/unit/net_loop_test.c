/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_loop: real sockets in pairs and pipes of one process; the loop is turned by hand, so every call is counted. The
 * owner notes each callback, and obeys a few orders (pause, close) in the middle of it.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/loop.h"
#include "test.h"

struct end {
	struct stream s;
	uint8_t *got;
	size_t len, calls;
	unsigned ends, writables;
	int error;
	bool pause_on_data, close_on_data;
	struct end *close_other;
};

struct world {
	struct loop loop; /* first */
	bool pressed, late;
	int accepted[128];
	unsigned naccepted, accept_errors;
	int last_error;
};

static void on_data(struct stream *s, uint8_t *data, size_t len)
{
	struct end *e = container_of(s, struct end, s);

	e->got = realloc(e->got, e->len + len);
	memcpy(e->got + e->len, data, len);
	e->len += len;
	e->calls++;
	if (e->pause_on_data)
		stream_pause(s);
	if (e->close_on_data)
		stream_close(s);
	if (e->close_other)
		stream_close(&e->close_other->s);
}

static void on_end(struct stream *s, int error)
{
	struct end *e = container_of(s, struct end, s);

	e->ends++;
	e->error = error;
}

static void on_writable(struct stream *s)
{
	container_of(s, struct end, s)->writables++;
}

static void on_accept(struct loop *l, struct listener *from, int fd, const void *peer, uint32_t peer_len)
{
	struct world *w = container_of(l, struct world, loop);

	(void)from, (void)peer, (void)peer_len;
	if (w->naccepted < 128)
		w->accepted[w->naccepted] = fd;
	w->naccepted++;
}

static void on_accept_error(struct loop *l, int error)
{
	struct world *w = container_of(l, struct world, loop);

	w->accept_errors++;
	w->last_error = error;
}

static bool pressed(struct loop *l)
{
	return container_of(l, struct world, loop)->pressed;
}

static bool late(struct loop *l)
{
	return container_of(l, struct world, loop)->late;
}

static const struct loop_ops ops = { on_data, on_end, on_writable, on_accept, on_accept_error, pressed, late, NULL };

static void begin(struct world *w, uint32_t chop)
{
	*w = (struct world){ 0 };
	CHECK_EQ(loop_init(&w->loop, &ops, false), 0);
	w->loop.chop = chop;
}

/* One more stream on the loop; the other end. */
static int pair(struct world *w, struct end *e)
{
	int fd[2];

	*e = (struct end){ 0 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		abort();
	CHECK_EQ(stream_open(&w->loop, &e->s, fd[0]), 0);
	return fd[1];
}

static void drop(struct end *e, int other)
{
	stream_close(&e->s);
	free(e->got);
	if (other >= 0)
		close(other);
}

static void turn(struct world *w)
{
	CHECK_EQ(loop_wait(&w->loop, 0), 0);
	loop_read(&w->loop);
}

static uint64_t recvs(struct world *w)
{
	return atomic_load(&w->loop.n_recv);
}

static void put(int fd, const char *s)
{
	CHECK_EQ(write(fd, s, strlen(s)), strlen(s));
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

TEST(a_short_read_is_the_end_and_costs_one_recv)
{
	struct world w;
	struct end e;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	turn(&w);
	CHECK_EQ(recvs(&w), 0);
	for (unsigned i = 1; i <= 20; i++) {
		put(other, "hello");
		turn(&w);
		CHECK_EQ(recvs(&w), i);
		CHECK_EQ(e.calls, i);
		CHECK(!loop_unfinished(&w.loop));
	}
	turn(&w);
	CHECK_EQ(recvs(&w), 20);
	CHECK_EQ(e.len, 100);
	drop(&e, other);
	loop_deinit(&w.loop);
}

TEST(a_full_buffer_is_read_on_in_the_next_turn_and_nothing_is_lost)
{
	static uint8_t out[150000];
	struct world w;
	struct end e;
	size_t sent = 0;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	for (size_t i = 0; i < sizeof out; i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
	for (int i = 0; i < 100 && e.len < sizeof out; i++) {
		ssize_t n = send(other, out + sent, sizeof out - sent, MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		turn(&w);
		CHECK(e.calls <= (size_t)i + 1); /* one buffer per turn */
	}
	CHECK_EQ(e.len, sizeof out);
	CHECK(memcmp(e.got, out, e.len) == 0);
	turn(&w);
	turn(&w);
	CHECK(!loop_unfinished(&w.loop));
	drop(&e, other);
	loop_deinit(&w.loop);
}

TEST(each_socket_is_read_a_little_then_sockets_with_more_a_buffer_each_but_only_one_in_a_late_turn)
{
	static uint8_t block[LOOP_READ_BYTES + LOOP_RECV_BYTES];
	struct world w;
	struct end e[24];
	int other[24];

	begin(&w, 0);
	for (int i = 0; i < 24; i++) {
		other[i] = pair(&w, &e[i]);
		CHECK_EQ(write(other[i], block, sizeof block), sizeof block);
	}
	turn(&w);
	for (int i = 0; i < 24; i++) {
		CHECK_EQ(e[i].calls, 1);
		CHECK_EQ(e[i].len, LOOP_READ_BYTES);
	}
	CHECK(loop_unfinished(&w.loop));
	for (unsigned n = 0; n < 24;) {
		unsigned whole = 0;

		w.late = n < 8;
		n += w.late ? 1 : LOOP_BULK_BYTES / LOOP_RECV_BYTES;
		turn(&w);
		for (int i = 0; i < 24; i++) {
			CHECK(e[i].len == LOOP_READ_BYTES || e[i].len == sizeof block);
			whole += e[i].len == sizeof block;
		}
		CHECK_EQ(whole, n);
	}
	for (int i = 0; i < 24; i++)
		drop(&e[i], other[i]);
	loop_deinit(&w.loop);
}

TEST(a_megabyte_is_read_per_turn_and_sockets_without_a_turn_come_first)
{
	static uint8_t block[LOOP_READ_BYTES - 1]; /* a byte less than is read: no socket is known to have more */
	struct world w;
	struct end e[150];
	int other[150];
	size_t total = 0;
	unsigned read = 0;

	begin(&w, 0);
	for (int i = 0; i < 150; i++) {
		other[i] = pair(&w, &e[i]);
		CHECK_EQ(write(other[i], block, sizeof block), sizeof block);
	}
	turn(&w);
	for (int i = 0; i < 150; i++) {
		total += e[i].len;
		read += e[i].calls > 0;
		CHECK(e[i].calls <= 1);
	}
	CHECK(total >= LOOP_TURN_BYTES && total < LOOP_TURN_BYTES + sizeof block);
	CHECK_EQ(read, 129);
	CHECK(loop_unfinished(&w.loop));
	turn(&w);
	for (int i = 0; i < 150; i++) /* sockets without a turn came first */
		CHECK_EQ(e[i].len, sizeof block);
	for (int i = 0; i < 150; i++)
		drop(&e[i], other[i]);
	loop_deinit(&w.loop);
}

TEST(a_bulk_stream_is_not_read_while_its_owner_forbids_it)
{
	static uint8_t block[LOOP_READ_BYTES];
	struct world w;
	struct end e;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	CHECK_EQ(write(other, block, sizeof block), sizeof block);
	turn(&w);
	CHECK_EQ(e.calls, 1);
	CHECK_EQ(write(other, block, 5), 5);
	w.loop.no_bulk = true;
	turn(&w);
	turn(&w);
	CHECK_EQ(e.calls, 1);
	CHECK(loop_unfinished(&w.loop));
	w.loop.no_bulk = false;
	turn(&w);
	CHECK_EQ(e.len, sizeof block + 5);
	drop(&e, other);
	loop_deinit(&w.loop);
}

TEST(a_socket_with_little_input_is_read_before_sockets_that_fill_the_buffer)
{
	static uint8_t block[65536];
	struct end loud[24], quiet;
	int other[24], fd;
	struct world w;

	begin(&w, 0);
	fd = pair(&w, &quiet);
	for (int i = 0; i < 24; i++) {
		other[i] = pair(&w, &loud[i]);
		while (send(other[i], block, sizeof block, MSG_DONTWAIT) > 0)
			;
	}
	turn(&w);
	turn(&w);
	for (int round = 0; round < 30; round++) {
		size_t before = 0, after = 0;

		for (int i = 0; i < 24; i++) {
			before += loud[i].len;
			while (send(other[i], block, sizeof block, MSG_DONTWAIT) > 0)
				;
		}
		put(fd, "me too");
		turn(&w);
		CHECK_EQ(quiet.calls, (size_t)round + 1); /* in this very turn, whichever sockets were before it */
		for (int i = 0; i < 24; i++)
			after += loud[i].len;
		CHECK(after - before <= LOOP_BULK_BYTES + sizeof block);
	}
	/* And each flooding socket has its turn. */
	for (int i = 0; i < 24; i++)
		CHECK(loud[i].calls >= 2);
	for (int i = 0; i < 24; i++)
		drop(&loud[i], other[i]);
	drop(&quiet, fd);
	loop_deinit(&w.loop);
}

TEST(while_pressed_nothing_is_read_and_afterwards_everything)
{
	struct world w;
	struct end e;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	put(other, "waits");
	w.pressed = true;
	turn(&w);
	turn(&w);
	CHECK_EQ(e.len, 0);
	CHECK_EQ(recvs(&w), 0);
	CHECK(loop_unfinished(&w.loop));
	w.pressed = false;
	turn(&w);
	CHECK_EQ(e.len, 5);
	drop(&e, other);
	loop_deinit(&w.loop);
}

/* Shows: threat 130 */
TEST(a_paused_stream_is_not_read_and_makes_no_loop_spin)
{
	struct world w;
	struct end e;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	e.pause_on_data = true;
	put(other, "one");
	turn(&w);
	CHECK_EQ(e.len, 3);
	put(other, "two");
	turn(&w);
	turn(&w);
	CHECK_EQ(e.len, 3);
	CHECK_EQ(recvs(&w), 1);
	CHECK(!loop_unfinished(&w.loop));
	stream_resume(&e.s); /* no new event will come for input that came while paused */
	CHECK(loop_unfinished(&w.loop));
	turn(&w);
	CHECK_EQ(e.len, 6);
	stream_resume(&e.s);
	turn(&w);
	CHECK(!loop_unfinished(&w.loop));
	CHECK_EQ(recvs(&w), 2);
	drop(&e, other);
	loop_deinit(&w.loop);
}

TEST(the_end_comes_behind_the_last_bytes)
{
	struct world w;
	struct end e;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	put(other, "last words");
	close(other);
	turn(&w);
	CHECK_EQ(e.len, 10);
	CHECK_EQ(e.ends, 0);
	CHECK(loop_unfinished(&w.loop));
	turn(&w);
	CHECK_EQ(e.ends, 1);
	CHECK_EQ(e.error, 0);
	turn(&w);
	turn(&w);
	CHECK_EQ(e.ends, 1);
	CHECK(!loop_unfinished(&w.loop));
	drop(&e, -1);
	loop_deinit(&w.loop);
}

/* Shows: threat 130 */
TEST(the_end_of_a_paused_stream_waits_for_the_resume)
{
	struct world w;
	struct end e;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	stream_pause(&e.s);
	put(other, "x");
	shutdown(other, SHUT_WR);
	turn(&w);
	turn(&w);
	CHECK_EQ(e.len + e.ends, 0);
	CHECK(!loop_unfinished(&w.loop));
	stream_resume(&e.s);
	turn(&w);
	turn(&w);
	CHECK_EQ(e.len, 1);
	CHECK_EQ(e.ends, 1);
	drop(&e, other);
	loop_deinit(&w.loop);
}

TEST(a_peer_that_has_shut_its_side_can_still_be_sent_to)
{
	struct iovec piece = { (void *)(uintptr_t) "answer", 6 };
	struct world w;
	struct end e;
	char in[16];
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	put(other, "question");
	shutdown(other, SHUT_WR);
	turn(&w);
	turn(&w);
	CHECK_EQ(e.ends, 1);
	CHECK_EQ(stream_send(&e.s, &piece, 1), 6);
	stream_shutdown(&e.s);
	CHECK_EQ(read(other, in, sizeof in), 6);
	CHECK_EQ(read(other, in, sizeof in), 0);
	drop(&e, other);
	loop_deinit(&w.loop);
}

/* Shows: threat 130 */
TEST(a_reset_is_an_end_with_its_error)
{
	struct linger hard = { 1, 0 };
	struct listen_options o = { .backlog = 8 };
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	struct world w;
	struct end e = { 0 };
	uint16_t port;
	int lfd = addr_listen("127.0.0.1", 0, &o, &port), fd = socket(AF_INET, SOCK_STREAM, 0);

	begin(&w, 0);
	CHECK(lfd >= 0 && getsockname(lfd, (struct sockaddr *)&ss, &len) == 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&ss, len), 0);
	CHECK_EQ(stream_open(&w.loop, &e.s, accept4(lfd, NULL, NULL, SOCK_NONBLOCK)), 0);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(fd);
	CHECK_EQ(loop_wait(&w.loop, 1000), 0);
	loop_read(&w.loop);
	turn(&w);
	CHECK_EQ(e.ends, 1);
	CHECK_EQ(e.error, ECONNRESET);
	drop(&e, -1);
	close(lfd);
	loop_deinit(&w.loop);
}

/* Shows: threat 17, threat 125 */
TEST(streams_may_be_closed_in_the_middle_of_a_turn)
{
	struct world w;
	struct end e[3];
	int other[3];
	size_t total;

	begin(&w, 0);
	for (int i = 0; i < 3; i++) {
		other[i] = pair(&w, &e[i]);
		put(other[i], "x");
	}
	e[0].close_other = &e[2]; /* whichever comes first ends the other */
	e[2].close_other = &e[0];
	e[1].close_on_data = true;
	turn(&w);
	total = e[0].len + e[2].len;
	CHECK_EQ(total, 1);
	CHECK_EQ(e[1].len, 1);
	CHECK(!stream_is_open(&e[1].s));
	turn(&w);
	CHECK_EQ(e[0].len + e[2].len, 1);
	for (int i = 0; i < 3; i++)
		drop(&e[i], other[i]);
	loop_deinit(&w.loop);
}

TEST(a_closed_stream_is_silent_even_when_its_socket_lives_on)
{
	struct world w;
	struct end e;
	int other, copy;

	begin(&w, 0);
	other = pair(&w, &e);
	copy = dup(e.s.src.fd);
	stream_close(&e.s);
	put(other, "x");
	turn(&w);
	CHECK_EQ(w.loop.polled, 0);
	close(copy);
	drop(&e, other);
	loop_deinit(&w.loop);
}

TEST(a_detached_stream_continues_on_another_loop_with_its_unread_input)
{
	struct world a, b;
	struct end e, f = { 0 };
	int other;

	begin(&a, 0);
	begin(&b, 0);
	other = pair(&a, &e);
	stream_pause(&e.s);
	put(other, "luggage");
	turn(&a);
	CHECK_EQ(stream_open(&b.loop, &f.s, stream_detach(&e.s)), 0);
	turn(&a);
	turn(&b);
	CHECK_EQ(e.len, 0);
	CHECK_EQ(f.len, 7);
	drop(&f, other);
	loop_deinit(&a.loop);
	loop_deinit(&b.loop);
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

TEST(a_full_socket_reports_how_much_it_took_and_when_it_takes_more)
{
	static uint8_t block[65536];
	struct iovec piece = { block, sizeof block };
	struct world w;
	struct end e;
	size_t sent = 0, got = 0;
	ptrdiff_t n;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	turn(&w);
	while (!stream_blocked(&e.s)) {
		n = stream_send(&e.s, &piece, 1);
		if (!CHECK(n >= 0))
			break;
		sent += (size_t)n;
	}
	turn(&w);
	CHECK_EQ(e.writables, 0);
	for (ssize_t r; (r = read(other, block, sizeof block)) > 0;)
		got += (size_t)r;
	CHECK_EQ(got, sent);
	turn(&w);
	CHECK_EQ(e.writables, 1);
	CHECK(!stream_blocked(&e.s));
	turn(&w);
	CHECK_EQ(e.writables, 1); /* told once */
	drop(&e, other);
	loop_deinit(&w.loop);
}

TEST(a_successful_send_before_the_event_suppresses_the_event)
{
	static uint8_t block[65536];
	struct iovec piece = { block, sizeof block }, small = { block, 10 };
	struct world w;
	struct end e;
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	while (!stream_blocked(&e.s))
		CHECK(stream_send(&e.s, &piece, 1) >= 0);
	CHECK_EQ(stream_send(&e.s, &piece, 1), 0);
	while (read(other, block, sizeof block) > 0)
		;
	CHECK_EQ(stream_send(&e.s, &small, 1), 10);
	CHECK(!stream_blocked(&e.s));
	turn(&w);
	CHECK_EQ(e.writables, 0);
	drop(&e, other);
	loop_deinit(&w.loop);
}

/* Shows: threat 131 */
TEST(segments_are_sent_in_order_and_a_closed_peer_is_an_error)
{
	struct iovec piece[3] = { { (void *)(uintptr_t) "one ", 4 },
				  { (void *)(uintptr_t) "two ", 4 },
				  { (void *)(uintptr_t) "three", 5 } };
	struct world w;
	struct end e;
	char in[32];
	int other;

	begin(&w, 0);
	other = pair(&w, &e);
	CHECK_EQ(stream_send(&e.s, piece, 3), 13);
	CHECK_EQ(atomic_load(&w.loop.n_send), 1);
	CHECK_EQ(read(other, in, sizeof in), 13);
	CHECK(memcmp(in, "one two three", 13) == 0);
	close(other);
	CHECK(stream_send(&e.s, piece, 3) < 0);
	stream_close(&e.s);
	CHECK_EQ(stream_send(&e.s, piece, 3), -EPIPE);
	drop(&e, -1);
	loop_deinit(&w.loop);
}

TEST(chop_cuts_every_read_and_write_and_loses_nothing)
{
	struct iovec piece[2] = { { (void *)(uintptr_t) "abcdefg", 7 }, { (void *)(uintptr_t) "hij", 3 } };
	struct world w;
	struct end e;
	char in[32];
	int other;

	begin(&w, 3);
	other = pair(&w, &e);
	put(other, "0123456789");
	for (unsigned i = 1; i <= 4; i++) {
		turn(&w);
		CHECK_EQ(e.calls, i);
		CHECK_EQ(e.len, i < 4 ? 3 * i : 10);
	}
	CHECK_EQ(stream_send(&e.s, piece, 2), 3);
	CHECK(!stream_blocked(&e.s));
	CHECK_EQ(read(other, in, sizeof in), 3);
	CHECK_EQ(w.loop.received_bytes, 10);
	CHECK_EQ(w.loop.sent_bytes, 3);
	close(other);
	turn(&w);
	turn(&w);
	CHECK_EQ(e.ends, 1);
	drop(&e, -1);
	loop_deinit(&w.loop);
}

/* ---- waking and sleeping ----------------------------------------------------------------------------------------------- */

static void *wake_soon(void *arg)
{
	usleep(20000);
	loop_wake(arg);
	return NULL;
}

TEST(a_wake_from_another_thread_ends_the_wait_and_is_not_lost)
{
	struct world w;
	pthread_t t;

	begin(&w, 0);
	loop_wake(&w.loop);
	loop_wake(&w.loop);
	CHECK_EQ(loop_wait(&w.loop, 10000), 0); /* given before the wait */
	loop_read(&w.loop);
	CHECK_EQ(loop_wait(&w.loop, 0), 0);
	CHECK_EQ(w.loop.polled, 0); /* seen once */
	for (int i = 0; i < 5; i++) {
		pthread_create(&t, NULL, wake_soon, &w.loop);
		CHECK_EQ(loop_wait(&w.loop, 10000), 0);
		CHECK_EQ(w.loop.polled, 1);
		pthread_join(t, NULL);
	}
	loop_deinit(&w.loop);
}

static bool shows(struct loop *l, int timeout_ms)
{
	struct pollfd p = { .fd = loop_fd(l), .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

TEST(deadlines_and_wakes_show_on_the_one_descriptor)
{
	struct timespec now;
	struct world w = { 0 };
	uint64_t ns;

	CHECK_EQ(loop_init(&w.loop, &ops, true), 0);
	CHECK(!shows(&w.loop, 0));
	loop_wake(&w.loop);
	CHECK(shows(&w.loop, 0));
	turn(&w);
	CHECK(!shows(&w.loop, 0));
	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	loop_arm(&w.loop, ns + 30000000);
	CHECK(!shows(&w.loop, 0));
	CHECK(shows(&w.loop, 5000));
	turn(&w);
	CHECK(!shows(&w.loop, 0));
	loop_arm(&w.loop, 0);
	CHECK(shows(&w.loop, 0));
	loop_arm(&w.loop, UINT64_MAX);
	CHECK(!shows(&w.loop, 20));
	loop_deinit(&w.loop);
}

/* ---- accepting --------------------------------------------------------------------------------------------------------- */

static int dial(uint16_t port)
{
	struct sockaddr_storage ss = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint8_t raw[16] = { 0, 0, (uint8_t)(port >> 8), (uint8_t)port, 127, 0, 0, 1 };

	memcpy(&ss, raw, sizeof raw);
	ss.ss_family = AF_INET;
	CHECK_EQ(connect(fd, (struct sockaddr *)&ss, 16), 0);
	return fd;
}

/* Shows: threat 128 */
TEST(a_stopped_listener_accepts_no_client_and_loses_none)
{
	struct listen_options o = { .backlog = 16 };
	struct listener ln;
	struct world w;
	uint16_t port;
	int lfd = addr_listen("127.0.0.1", 0, &o, &port), fd[3];

	begin(&w, 0);
	CHECK_EQ(listener_open(&w.loop, &ln, lfd, 0), 0);
	fd[0] = dial(port);
	turn(&w);
	CHECK_EQ(w.naccepted, 1);
	listener_stop(&ln);
	listener_stop(&ln);
	fd[1] = dial(port);
	turn(&w);
	CHECK_EQ(w.naccepted, 1);
	CHECK_EQ(w.loop.polled, 0);
	listener_start(&ln);
	listener_start(&ln);
	turn(&w);
	CHECK_EQ(w.naccepted, 2);
	CHECK_EQ(w.accept_errors, 0);
	CHECK_EQ(listener_deadline(&ln), UINT64_MAX);
	listener_close(&ln);
	fd[2] = dial(port); /* the kernel still listens: the descriptor belongs to its caller */
	turn(&w);
	CHECK_EQ(w.naccepted, 2);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	for (unsigned i = 0; i < w.naccepted; i++)
		close(w.accepted[i]);
	close(lfd);
	loop_deinit(&w.loop);
}

/* Shows: threat 126, threat 128 */
TEST(without_descriptors_the_listener_pauses_and_resumes)
{
	struct listen_options o = { .backlog = 16 };
	struct listener ln;
	struct world w;
	uint16_t port;
	int lfd = addr_listen("127.0.0.1", 0, &o, &port), fd, again, n = 0, taken[256];
	struct rlimit before, few;
	uint64_t due;

	begin(&w, 0);
	CHECK_EQ(listener_open(&w.loop, &ln, lfd, 0), 0);
	fd = dial(port);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ 200, before.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (n < 256 && (taken[n] = fcntl(lfd, F_DUPFD_CLOEXEC, 0)) >= 0)
		n++;
	turn(&w);
	CHECK_EQ(w.naccepted, 0);
	CHECK_EQ(w.accept_errors, 1);
	CHECK_EQ(w.last_error, EMFILE);
	CHECK_EQ(listener_deadline(&ln), 0); /* wants to hear the time */
	listener_tick(&ln, 1000);
	due = listener_deadline(&ln);
	CHECK(due > 1000 && due <= 2000);
	turn(&w);
	CHECK_EQ(w.loop.polled, 0); /* no spinning meanwhile */
	for (int i = 0; i < 20; i++)
		close(taken[--n]);
	listener_tick(&ln, due);
	CHECK_EQ(listener_deadline(&ln), UINT64_MAX);
	again = dial(port); /* valgrind has thrown the first one away */
	turn(&w);
	CHECK(w.naccepted >= 1);
	for (unsigned i = 0; i < w.naccepted; i++)
		close(w.accepted[i]);
	close(again);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (n > 0)
		close(taken[--n]);
	close(fd);
	close(lfd);
	loop_deinit(&w.loop);
}

/* EEXIST here, for want of a way to ENOMEM; tests/faults has that. */
TEST(a_listener_that_cannot_resume_yet_tries_again)
{
	struct listen_options o = { .backlog = 16 };
	struct epoll_event ev = { .events = 0 };
	struct listener ln;
	struct world w;
	uint16_t port;
	int lfd = addr_listen("127.0.0.1", 0, &o, &port), fd;

	begin(&w, 0);
	CHECK_EQ(listener_open(&w.loop, &ln, lfd, 0), 0);
	for (int i = 0; i < 2; i++) { /* from the owner's stop, and from its own pause */
		listener_stop(&ln);
		CHECK_EQ(epoll_ctl(w.loop.epfd, EPOLL_CTL_ADD, lfd, &ev), 0);
		if (i)
			ln.resume_ms = 1;
		listener_start(&ln);
		listener_tick(&ln, 1000);
		CHECK(listener_deadline(&ln) != UINT64_MAX);
		CHECK_EQ(epoll_ctl(w.loop.epfd, EPOLL_CTL_DEL, lfd, &ev), 0);
		listener_tick(&ln, 5000);
		listener_tick(&ln, 10000);
		CHECK_EQ(listener_deadline(&ln), UINT64_MAX);
		fd = dial(port);
		turn(&w);
		CHECK_EQ(w.naccepted, i + 1);
		close(fd);
		close(w.accepted[i]);
	}
	close(lfd);
	loop_deinit(&w.loop);
}

/* Shows: threat 135 */
TEST(accepting_is_bounded_per_turn)
{
	struct listen_options o = { .backlog = 128 };
	struct listener ln;
	struct world w;
	uint16_t port;
	int lfd = addr_listen("127.0.0.1", 0, &o, &port), fd[100];

	begin(&w, 0);
	CHECK_EQ(listener_open(&w.loop, &ln, lfd, 0), 0);
	for (int i = 0; i < 100; i++)
		fd[i] = dial(port);
	for (unsigned n = 1; n <= 6; n++) {
		turn(&w);
		CHECK_EQ(w.naccepted, 16 * n);
	}
	turn(&w);
	CHECK_EQ(w.naccepted, 100);
	for (int i = 0; i < 100; i++) {
		close(fd[i]);
		close(w.accepted[i]);
	}
	close(lfd);
	loop_deinit(&w.loop);
}
