#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Plants one bug at a time in a copy of the product and expects the corpus of fuzz_connection to find it. Exit status 0 when
# every bug was found.
#
#   tests/fuzz/mutants.sh [TEXT]      only those whose row holds TEXT
#
# It prints a row per bug: its name, the file, the first message of the replay. In a header only conn.c and ws.c see the
# bug. A line of the table: name | file of src | sed expression. An expression that changes nothing is a failure too, so
# that the table follows the code.
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
a frame without a mask is taken|proto/ws.c|s/if (!(b \& MASKED))/if (false)/
a reserved bit is taken|proto/ws.c|s/if ((b \& RSV) \&\&/if (false \&\&/
a long control frame is taken|proto/ws.c|s/if (is_control(op) \&\& (b \& 0x7f) > WS_CONTROL_MAX)/if (false)/
a continuation of nothing is taken|proto/ws.c|s/if (op == WS_OP_CONT \&\& d->opcode == 0)/if (false)/; s/if (starts \&\& d->opcode != 0)/if (false)/
a length in its long form is taken|proto/ws.c|s/if (v < (n == 2 ? 126 : 65536))/if (false)/
text is not checked for UTF-8|proto/ws.c|s/if (d->opcode == WS_OP_TEXT \&\& !compressed) {/if (false) {/
a message may be too long|proto/ws.c|s/if (d->message_len > lim->max_message || h->len > lim->max_message - d->message_len)/if (false)/
the error is told and the message delivered all the same|proto/ws.c|0,/return fail(d, out, WS_CODE_PROTOCOL, why);/ s//(void)fail(d, out, WS_CODE_PROTOCOL, why);/
the last piece of a message goes twice|hub/publish.c|/^static uint32_t to_user/,/^}/ s/taken += session_take(h, session_of_user(n), m, true);/taken += session_take(h, session_of_user(n), m, true) + session_take(h, session_of_user(n), m, true);/
a user's second device gets nothing|hub/publish.c|/^static uint32_t to_user/,/^}/ s/for (struct list \*n = u->sessions.next; n != \&u->sessions; n = n->next)/for (struct list *n = u->sessions.next; n != \&u->sessions; n = \&u->sessions)/
the sender of a ticket message gets a copy|hub/publish.c|s/if (!bytes_eq(user_name(session_of_ticket(n)->user), sender))/if (true)/
a message goes to all users|hub/publish.c|s/return u ? to_user(h, u, m) : 0;/return to_all(h, m);/
the newest message comes first|hub/outq.c|/^int outq_push(struct/,/^}/ s/	if (!q->chunked \&\& q->count < OUTQ_INLINE) {/	if (q->count == 1 \&\& !q->offset) return outq_push_front(q, p, m);\n&/
a reference is not given back|hub/outq.c|/^void outq_pop/,/^}/ s/drop(q, take_first(q, p));/msg_ref(q->chunked ? q->head->ref[q->head->first] : q->inl[0]), drop(q, take_first(q, p));/
the gap is not told|hub/turn.c|s/s->gap++;/;/
a socket that takes bytes again is forgotten|hub/turn.c|/^void hub_writable/,/^}/ s/turn_ready(h, s);/;/
a session that closes still counts|hub/session.c|s/count_sub(&h->counters.sessions\[s->transport\], 1);/;/
a message is counted twice|hub/session.c|s/count_add(&h->counters.sent, 1);/count_add(\&h->counters.sent, 2);/
a kick closes without a word|hub/publish.c|/^static uint32_t kick_here/,/^}/ s/hub_close(h, s, code, reason, false);/hub_close(h, s, 0, "", true);/
the close frame goes twice|conn/conn_ws.c|/^void ws_queue_close/,/^}/ s/	\/\* The answer to a close/	buf_add(\&x->ctl, bytes_of(frame, ws_close(frame, code, BYTES(""))));\n&/
silence ends a client without a word|transport/ws.c|s/conn_close(c, END_HEARTBEAT, true);/conn_end(c, end_close(END_HEARTBEAT), false);/
a stream ends without its last event|conn/conn_sse.c|s/if (buf_reserve(&x->ctl, sse_size/if (false \&\& buf_reserve(\&x->ctl, sse_size/
control frames cut into messages|conn/conn.c|s/if (n \&\& s->q.offset) {/if (false) {/
the sent part of a message is forgotten|conn/conn.c|s/offset += (uint32_t)take;/offset += (uint32_t)take + 1;/
an event holds its line breaks|proto/sse.c|s/n = put(out, n, BYTES("data: "));/n = put(out, n, BYTES("data:\\n"));/
a frame has a longer length than it must|proto/ws.h|s/return len < 126 ? 2 : len < 65536 ? 4 : 10;/return len < 120 ? 2 : len < 65536 ? 4 : 10;/
an answer names a wrong length|proto/http1_response.c|s/r->body.len);/r->body.len + 1);/
100 Continue is said for ever|conn/conn_http.c|s/h->continued = true;/;/
the second of two requests in one piece is lost|conn/conn_http.c|s/buf_add(&h->next, bytes_of(h->in.at + h->head.size, h->in.len - h->head.size));/;/
a request behind a full socket is forgotten|conn/conn_http.c|/^void http_on_writable/,/^}/ s/run(c); \/\* what/; \/\* what/
answers pile up|conn/conn_http.c|s/if (h->out.len < OUT_HIGH)/if (true)/
a refused upgrade keeps its connection|conn/conn_http.c|s/h->keep_alive = may_keep(&h->head);/h->keep_alive = true;/
a connection is not counted off|conn/conn.c|/^void conn_kill/,/^}/ s/atomic_fetch_sub(&sh->set->shared.connections, 1);/;/
a timer outlives its connection|conn/conn.c|/^void conn_kill/,/^}/ s/timers_cancel(&sh->timers, &c->timer);/;/
a socket is not closed|net/loop.c|/^void stream_close/,/^}/ s/	close(s->src.fd);/	;/
a stream that was paused is not read again|net/loop.c|/^void stream_resume/,/^}/ s/make_ready(s);/;/
an interrupted read is taken for the end of what is there|net/loop.c|/^static size_t read_once/,/^}/ s/make_ready(s);\n\t\treturn 0;/return 0;/; s/if (n < 0 \&\& errno == EINTR) {/if (false) {/
a hang-up is not seen|net/loop.c|s/if (events \& (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))/if (events \& EPOLLIN \&\& !(events \& EPOLLRDHUP))/
a worker never sleeps|worker/worker.c|/^static int wait_ms/,/^}/ s/if (has_work(w))/if (true)/
a worker sleeps although it has mail|worker/mailbox.c|s/return atomic_exchange(&m->shared.sleeping, false);/return false;/; s/if (mailbox_empty(m, peers))/if (true)/
the disconnect hook is called for those never let in|conn/conn.c|s/if (c->accepted \&\& hooks->on_client_disconnect) {/if (hooks->on_client_disconnect) {/
a hook's answer is not waited for|conn/conn_ws.c|s/stream_pause(&c->stream);$/;/; s/c->held_input = true;/;/
an outcome is not told|conn/submit.c|/^static void job_outcome/,/^}/ s/tell_program(job.done, job.user, 0, BYTES("delivered")/if (false) tell_program(job.done, job.user, 0, BYTES("delivered")/
an error frame goes to the receiver|conn/submit.c|/^void submit_outcome/,/^}/ s/c = conn_get(sh, r->token);/uint32_t pos = 0; c = slab_next(\&sh->conns, \&pos);/
a head may be as long as it likes|proto/http1.c|s/lim->max_head/(lim->max_head * 1000)/g
the mail of stopped workers is not buried|gateway/gateway.c|/^static void tear_down/,/^}/ s/bury(gw);/;/
hooks are asked after the end|conn/submit.c|s/if (sh->over) {/if (false) {/
RSV1 is taken although nothing was agreed on|proto/ws.c|s/starts \&\& (d->bits \& BIT_DEFLATE)))/starts))/
RSV1 on a continuation is taken|proto/ws.c|s/== WS_RSV1 \&\& starts \&\& (d->bits/== WS_RSV1 \&\& op <= 2 \&\& (d->bits/
RSV1 on a control frame is taken|proto/ws.c|s/== WS_RSV1 \&\& starts \&\& (d->bits/== WS_RSV1 \&\& (starts || op > 8) \&\& (d->bits/
RSV2 is taken where compression was agreed on|proto/ws.c|s/if ((b \& RSV) \&\& !((b \& RSV) == WS_RSV1/if ((b \& RSV) \&\& !((b \& WS_RSV1)/
a deflated message lacks RSV1|conn/conn_deflate.c|s/len, WS_RSV1);/len, 0);/
a message that became no shorter is sent deflated|proto/ws_deflate.c|s/ \&\& \*len < in.len / /
the context is kept although none was agreed on|proto/ws_deflate.c|s/if (!done || !takeover)/if (!done)/
a client's context is kept although none was agreed on|proto/ws_deflate.c|s/if (r || !takeover)/if (r)/
a client's context is forgotten although it was agreed on|proto/ws_deflate.c|s/if (r || !takeover)/if (true)/
the context is kept behind a message that went out plain|proto/ws_deflate.c|s/if (!done || !takeover)/if (!takeover)/
a larger window than was agreed on|conn/conn_deflate.c|s/ws_deflater_new(c->deflate.server_bits,/ws_deflater_new(15,/
a larger window than was agreed on, for all|conn/conn_deflate.c|s/ws_deflater_new(bits,/ws_deflater_new(15,/
a message deflated for one window is sent to all|conn/conn_deflate.c|s/msg_made(m, bits)/msg_made(m, 15)/g; s/msg_make(m, bits,/msg_make(m, 15,/
the client's window is taken for ours|conn/conn_deflate.c|s/x->in = ws_inflater_new(c->deflate.client_bits);/x->in = ws_inflater_new(8);/
the answer allows contexts that we do not hold|proto/ws_deflate.c|s/d->client_takeover ? "" : "; client_no_context_takeover"/""/
the answer does not say that we keep no context|proto/ws_deflate.c|s/d->server_takeover ? "" : "; server_no_context_takeover"/d->server_takeover ? "; server_no_context_takeover" : ""/
contexts although the configuration has none|proto/ws_deflate.c|s/p->takeover \&\& !(o->seen \& SERVER_NO_TAKEOVER)/!(o->seen \& SERVER_NO_TAKEOVER)/
a window that was not asked about is named|proto/ws_deflate.c|s/if (o->client_bits || d->client_bits < BITS_MAX)/if (true)/
the client's bound of our window is passed over|proto/ws_deflate.c|s/smaller(o->server_bits, p->window_bits)/p->window_bits/
the four bytes of the flush are sent|proto/ws_deflate.c|s/return done ? 0 : WS_DEFLATE_PLAIN;/*len += done ? 4 : 0;\n\t&/
a message that is cut off is taken|proto/ws_deflate.c|s/if (r == 0 \&\& (ended || !at_boundary(&i->z)))/if (false)/
a message that inflates to too much is taken|conn/conn_deflate.c|s/uint64_t max = sh->set->opt.max_message_bytes, limit/uint64_t max = 1u << 30, limit/
inflated text is not checked for UTF-8|conn/conn_deflate.c|s/if (text \&\& !utf8_valid/if (false \&\& !utf8_valid/
a bomb is told to be no DEFLATE|conn/conn_deflate.c|s/return WS_CODE_TOO_BIG;/return WS_CODE_BAD_DATA;/
a refused message is not part of the context|conn/conn_ws.c|s/if (!allowed \&\& !c->deflate.client_takeover)/if (!allowed)/
a message that waits for its turn to be inflated is lost|conn/conn_ws.c|s/if (listening(c))$/if (false)/
input behind a waiting message overtakes it|conn/conn_ws.c|s/bool go_on = code != DEFLATE_LATER;/bool go_on = true;/
the shortest message for it is not looked at|conn/conn_deflate.c|s/return m->len \&\& m->len >= conn_shard(c)->set->opt.deflate.min_bytes;/return m->len > 0;/
nothing is deflated|conn/conn_deflate.c|s/return m->len \&\& m->len >= conn_shard(c)->set->opt.deflate.min_bytes;/return false;/
the memory of contexts is never given back|conn/conn_deflate.c|s/atomic_fetch_sub(&conn_shard(c)->set->shared.context_bytes, .*/;/
a context outlives its connection|conn/conn_deflate.c|s/		ws_inflater_free(c->contexts->in);/		;/
ciphertext that waits is lost|net/tls.c|s/return n < 0 ? (int)n : add_pending(t, b->out + n, len - (size_t)n);/return n < 0 ? (int)n : 0;/
the rest of the ciphertext is forgotten|net/tls.c|/^static bool flush/,/^}/ s/if (t->pending_sent < t->pending_len)/if (false)/
plain text is taken while ciphertext waits, and not sent|net/tls.c|s/while (!t->error \&\& flush(t)) {/while (!t->error \&\& (flush(t) || true)) {/
the goodbye is not said|net/tls.c|s/(void)SSL_shutdown(t->ssl);.*/;/
the end comes in front of what waits|net/tls.c|/^static void finish/,/^}/ s/if (!t->pending)/if (true)/
alerts are not sent|net/tls.c|s/n = put(t, b->out, len); .*/n = t->error ? (ptrdiff_t)len : put(t, b->out, len);/
close_notify is not heard|net/tls.c|/^static void read_failure/,/^}/ s/t->ended = true;/;/
bytes that break TLS are ignored|net/tls.c|/^static int fail/,/^}/ s/t->ended = true;/;/
only the first record of a read is taken|net/tls.c|s/} while (r > 0 \&\& got < sizeof b->plain);/} while (false);/
an end that comes while it is paused is lost|net/tls.c|/^void tls_feed/,/^}/ s/s->src.flags |= STREAM_READABLE;.*/;/
an end that was not reported is lost on the way to another worker|net/tls.c|/^int stream_give_tls/,/^}/ s/if (t->ended)/if (false)/
TLS stays behind when a connection moves|conn/conn_open.c|s/m->tls = stream_take_tls(&c->stream);/m->tls = NULL;/
plain text is served where TLS is a must|conn/conn_http.c|s/return !h->only_tls \&\& (!conn_shard(c)->set->tls.no_plain || !h->peer.len);/return true;/
TLS is spoken on the port for plain text|conn/conn_http.c|s/if (h->next.at\[0\] == TLS_FIRST_BYTE \&\& .*/if (h->next.at[0] == TLS_FIRST_BYTE) {/
plain bytes are taken for decrypted bytes|conn/conn_http.c|/^static void begin_tls/,/^}/ s/buf_clear(&h->next);/;/
an old version is spoken|net/tls.c|s/o->only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION/TLS1_2_VERSION/
HTTP/2 is agreed on|net/tls.c|/^static int on_alpn/,/^}/ s/return SSL_TLSEXT_ERR_ALERT_FATAL;/return SSL_TLSEXT_ERR_NOACK;/
no ticket is taken|net/tls.c|/^static int on_ticket/,/^}/ s/if (!found)/if (!found || !enc)/
tickets are good for ever|net/tls.c|s/if (now_ms >= server->shared.due_ms) {/if (!server->shared.due_ms) {/
a ticket is good for one rotation alone|net/tls.c|s/		key\[1\] = key\[0\];/		key[1].live = false;/
the previous key stays good when no client came for long|net/tls.c|s/if (late >= server->rotation_ms)/if (false)/
a reload changes nothing|net/tls.c|s/server->shared.set = set;/if (former) former = set; else server->shared.set = set;/
a reload frees the certificates in use|net/tls.c|/^static struct tls_set \*current/,/^}/ s/atomic_fetch_add(&set->shared.refs, 1);/atomic_fetch_add(\&set->shared.refs, 0);/
certificates outlive their use|net/tls.c|/^int tls_server_load/,/^}/ s/set_unref(former);/;/
a reload that fails takes the certificates away|net/tls.c|/^int tls_server_load/,/^}/ s/		set_unref(set);/		set_unref(set), server->shared.set = NULL;/
a handshake may take for ever|conn/conn_http.c|/^static bool step_tls/,/^}/ s/			begin_tls(c);/			begin_tls(c), timers_cancel(\&conn_shard(c)->timers, \&c->timer);/
the end of a connection leaks its TLS|net/tls.c|/^void tls_close/,/^}/ s/tls_free(t);/;/
a handshake goes on behind our end|net/tls.c|s/t->ended = true; \/\* a handshake that continues .*/;/
END
}

compile() # source object
{
	# shellcheck disable=SC2086
	$cc $flags -I"$work/src" -c "$1" -o "$2"
}

link() # program
{
	ar rcs "$work/product.a" "$work"/obj/*.o && tests/fuzz/connection/link.sh ld "$work/product.o" "$work/product.a" &&
		$cc -fsanitize=address "$work"/own/*.o "$work/product.o" -lyaml -lssl -lcrypto -lz -lpthread -o "$1"
}

object() # file of src
{
	echo "$work/obj/$(echo "${1%.c}" | tr / _).o"
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
python3 tools/embed.py "$work/assets.c" "$work/assets.d" "$PWD" || exit 1
for f in $(cd src && find . -name '*.c' -printf '%P\n'); do compile "src/$f" "$(object "$f")" || exit 1; done
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
	sed "$edit" "src/$file" > "$work/src/$file"
	said=-
	if cmp -s "src/$file" "$work/src/$file"; then
		echo "$name: the expression changes nothing"
	elif [ "${file%.h}" != "$file" ]; then
		for f in conn/conn.c proto/ws.c; do compile "$work/src/$f" "$(object $f)" || exit 1; done
		link "$work/mutant" && said=$(verdict)
		cp "src/$file" "$work/src/$file"
		for f in conn/conn.c proto/ws.c; do compile "$work/src/$f" "$(object $f)" || exit 1; done
	elif ! compile "$work/src/$file" "$(object "$file")" 2> "$work/out" || ! link "$work/mutant"; then
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
	[ "${file%.h}" != "$file" ] || compile "src/$file" "$(object "$file")" || exit 1
done < <(mutants)
echo "$found passed, $missed failed"
[ "$missed" -eq 0 ]
