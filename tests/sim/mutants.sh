#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Plants one bug at a time in a copy of the hub or of submit and expects the simulator to find it. Exit status 0 when every
# bug was found.
#
#   tests/sim/mutants.sh [SEEDS [TEXT]]   how many seeds each may need (10000); only the lines of the table that contain TEXT
#
# It prints a row per bug: its name, the file, the first seed (from 2 on) and the told story that found it.
#
# A line of the table: name | file of src | sed expression. An expression that changes nothing is a failure too, so that
# the table follows the code.
set -u
cd "$(dirname "$0")/../.."
seeds=${1:-10000}
only=${2:-}
cc=${CC:-cc}
flags="-std=gnu17 -D_GNU_SOURCE -O1 -g -fno-strict-aliasing -fno-strict-overflow -Iinclude"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=0
missed=0

mutants()
{
	cat <<'END'
a reader is closed although its socket takes bytes|hub/turn.c|s/if (would_block)$/if (would_block || place_over_limit(h, s))/
the policy is never applied to a full queue|hub/turn.c|/^static void handle_blocked/,/^}/ s/\tapply_policy(h, s);//
a blocked reader over its limit is not offered its bytes again|hub/place.c|s/if (!s->blocked || s->overflow)/if (!s->blocked)/
a session whose socket has room again is not flushed|hub/turn.c|/^void hub_writable/,/^}/ s/place_ready(h, s);/;/
the rest of a queue is not flushed|hub/turn.c|s/if (!would_block \&\& (s->q.count || s->gap))/if (false)/
a gap notice counts each dropped message twice|hub/turn.c|s/s->gap++;/s->gap += 2;/
a dropped message causes no gap notice|hub/turn.c|s/s->gap++;/;/
unicasts wait behind broadcasts|hub/hub_state.h|s/s->urgent ? PLACE_READY : PLACE_BULK/PLACE_BULK/
the queue of a slow reader is not discarded|hub/turn.c|s/HUB_END_SLOW, true/HUB_END_SLOW, false/
a reader that keeps up is closed because memory is short|hub/turn.c|s/h->places\[PLACE_BLOCKED\].next == &s->queue/true/; s/ \&\& !s->moved//
a held session may queue any number of messages|hub/turn.c|/^static void apply_policy_to_held/,/^}/ s/apply_policy(h, s);/place_clear_overflow(h, s);/
a message that was sent in part is dropped|hub/outq.c|s/drop(q, q->offset ? take_second(q, p) : take_first(q, p));/q->offset = 0, drop(q, take_first(q, p));/
the queue keeps its reference to a sent message|hub/outq.c|/^void outq_pop/,/^}/ s/drop(q, take_first(q, p));/msg_ref(q->chunked ? q->head->ref[q->head->first] : q->inl[0]), drop(q, take_first(q, p));/
a message at the border of two chunks is lost|hub/outq.c|s/q->tail->end == OUTQ_CHUNK_REFS/q->tail->end == OUTQ_CHUNK_REFS - 1 \&\& (q->tail->end++, true)/
live messages are lost during a replay|hub/session.c|s/s->missed = true;/;/
a message is replayed and delivered live too|hub/session.c|s/if (m->seq \&\& m->seq <= s->position)/if (false)/
held messages come before the replay|hub/session.c|s/outq_drop_logged(&s->q, &h->pool);/;/
the gap of a held session survives its replay|hub/session.c|/^static void begin_replay/,/^}/ s/s->gap = 0;/;/
a replay asks only once|hub/session.c|/^int hub_loaded/,/^}/ s/session_ask_log(h, s);/;/
a client is connected before the nodes know of it|hub/session.c|s/s->state = u->unconfirmed ? SESSION_ATTACHING : SESSION_HELD;/s->state = SESSION_HELD;/
the newest session is replaced instead of the oldest|hub/session.c|s/n = u->sessions.next; n != &u->sessions \&\& u->accepted/n = u->sessions.prev; n != \&u->sessions \&\& u->accepted/; s/next = n->next;/next = n->prev;/
the limit counts held sessions as accepted|hub/session.c|s/u->accepted > h->o.max_sessions_per_user; n = next/u->count > h->o.max_sessions_per_user; n = next/
the first messages of a session are in the wrong order|hub/session.c|s/for (unsigned i = n; i-- > 0;) {/for (unsigned i = 0; i < n; i++) {/
a closed session still counts|hub/session.c|s/counter_sub(&h->counters.sessions\[s->transport\], 1);/;/
interest is not withdrawn|hub/interest.c|s/tell_all(h, HUB_RELAY_NO_INTEREST, u);/;/
an old confirmation is accepted|hub/interest.c|s/} else if (r->token == u->epoch) {/} else {/
a node that joins learns of no user|hub/interest.c|s/tell(h, peer, HUB_RELAY_INTEREST, user_name(u), u->epoch);/;/
the users of a lost node are kept|hub/interest.c|/^void hub_peer_lost/,/^}/ s/u->interest &= ~peer_bit(peer);/;/
a client waits for a node that is lost|hub/interest.c|/^void hub_peer_lost/,/^}/ s/confirmed(h, u, peer);/;/
a late answer ends another outcome|hub/pending.c|s/ || h->slots\[slot\].generation != name >> 32//
the first answer ends an outcome that needs several|hub/pending.c|/^void pending_answer/,/^}/ s/if (!o->owed)/if (true)/
a pending outcome never times out|hub/pending.c|/^void pending_expire/,/^}/ s/if (o->due_ms > now_ms(now))/if (true)/
a pending outcome times out too early|hub/pending.c|/^void pending_expire/,/^}/ s/if (o->due_ms > now_ms(now))/if (o->due_ms > now_ms(now) + 300)/
the sender of a ticket message gets a copy|hub/publish.c|s/if (!bytes_eq(user_name(session_of_ticket(n)->user), sender))/if (true)/
a success is reported although only failures are wanted|hub/pending.c|s/if (o->only_failures \&\& o->result == HUB_DELIVERED)/if (false)/
the failure of a unicast is not reported|hub/publish.c|s/relay_publication(h, p, target.peers, HUB_ANSWER_FAILURE, p->token);/relay_publication(h, p, target.peers, HUB_ANSWER_NEVER, 0);/
a message is not relayed to the other devices of its user|hub/publish.c|/^static int publish_to_user/,/^}/ s/relay_publication(h, p, target.peers, HUB_ANSWER_NEVER, 0);/;/
a kick does not close the last device|hub/publish.c|/^static uint32_t kick_here/,/^}/ s/n != &u->sessions; n/n->next != \&u->sessions; n/
a message of the program overtakes the one that a hook has|submit/program.c|s/if (first \&\& !sh->over)/if (false)/
the program's messages wait in the wrong order|submit/program.c|s/list_push(&submitted_of_node(first)->link, &s->link)/list_push(submitted_of_node(first)->link.next, \&s->link)/
messages of the program behind a second hook are lost|submit/program.c|s/list_splice(&s->link, &behind);/;/
messages of the program that wait get no outcome at the end|submit/program.c|s/tell_stopped(s->done, s->user, BYTES(""));/;/
a pending outcome is not reported at the end|submit/program.c|s/tell_stopped(job.done, job.user, bytes_str(job.id));/;/
pending calls do not time out at the end|submit/program.c|s/hook_give_up(sh);/;/
the token of a publication is not freed when the hub is busy|submit/submit.c|s/sub->sender->not_accepted(sh, p.token);/;/
a late edit is ignored|submit/submit.c|s/(p->edited || p->edit_error) \&\&/false \&\&/
an edit at once is ignored|submit/submit.c|s/else if (!ed.any)/else if (true)/
an edited text is not parsed again|submit/submit.c|/^static enum step ask_send/,/^}/ s/step = STEP_AGAIN;/step = STEP_ON;/
a late refusal is ignored|submit/submit.c|s/p->verdict != (received_stage ? WSC_ALLOW : 0)/false/
a hook that times out allows the message|submit/submit.c|s/if (p->timed_out \&\& !sh->over)/if (false)/
the second hook is not called when the first answers late|submit/submit.c|/^bool submit_run/,/^}/ s/step = STEP_ON;/step = STEP_ON, sub->stage++;/
both hooks are called again when the second answers late|submit/submit.c|/^bool submit_run/,/^}/ s/step = STEP_ON;/step = STEP_ON, sub->stage = STAGE_RECEIVED;/
the sender does not go on behind a hook that timed out|submit/submit.c|s/\tsub->sender->go_on(sh, sub);/\tif (!p->timed_out) sub->sender->go_on(sh, sub);/
the sender goes on while the second hook has its message|submit/submit.c|s/if (may_go_on(sh, sub, p) \&\& !submit_run(sh, sub))/if (may_go_on(sh, sub, p) \&\& !submit_run(sh, sub) \&\& false)/
a hook is called after the shards have ended|submit/submit.c|s/else if (sh->over) /else if (false) /
the parsed envelope is not moved with its text|submit/text.c|s/envelope_rebase(e, (const uint8_t \*)text);/;/
the members that an edit adds are lost|submit/text.c|s/o->extra = ed->extra;/;/
a message with the name of another sender is accepted|submit/check.c|s/return (sub->sender->rules \& SENDER_FRAMES) \&\& sh->set->opt.sender != SENDER_REJECT;/return true;/
a message without content and data is accepted|submit/check.c|s/} else if (envelope_check_payload(e) != ENVELOPE_OK) {/} else if (false) {/
a message without a receiver is not counted as refused|submit/submit.c|s/counter_add(&sh->metrics.messages_refused\[API_USER_OFFLINE\], 1);/;/
a pending call that timed out is answered again|hook/hook.c|/^static void finished/,/^}/ s/if (p->timed_out) {/if (false) {/
a pending call that was answered times out too|hook/hook.c|/^static void finished/,/^}/ s/timers_cancel(&sh->hook_timers, &p->timer);/;/
a hook may take twice hook_timeout|hook/hook.c|/^bool hook_wait/,/^}/ s/sh->set->opt.hook_timeout_ms/sh->set->opt.hook_timeout_ms * 2/
END
}

compile() # source object
{
	$cc $flags -I"$work/src" -c "$1" -o "$2"
}

# A changed header changes all objects of its module.
compile_again() # file of src
{
	local f
	case $1 in
	*.h) for f in "$work/${1%%/*}"/*.o; do
		compile "$work/src/${1%%/*}/$(basename "$f" .o).c" "$f" || return
	done ;;
	*) compile "$work/src/$1" "$work/${1%.c}.o" ;;
	esac
}

link() # program
{
	$cc "$work"/sim/*.o $(printf "$work/%s/*.o " hub submit hook) "$work/below.a" -Wl,--wrap=hub_publish -pthread -o "$1"
}

run() # arguments of sim; what it says lands in $work/out
{
	timeout 60 "$work/mutant" "$@" > "$work/out" 2>&1
	# A crash leaves no line: the exit status speaks.
	[ $? -lt 124 ] || echo "crash or no end" >> "$work/out"
}

# The told story that found it, "-" when none did.
told()
{
	run --told ""
	sed -n -e 's/^story: \([^:]*\): .*/\1/p' -e 's/^aborted in the story \(.*\)/\1/p' -e 's/^crash or no end/&/p' \
		"$work/out" | head -1 | grep . || echo "-"
}

# The seed that found it (the told stories are left out from the second seed on), "-" when none did.
random()
{
	run --first 2 --seeds "$seeds"
	sed -n -e 's/^seed \([0-9]*\): .*/\1/p' -e 's/^aborted: sim --seeds 1 --first \([0-9]*\).*/\1/p' \
		-e 's/^crash or no end/&/p' "$work/out" | head -1 | grep . || echo "-"
}

mkdir -p "$work/sim" "$work/hub" "$work/submit" "$work/hook" "$work/below"
cp -r src "$work/src"
for f in tests/sim/*.c; do compile "$f" "$work/sim/$(basename "$f" .c).o" || exit 1; done
for f in src/hub/*.c src/submit/*.c src/hook/message.c src/hook/hook.c; do
	compile "$f" "$work/$(basename "$(dirname "$f")")/$(basename "$f" .c).o" || exit 1
done
# The modules below them; the linker takes only the objects that it needs.
for f in src/base/*.c src/proto/*.c src/api/*.c src/shard/*.c; do
	compile "$f" "$work/below/$(basename "$f" .c).o" || exit 1
done
ar rcs "$work/below.a" "$work"/below/*.o
link "$work/sim.good" && "$work/sim.good" --seeds 1000 > "$work/out" || { echo "the code as it stands fails"; cat "$work/out"; exit 1; }

while IFS= read -r entry; do
	name=${entry%%|*}
	rest=${entry#*|}
	file=${rest%%|*}
	edit=${rest#*|}
	sed "$edit" "src/$file" > "$work/src/$file"
	story=-
	seed=-
	if cmp -s "src/$file" "$work/src/$file"; then
		echo "$name: the expression changes nothing"
	elif ! compile_again "$file" 2> "$work/out" || ! link "$work/mutant"; then
		echo "$name: does not compile"
		cat "$work/out"
	else
		story=$(told)
		seed=$(random)
	fi
	if [ "$story$seed" = -- ]; then
		missed=$((missed + 1))
		echo "| $name | $file | NOT FOUND | |"
	else
		found=$((found + 1))
		echo "| $name | $file | $seed | $story |"
	fi
	cp "src/$file" "$work/src/$file"
	compile_again "$file" || exit 1
done < <(mutants | grep -F -e "$only")
echo "$found passed, $missed failed"
[ "$missed" -eq 0 ]
