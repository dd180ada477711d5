#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Plants one bug at a time in a copy of the product and expects the corpus of fuzz_connection to find it. Exit status 0 when
# every bug was found.
#
#   tests/fuzz/mutants.sh [TEXT]      only those whose row holds TEXT
#
# It prints a row per bug: what it is, the file, what was said. In a header only conn.c and ws.c see the bug. A line of the table: name | file of src | sed expression.
# An expression that changes nothing is a failure too, so that the table follows the code.
set -u
cd "$(dirname "$0")/../.."
cc=${CC:-cc}
flags="-std=gnu17 -D_GNU_SOURCE -O1 -g -fno-strict-aliasing -fno-strict-overflow -fsanitize=address
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
a message goes to everybody|hub/publish.c|s/return u ? to_user(h, u, m) : 0;/return to_all(h, m);/
the newest message comes first|hub/outq.c|/^int outq_push(struct/,/^}/ s/	if (!q->chunked \&\& q->count < OUTQ_INLINE) {/	if (q->count == 1 \&\& !q->offset) return outq_push_front(q, p, m);\n&/
a reference is not given back|hub/outq.c|/^void outq_pop/,/^}/ s/drop(q, take_first(q, p));/msg_ref(q->chunked ? q->head->ref[q->head->first] : q->inl[0]), drop(q, take_first(q, p));/
the gap is not told|hub/turn.c|s/s->gap++;/;/
a socket that takes bytes again is forgotten|hub/turn.c|/^void hub_writable/,/^}/ s/turn_ready(h, s);/;/
a session that closes still counts|hub/session.c|s/count_sub(&h->counters.sessions\[s->transport\], 1);/;/
a message is counted twice|hub/session.c|s/count_add(&h->counters.sent, 1);/count_add(\&h->counters.sent, 2);/
a kick closes without a word|hub/publish.c|/^static uint32_t kick_here/,/^}/ s/hub_close(h, s, code, reason, false);/hub_close(h, s, 0, "", true);/
the close frame goes twice|conn/conn_ws.c|/^void ws_queue_close/,/^}/ s/	\/\* The answer to a close/	buf_add(\&x->ctl, bytes_of(frame, ws_close(frame, code, BYTES(""))));\n&/
silence ends a client without a word|conn/conn_ws.c|s/hub_close(sh->hub, &c->session, 4408, "no sign of life for client_timeout", true);/conn_kill(c, 4408, false);/
a stream ends without its last event|conn/conn_sse.c|s/if (buf_reserve(&x->ctl, sse_size/if (false \&\& buf_reserve(\&x->ctl, sse_size/
control frames cut into messages|conn/conn.c|s/if (n \&\& s->q.offset) {/if (false) {/
what was sent of a message is forgotten|conn/conn.c|s/offset += (uint32_t)take;/offset += (uint32_t)take + 1;/
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
whoever is gone is asked late|gateway/gateway.c|/^static void tear_down/,/^}/ s/bury(gw);/;/
hooks are asked after the end|conn/submit.c|s/if (sh->over) {/if (false) {/
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
		$cc -fsanitize=address "$work"/own/*.o "$work/product.o" -lyaml -lpthread -o "$1"
}

object() # file of src
{
	echo "$work/obj/$(echo "${1%.c}" | tr / _).o"
}

# What the replay said first; "-" when it found nothing.
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
