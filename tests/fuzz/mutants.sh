#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Plants one bug at a time in a copy of the product and expects the corpus of fuzz_connection to find it. Exit status 0 when
# every bug was found.
#
#   tests/fuzz/mutants.sh [TEXT]      only the rows that contain TEXT
#
# It prints a row per bug: the bug, its file, the first message of the replay. A line of the table: bug | file of src | sed
# expression. A bug in a header is compiled into every source file that includes the header. An expression that changes
# nothing is a failure too, so that the table follows the code.
set -u
cd "$(dirname "$0")/../.."
cc=${CC:-cc}
flags="-std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O1 -g -fno-strict-aliasing -fno-strict-overflow -fsanitize=address
	-include src/gateway/export.h -Iinclude -Itests/fuzz"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=0
missed=0

mutants()
{
	cat <<'END'
a frame without a mask is accepted|proto/ws.c|s/if (!(b \& MASKED))/if (false)/
a frame with a reserved bit is accepted|proto/ws.c|s/if ((b \& RSV) \&\&/if (false \&\&/
a long control frame is accepted|proto/ws.c|s/if (is_control(op) \&\& (b \& 0x7f) > WS_CONTROL_MAX)/if (false)/
a continuation frame without a message is accepted|proto/ws.c|s/if (op == WS_OP_CONT \&\& d->opcode == 0)/if (false)/; s/if (starts \&\& d->opcode != 0)/if (false)/
a length in a longer form than necessary is accepted|proto/ws.c|s/if (v < (n == 2 ? 126 : 65536))/if (false)/
text is not checked for UTF-8|proto/ws.c|s/if (d->opcode == WS_OP_TEXT \&\& !compressed) {/if (false) {/
a message may be longer than its limit|proto/ws.c|s/if (d->message_len > lim->max_message || h->len > lim->max_message - d->message_len)/if (false)/
a message is delivered although its frame breaks the protocol|proto/ws.c|0,/return fail(d, out, WS_CODE_PROTOCOL, why);/ s//(void)fail(d, out, WS_CODE_PROTOCOL, why);/
a message to a user is delivered twice|hub/publish.c|/^static uint32_t to_user/,/^}/ s/taken += session_take(h, session_of_user(n), m, true);/taken += session_take(h, session_of_user(n), m, true) + session_take(h, session_of_user(n), m, true);/
the second device of a user gets no message|hub/publish.c|/^static uint32_t to_user/,/^}/ s/for (struct list \*n = u->sessions.next; n != \&u->sessions; n = n->next)/for (struct list *n = u->sessions.next; n != \&u->sessions; n = \&u->sessions)/
the sender of a ticket message gets a copy|hub/publish.c|s/if (!bytes_eq(user_name(session_of_ticket(n)->user), sender))/if (true)/
a message to one user goes to all users|hub/publish.c|s/return u ? to_user(h, u, m) : 0;/return to_all(h, m);/
the newest message is sent first|hub/outq.c|/^int outq_push(struct/,/^}/ s/	if (!q->chunked \&\& q->count < OUTQ_INLINE) {/	if (q->count == 1 \&\& !q->offset) return outq_push_front(q, p, m);\n&/
the queue keeps its reference to a sent message|hub/outq.c|/^void outq_pop/,/^}/ s/drop(q, take_first(q, p));/msg_ref(q->chunked ? q->head->ref[q->head->first] : q->inl[0]), drop(q, take_first(q, p));/
a dropped message causes no gap notice|hub/turn.c|s/s->gap++;/;/
a session whose socket has room again is not flushed|hub/turn.c|/^void hub_writable/,/^}/ s/place_ready(h, s);/;/
a closing session still counts|hub/session.c|s/counter_sub(&h->counters.sessions\[s->transport\], 1);/;/
a sent message is counted twice|hub/session.c|s/counter_add(&h->counters.sent, 1);/counter_add(\&h->counters.sent, 2);/
a kick closes a session without a close code|hub/publish.c|/^static uint32_t kick_here/,/^}/ s/hub_close(h, s, code, reason, false);/hub_close(h, s, 0, "", true);/
the close frame is sent twice|transport/ws.c|/^static void queue_close/,/^}/ s/	\/\* The answer to a close/	buf_add(\&x->ctl, bytes_of(frame, ws_close(frame, code, BYTES(""))));\n&/
a silent client is ended without a close frame|transport/ws.c|s/conn_close(c, END_HEARTBEAT, true);/conn_end(c, end_close(END_HEARTBEAT), false);/
an event stream ends without its last event|transport/sse.c|s/if (buf_reserve(&x->ctl, sse_size/if (false \&\& buf_reserve(\&x->ctl, sse_size/
control bytes are sent inside a message|conn/flush.c|s/if (n \&\& s->q.offset) {/if (false) {/
a byte of a message that was sent in part is skipped|conn/flush.c|s/offset += (uint32_t)take;/offset += (uint32_t)take + 1;/
an event contains line breaks|proto/sse.c|s/n = put(out, n, BYTES("data: "));/n = put(out, n, BYTES("data:\\n"));/
a frame has a longer length than necessary|proto/ws.h|s/return len < 126 ? 2 : len < 65536 ? 4 : 10;/return len < 120 ? 2 : len < 65536 ? 4 : 10;/
an answer has a wrong Content-Length|proto/http1_response.c|s/r->body.len);/r->body.len + 1);/
100 Continue is sent for each part of a body|http/http.c|/^static bool step_body/,/^}/ s/http_move(h, HTTP_BODY);/;/
the second of two requests in one read is lost|http/http.c|s/buf_add(&h->next, bytes_of(h->in.at + h->head.size, h->in.len - h->head.size));/;/
a request behind a full socket is not served|http/http.c|/^static void on_writable/,/^}/ s/http_run(c); \/\* the requests/; \/\* the requests/
answers pile up|http/http.c|s/if (h->out.len < OUT_HIGH)/if (true)/
a refused upgrade keeps its connection|http/http.c|/^static bool may_keep/,/^}/ s/ \&\& !h->head.upgrade//
an answer to a call is not sent when its outcome comes late|http/send.c|/^static void outcome/,/^}/ s/http_run(c);/;/
an answer to a call is not sent when its hook answers late|http/send.c|/^static void go_on/,/^}/ s/http_run(c);/;/
a handshake is not refused when authenticate_user answers late|http/open.c|/^static void auth_answered/,/^}/ s/http_run(c);/;/
a handshake is not refused when on_client_connect answers late|http/admit.c|/^static void answered/,/^}/ s/http_run(c);/;/
the online list is not sent|http/online.c|/^static void online_done/,/^}/ s/http_run(c);/;/
a client that left before its hook answered is not reported as disconnected|http/admit.c|/^static void answered/,/^}/ s/connect_too_late(sh, p);/mem_free(p->target);/
an ended connection still counts|conn/conn.c|/^void conn_settle_ended/,/^}/ s/atomic_fetch_sub(&sh->set->shared.connections, 1);/;/
an ended connection is not settled|conn/conn.h|/^static inline void conn_settle(/,/^}/ s/if (!list_empty(&sh->ended))/if (false)/
an ended connection keeps its session|conn/conn.c|/^void conn_settle_ended/,/^}/ s/conn_leave(c);/;/
an ended connection is still read|conn/conn.c|/^void conn_end/,/^}/ s/stream_pause(&c->stream);/;/
a timer outlives its connection|conn/conn.c|/^static void bury/,/^}/ s/timers_cancel(&sh->timers, &c->timer);/;/
a connection that waits for its turn is on no list|conn/conn.c|/^static bool begin_waiting/,/^}/ s/list_push(list, &c->stream.link);/;/
a deferred connection is not counted|conn/conn.c|s/conn_shard(c)->ndeferred\(++\| -= c->deferred\);/;/
a connection that moves is not freed on its first worker|conn/conn.c|/^int conn_detach/,/^}/ s/bury(conn_shard(c), c);/;/
a connection that moves frees its request twice|conn/conn.c|/^int conn_detach/,/^}/ s/c->at.http = NULL;/;/
a socket is not closed|net/loop.c|/^void stream_close/,/^}/ s/	close(s->src.fd);/	;/
a resumed stream is not read|net/loop.c|/^void stream_resume/,/^}/ s/make_ready(s);/;/
an interrupted read ends the connection|net/loop.c|/^static size_t read_once/,/^}/ s/if (n < 0 \&\& errno == EINTR) {/if (false) {/
a hang-up is not noticed|net/loop.c|s/if (events \& (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))/if (events \& EPOLLIN \&\& !(events \& EPOLLRDHUP))/
a worker never sleeps|worker/worker.c|/^static int wait_ms/,/^}/ s/if (has_work(w))/if (true)/
a worker sleeps although it has mail|worker/mailbox.c|s/return atomic_exchange(&m->shared.sleeping, false);/return false;/; s/if (mailbox_empty(m, peers))/if (true)/
on_client_disconnect is called for a client that was refused|conn/conn.c|s/if (c->accepted \&\& hooks->on_client_disconnect) {/if (hooks->on_client_disconnect) {/
input behind a pending hook does not wait|transport/ws.c|/^static bool take_event/,/^}/ { s/conn_pause(c);/;/; s/c->held_input = true;/;/ }
input behind a pending hook waits for ever|transport/ws.c|/^static void go_on/,/^}/ s/		resume(c);/		;/
the parsed envelope is not moved with its text|submit/text.c|s/envelope_rebase(e, (const uint8_t \*)text);/;/
a message that a hook had is not freed|submit/submit.c|/^static void answered/,/^}/ s/		submission_deinit(sub);/		;/
a message of the program overtakes the one that a hook has|submit/program.c|/^static void run/,/^}/ s/if (first \&\& !sh->over)/if (false)/
messages behind a pending message of the program are lost|submit/program.c|/^static void go_on/,/^}/ s/while ((n = list_pop(&behind))) {/while (false \&\& (n = list_pop(\&behind))) {/
the program is not told an outcome|submit/program.c|/^static void outcome/,/^}/ s/tell(job.done, job.user, 0, BYTES("delivered"), .*/;/
an outcome goes to another connection|transport/ws.c|/^static void outcome/,/^}/ s/struct conn \*c = conn_get(sh, token);/uint32_t pos = 0; struct conn *c = token ? conn_next(sh, \&pos) : NULL;/
a head may be longer than its limit|proto/http1.c|s/lim->max_head/(lim->max_head * 1000)/g
the mail of stopped workers is lost|gateway/gateway.c|/^static void tear_down/,/^}/ s/bury(gw);/;/
a hook is called after the gateway has ended|submit/program.c|/^static bool start/,/^}/ s/if (sh->over) {/if (false) {/
RSV1 is accepted although no extension was agreed on|proto/ws.c|s/starts \&\& (d->bits \& BIT_DEFLATE)))/starts))/
RSV1 on a continuation frame is accepted|proto/ws.c|s/== WS_RSV1 \&\& starts \&\& (d->bits/== WS_RSV1 \&\& op <= 2 \&\& (d->bits/
RSV1 on a control frame is accepted|proto/ws.c|s/== WS_RSV1 \&\& starts \&\& (d->bits/== WS_RSV1 \&\& (starts || op > 8) \&\& (d->bits/
RSV2 is accepted where compression was agreed on|proto/ws.c|s/if ((b \& RSV) \&\& !((b \& RSV) == WS_RSV1/if ((b \& RSV) \&\& !((b \& WS_RSV1)/
a deflated message is sent without RSV1|conn/deflate.c|s/len, WS_RSV1);/len, 0);/
a message that deflate does not shorten is sent deflated|proto/ws_deflate.c|s/ \&\& \*len < in.len / /
the server keeps its context although none was agreed on|proto/ws_deflate.c|s/if (!done || !takeover)/if (!done)/
the context of a client is kept although none was agreed on|proto/ws_deflate.c|s/if (r || !takeover)/if (r)/
the context of a client is forgotten although it was agreed on|proto/ws_deflate.c|s/if (r || !takeover)/if (true)/
the context is kept behind a message that was sent plain|proto/ws_deflate.c|s/if (!done || !takeover)/if (!takeover)/
a message is deflated with a larger window than was agreed on|conn/deflate.c|s/ws_deflater_new(c->deflate.server_bits,/ws_deflater_new(15,/
a message to several readers is deflated with a larger window than was agreed on|conn/deflate.c|s/ws_deflater_new(bits,/ws_deflater_new(15,/
a message deflated for one window is sent to all|conn/deflate.c|s/msg_made(m, bits)/msg_made(m, 15)/g; s/msg_make(m, bits,/msg_make(m, 15,/
the window of a client is smaller than was agreed on|conn/deflate.c|s/x->in = ws_inflater_new(c->deflate.client_bits);/x->in = ws_inflater_new(8);/
the answer allows contexts that the server does not hold|proto/ws_deflate.c|s/d->client_takeover ? "" : "; client_no_context_takeover"/""/
the answer does not say that the server keeps no context|proto/ws_deflate.c|s/d->server_takeover ? "" : "; server_no_context_takeover"/d->server_takeover ? "; server_no_context_takeover" : ""/
contexts are agreed on although the configuration forbids them|proto/ws_deflate.c|s/p->takeover \&\& !(o->seen \& SERVER_NO_TAKEOVER)/!(o->seen \& SERVER_NO_TAKEOVER)/
the answer names a window that the client did not offer|proto/ws_deflate.c|s/if (o->client_bits || d->client_bits < BITS_MAX)/if (true)/
the window that the client allows is ignored|proto/ws_deflate.c|s/smaller(o->server_bits, p->window_bits)/p->window_bits/
the four bytes of the flush are sent|proto/ws_deflate.c|s/return done ? 0 : WS_DEFLATE_PLAIN;/*len += done ? 4 : 0;\n\t&/
a message that is cut off is accepted|proto/ws_deflate.c|s/if (r == 0 \&\& (ended || !at_boundary(&i->z)))/if (false)/
a message that inflates to more than its limit is accepted|conn/deflate.c|s/uint64_t max = sh->set->opt.max_message_bytes, limit/uint64_t max = 1u << 30, limit/
inflated text is not checked for UTF-8|conn/deflate.c|s/return text \&\& !utf8_valid.*/return text \&\& !out ? END_NOT_UTF8 : END_NONE;/
a message that inflates to too much gets the close code of broken data|conn/deflate.c|s/return END_TOO_BIG;/return END_BAD_DEFLATE;/
a refused message is left out of the context|transport/ws.c|s/if (!allowed \&\& !c->deflate.client_takeover)/if (!allowed)/
a message that waits to be inflated is lost|transport/ws.c|/^static bool inflate_kept/,/^}/ s/if (listening(c))$/if (false)/
input overtakes a message that waits to be inflated|transport/ws.c|s/bool go_on = r != DEFLATE_LATER;/bool go_on = true;/
messages below compression_min_bytes are deflated|conn/deflate.c|s/return m->len \&\& m->len >= conn_shard(c)->set->opt.deflate.min_bytes;/return m->len > 0;/
no message is deflated|conn/deflate.c|s/return m->len \&\& m->len >= conn_shard(c)->set->opt.deflate.min_bytes;/return false;/
the reserved memory of contexts is never released|conn/deflate.c|s/atomic_fetch_sub(&conn_shard(c)->set->shared.context_bytes, .*/;/
a context outlives its connection|conn/deflate.c|s/		ws_inflater_free(c->contexts->in);/		;/
ciphertext that the socket does not take is lost|net/tls.c|s/return n < 0 ? (int)n : add_pending(t, b->out + n, len - (size_t)n);/return n < 0 ? (int)n : 0;/
the rest of the waiting ciphertext is forgotten|net/tls.c|/^static bool flush/,/^}/ s/if (t->pending_sent < t->pending_len)/if (false)/
plain text that comes while ciphertext waits is lost|net/tls.c|s/while (!t->error \&\& flush(t)) {/while (!t->error \&\& (flush(t) || true)) {/
close_notify is not sent|net/tls.c|s/(void)SSL_shutdown(t->ssl);.*/;/
the end of the connection is sent before waiting ciphertext|net/tls.c|/^static void finish/,/^}/ s/if (!t->pending)/if (true)/
alerts are not sent|net/tls.c|s/n = put(t, b->out, len); .*/n = t->error ? (ptrdiff_t)len : put(t, b->out, len);/
close_notify of the client is ignored|net/tls.c|/^static void read_failure/,/^}/ s/t->ended = true;/;/
a fault of TLS is ignored|net/tls.c|/^static int fail/,/^}/ s/t->ended = true;/;/
only the first record of a read is decrypted|net/tls.c|s/} while (r > 0 \&\& got < sizeof b->plain);/} while (false);/
an end that comes while the stream is paused is lost|net/tls.c|/^void tls_feed/,/^}/ s/s->src.flags |= STREAM_READABLE;.*/;/
an end that was not reported is lost when the connection moves|net/tls.c|/^int stream_give_tls/,/^}/ s/if (t->ended)/if (false)/
TLS is lost when a connection moves|conn/conn.c|/^int conn_detach/,/^}/ s/\*tls = stream_take_tls(&c->stream);/*tls = NULL;/
a plain request is served where TLS is required|http/http.c|s/return !h->only_tls \&\& (!conn_shard(c)->set->tls.no_plain || !h->peer.len);/return true;/
TLS is accepted on a port for plain text|http/http.c|s/if (h->next.at\[0\] == TLS_FIRST_BYTE \&\& .*/if (h->next.at[0] == TLS_FIRST_BYTE) {/
plain bytes before the handshake are taken for decrypted bytes|http/http.c|/^static void begin_tls/,/^}/ s/buf_clear(&h->next);/;/
a TLS version below the minimum is accepted|net/tls.c|s/o->only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION/TLS1_2_VERSION/
HTTP/2 is agreed on|net/tls.c|/^static int on_alpn/,/^}/ s/return SSL_TLSEXT_ERR_ALERT_FATAL;/return SSL_TLSEXT_ERR_NOACK;/
no session ticket is accepted|net/tls.c|/^static int on_ticket/,/^}/ s/if (!found)/if (!found || !enc)/
session tickets never expire|net/tls.c|s/if (now_ms >= server->shared.due_ms) {/if (!server->shared.due_ms) {/
a session ticket expires after one rotation|net/tls.c|s/		key\[1\] = key\[0\];/		key[1].live = false;/
the previous key stays valid when no client comes for long|net/tls.c|s/if (late >= server->rotation_ms)/if (false)/
a reload changes no certificate|net/tls.c|s/server->shared.set = set;/if (former) former = set; else server->shared.set = set;/
a reload frees the certificates in use|net/tls.c|/^static struct tls_set \*current/,/^}/ s/atomic_fetch_add(&set->shared.refs, 1);/atomic_fetch_add(\&set->shared.refs, 0);/
certificates are not freed behind a reload|net/tls.c|/^int tls_server_load/,/^}/ s/set_unref(former);/;/
a reload that fails removes the certificates|net/tls.c|/^int tls_server_load/,/^}/ s/		set_unref(set);/		set_unref(set), server->shared.set = NULL;/
a handshake has no time limit|http/http.c|/^static bool step_tls/,/^}/ s/			begin_tls(c);/			begin_tls(c), timers_cancel(\&conn_shard(c)->timers, \&c->timer);/
the end of a connection leaks its TLS|net/tls.c|/^void tls_close/,/^}/ s/tls_free(t);/;/
a handshake continues after the server has ended the connection|net/tls.c|s/t->ended = true; \/\* a handshake that continues .*/;/
END
}

compile() # source object
{
	# shellcheck disable=SC2086
	$cc $flags -I"$work/src" -MMD -c "$1" -o "$2"
}

compile_all() # files of src
{
	local f

	for f in "$@"; do compile "$work/src/$f" "$(object "$f")" || return 1; done
}

link() # program
{
	rm -f "$work/product.a"
	ar rcs "$work/product.a" "$work"/obj/*.o && tests/fuzz/connection/link.sh ld "$work/product.o" "$work/product.a" &&
		$cc -fsanitize=address "$work"/own/*.o "$work/product.o" -lyaml -lssl -lcrypto -lz -lpthread -o "$1"
}

object() # file of src
{
	echo "$work/obj/$(echo "${1%.c}" | tr / _).o"
}

# The source files to compile again when this file changes.
sources() # file of src
{
	local f o

	[ "${1%.h}" != "$1" ] || { echo "$1" && return; }
	for f in $files; do
		o=$(object "$f")
		! grep -qF "$work/src/$1" "${o%.o}.d" || echo "$f"
	done
}

# The first message of the replay; "-" when it found nothing.
verdict()
{
	timeout 120 "$work/mutant" tests/fuzz/corpus/connection > "$work/out" 2>&1
	[ $? -eq 124 ] && echo "no end" && return
	grep -a -m1 -oE '^wrong: .*|^kernel: .*|AddressSanitizer: [a-z-]*|LeakSanitizer|Assertion .* failed|failed \(status 0xe\)' "$work/out" ||
		{ grep -aq '^failed' "$work/out" && echo "crash"; } || echo "-"
}

mkdir -p "$work/obj" "$work/own"
cp -r src "$work/src"
files=$(cd src && find . -name '*.c' -printf '%P\n' | sort)
python3 tools/embed.py "$work/assets.c" "$work/assets.d" "$PWD" || exit 1
# shellcheck disable=SC2086
compile_all $files || exit 1
compile "$work/assets.c" "$work/obj/assets.o" || exit 1
for f in tests/fuzz/fuzz_connection.c tests/fuzz/replay_main.c tests/fuzz/connection/*.c; do
	compile "$f" "$work/own/$(basename "$f" .c).o" || exit 1
done
link "$work/mutant" || exit 1
[ "$(verdict)" = - ] || { echo "the product as it stands fails"; cat "$work/out"; exit 1; }

while IFS= read -r entry; do
	[ "${entry#*"${1:-}"}" = "$entry" ] && [ -n "${1:-}" ] && continue
	name=${entry%%|*}
	rest=${entry#*|}
	file=${rest%%|*}
	edit=${rest#*|}
	changed=$(sources "$file")
	sed "$edit" "src/$file" > "$work/src/$file"
	said=-
	# shellcheck disable=SC2086
	if cmp -s "src/$file" "$work/src/$file"; then
		echo "$name: the expression changes nothing"
	elif ! compile_all $changed 2> "$work/out" || ! link "$work/mutant"; then
		echo "$name: does not compile"
		cat "$work/out"
	else
		said=$(verdict)
	fi
	if [ "$said" = - ]; then
		missed=$((missed + 1))
		echo "| $name | $file | NOT FOUND |"
	else
		found=$((found + 1))
		echo "| $name | $file | ${said#wrong: } |"
	fi
	cp "src/$file" "$work/src/$file"
	# shellcheck disable=SC2086
	compile_all $changed || exit 1
done < <(mutants)
echo "$found passed, $missed failed"
[ "$missed" -eq 0 ]
