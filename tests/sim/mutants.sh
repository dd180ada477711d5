#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Plants one bug at a time in a copy of the hub and expects the simulator to find it. Exit status 0 when every bug was found.
#
#   tests/sim/mutants.sh [SEEDS]      how many seeds each may need (10000)
#
# It prints a row per bug: what it is, the file, the first seed (from 2 on) and the told story that found it.
#
# A line of the table: name | file of src/hub | sed expression. An expression that changes nothing is a failure too, so that
# the table follows the code.
set -u
cd "$(dirname "$0")/../.."
seeds=${1:-10000}
cc=${CC:-cc}
flags="-std=gnu17 -D_GNU_SOURCE -O1 -g -fno-strict-aliasing -fno-strict-overflow -Iinclude"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=0
missed=0

mutants()
{
	cat <<'END'
closed although the socket takes bytes|turn.c|s/if (would_block)$/if (would_block || place_over_limit(h, s))/
a full queue is never judged|turn.c|/^static void handle_blocked/,/^}/ s/\tapply_policy(h, s);//
a blocked reader over its limit is not asked again|place.c|s/if (!s->blocked || s->overflow)/if (!s->blocked)/
a socket that takes bytes again is forgotten|turn.c|/^void hub_writable/,/^}/ s/place_ready(h, s);/;/
what is left after a slice is forgotten|turn.c|s/if (!would_block \&\& (s->q.count || s->gap))/if (false)/
the gap counts two for one|turn.c|s/s->gap++;/s->gap += 2;/
no gap notice|turn.c|s/s->gap++;/;/
unicasts wait behind broadcasts|hub_state.h|s/s->urgent ? PLACE_READY : PLACE_BULK/PLACE_BULK/
the slow reader's queue is not discarded|turn.c|s/HUB_END_SLOW, true/HUB_END_SLOW, false/
memory is short and a reader who reads is closed|turn.c|s/h->places\[PLACE_BLOCKED\].next == &s->queue/true/; s/ \&\& !s->moved//
a held session keeps any number|turn.c|/^static void apply_policy_to_held/,/^}/ s/apply_policy(h, s);/place_clear_overflow(h, s);/
the message partly sent is dropped|outq.c|s/drop(q, q->offset ? take_second(q, p) : take_first(q, p));/q->offset = 0, drop(q, take_first(q, p));/
a reference is not given back|outq.c|/^void outq_pop/,/^}/ s/drop(q, take_first(q, p));/msg_ref(q->chunked ? q->head->ref[q->head->first] : q->inl[0]), drop(q, take_first(q, p));/
a message at the border of two chunks is lost|outq.c|s/q->tail->end == OUTQ_CHUNK_REFS/q->tail->end == OUTQ_CHUNK_REFS - 1 \&\& (q->tail->end++, true)/
live messages during a replay are missed|session.c|s/s->missed = true;/;/
a message is replayed and delivered live too|session.c|s/if (m->seq \&\& m->seq <= s->position)/if (false)/
held messages come before the replay|session.c|s/outq_drop_logged(&s->q, &h->pool);/;/
the gap of a held session survives its replay|session.c|/^static void begin_replay/,/^}/ s/s->gap = 0;/;/
a replay asks only once|session.c|/^int hub_loaded/,/^}/ s/session_ask_log(h, s);/;/
connected before the nodes know|session.c|s/s->state = u->unconfirmed ? SESSION_ATTACHING : SESSION_HELD;/s->state = SESSION_HELD;/
the newest gives way instead of the oldest|session.c|s/n = u->sessions.next; n != &u->sessions \&\& u->accepted/n = u->sessions.prev; n != \&u->sessions \&\& u->accepted/; s/next = n->next;/next = n->prev;/
the limit counts held sessions as accepted|session.c|s/u->accepted > h->o.max_sessions_per_user; n = next/u->count > h->o.max_sessions_per_user; n = next/
welcomes in the wrong order|session.c|s/for (unsigned i = n; i-- > 0;) {/for (unsigned i = 0; i < n; i++) {/
a closed session still counts|session.c|s/count_sub(&h->counters.sessions\[s->transport\], 1);/;/
interest is not withdrawn|interest.c|s/tell_all(h, HUB_RELAY_NO_INTEREST, u);/;/
an old confirmation confirms|interest.c|s/} else if (r->token == u->epoch) {/} else {/
a node that joins is told nothing|interest.c|s/tell(h, peer, HUB_RELAY_INTEREST, user_name(u), u->epoch);/;/
the users of a lost node stay|interest.c|/^void hub_peer_lost/,/^}/ s/u->interest &= ~peer_bit(peer);/;/
nobody waits for a lost node, but its clients do|interest.c|/^void hub_peer_lost/,/^}/ s/confirmed(h, u, peer);/;/
a late answer ends another question|pending.c|s/ || h->slots\[slot\].generation != name >> 32//
the first answer ends the question|pending.c|/^void pending_answer/,/^}/ s/if (!o->owed)/if (true)/
a question is never given up|pending.c|/^void pending_expire/,/^}/ s/if (o->due_ms > now_ms(now))/if (true)/
a question is given up at once|pending.c|/^void pending_expire/,/^}/ s/if (o->due_ms > now_ms(now))/if (o->due_ms > now_ms(now) + 300)/
the sender of a ticket message gets a copy|publish.c|s/if (!bytes_eq(user_name(session_of_ticket(n)->user), sender))/if (true)/
a success is told to one who asked for failures|pending.c|s/if (o->only_failures \&\& o->result == HUB_DELIVERED)/if (false)/
the failure of a unicast is not told|publish.c|s/relay_publication(h, p, target.peers, HUB_ANSWER_FAILURE, p->token);/relay_publication(h, p, target.peers, HUB_ANSWER_NEVER, 0);/
a message goes only to the devices here|publish.c|/^static int publish_to_user/,/^}/ s/relay_publication(h, p, target.peers, HUB_ANSWER_NEVER, 0);/;/
a kick spares the last device|publish.c|/^static uint32_t kick_here/,/^}/ s/n != &u->sessions; n/n->next != \&u->sessions; n/
END
}

compile() # source object
{
	$cc $flags -I"$work/src" -c "$1" -o "$2"
}

link() # program
{
	$cc "$work"/sim/*.o "$work"/base/*.o "$work"/hub/*.o -o "$1"
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

mkdir -p "$work/sim" "$work/base" "$work/hub"
cp -r src "$work/src"
for f in tests/sim/*.c; do compile "$f" "$work/sim/$(basename "$f" .c).o" || exit 1; done
for f in mem map siphash rng buf; do compile "src/base/$f.c" "$work/base/$f.o" || exit 1; done
for f in src/hub/*.c; do compile "$f" "$work/hub/$(basename "$f" .c).o" || exit 1; done
link "$work/sim.good" && "$work/sim.good" --seeds 1000 > "$work/out" || { echo "the hub as it stands fails"; cat "$work/out"; exit 1; }

while IFS= read -r entry; do
	name=${entry%%|*}
	rest=${entry#*|}
	file=${rest%%|*}
	edit=${rest#*|}
	object=$work/hub/${file%.c}.o
	sed "$edit" "src/hub/$file" > "$work/src/hub/$file"
	story=-
	seed=-
	if cmp -s "src/hub/$file" "$work/src/hub/$file"; then
		echo "$name: the expression changes nothing"
	elif ! compile "$work/src/hub/$file" "$object" 2> "$work/out" || ! link "$work/mutant"; then
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
	cp "src/hub/$file" "$work/src/hub/$file"
	compile "$work/src/hub/$file" "$object" || exit 1
done < <(mutants)
echo "$found passed, $missed failed"
[ "$missed" -eq 0 ]
