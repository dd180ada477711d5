/* SPDX-License-Identifier: Apache-2.0 */
/* send: the only code that writes to a socket; TLS is above it. */
#include <errno.h>
#include <sys/socket.h>
#include "base/counter.h"
#include "net/loop.h"

static ptrdiff_t send_now(struct stream *s, const struct iovec *segment, int n, size_t want)
{
	struct msghdr mh = { .msg_iov = (struct iovec *)(uintptr_t)segment, .msg_iovlen = (size_t)n };
	struct iovec chopped;

	if (s->loop->chop && want > s->loop->chop) {
		chopped = (struct iovec){ segment[0].iov_base,
					  segment[0].iov_len < s->loop->chop ? segment[0].iov_len : s->loop->chop };
		mh.msg_iov = &chopped;
		mh.msg_iovlen = 1;
	}
	counter_add(&s->loop->n_send, 1);
	if (mh.msg_iovlen == 1)
		return send(s->src.fd, mh.msg_iov->iov_base, mh.msg_iov->iov_len, MSG_NOSIGNAL);
	return sendmsg(s->src.fd, &mh, MSG_NOSIGNAL);
}

ptrdiff_t stream_send_raw(struct stream *s, const struct iovec *segment, int n)
{
	size_t want = 0;
	ptrdiff_t sent;

	for (int i = 0; i < n; i++)
		want += segment[i].iov_len;
	if (s->src.fd < 0)
		return -EPIPE;
	do
		sent = send_now(s, segment, n, want);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		return -errno;
	if (sent < 0)
		sent = 0;
	if (sent > 0) {
		s->src.flags |= STREAM_MOVED;
		counter_add(&s->loop->sent_bytes, (uint64_t)sent);
	}
	/* When the test mode has cut the send, the socket is not full. */
	if ((size_t)sent < want && !(s->loop->chop && sent > 0))
		s->src.flags |= STREAM_BLOCKED;
	else
		s->src.flags &= (uint8_t)~STREAM_BLOCKED; /* sent before EPOLLOUT came: ignore that event then */
	return sent;
}
