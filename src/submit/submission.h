/* SPDX-License-Identifier: Apache-2.0 */
/*
 * submission: one message on its way in, and its sender as far as submit/ knows it: a small table of functions. A WebSocket,
 * an HTTP call and the program itself are senders; the simulator has one of its own.
 */
#ifndef WSC_SUBMIT_SUBMISSION_H
#define WSC_SUBMIT_SUBMISSION_H

#include "api/end.h"
#include "proto/envelope.h"
#include "shard/shard.h"

/* In the order in which a message passes them. */
enum submit_stage { STAGE_CHECK, STAGE_RECEIVED, STAGE_SEND, STAGE_KEEP, STAGE_PUBLISH };

enum sender_id { SENDER_WS, SENDER_HTTP, SENDER_PROGRAM, SENDERS };

enum sender_rule {
	SENDER_FRAMES = 1, /* types ping, heartbeat and ack are for the gateway; only failures are told */
	SENDER_CALLS = 2,  /* an API call: `to` is required, a missing key is missing_field */
	SENDER_TRUSTED = 4 /* the program: any `from`, no on_message_received, may write to a ticket from outside */
};

struct submission {
	const struct sender *sender;
	uint64_t from;           /* the sender's own: the handle of its connection */
	struct bytes text;       /* the message as JSON */
	struct bytes user;       /* the sender */
	enum submit_stage stage; /* the next one */
	bool broadcast;
	bool owns_text, owns_user; /* they are memory of this submission */
	bool on_heap;              /* it stays where it is while a hook has it */
	bool copied;               /* it was copied to the heap because a hook has it, and submit/ frees the copy */
	struct envelope *parsed;   /* @text parsed, while a hook has the submission; else NULL */
	/* For a message without an id or a date of its own, as JSON strings: quotes included. */
	char id[1 + ULID_LEN + 1], create_at[1 + RFC3339_LEN + 1];
};

/* The client of a message, as hooks see it. */
struct submit_client {
	struct wsc_client client;
	char id[33];
	char user[ENVELOPE_ADDRESS_MAX + 1];
};

/* The parts of a published message that the answer to its sender needs. */
struct submit_accepted {
	struct bytes id, to;
	struct envelope_text type; /* raw */
};

/* How a sender takes part. Everything runs on the sender's shard; the connection may have ended by then. */
struct sender {
	uint8_t id;    /* enum sender_id */
	uint8_t rules; /* enum sender_rule */
	/* The message is refused; nothing more is said of it. */
	void (*refuse)(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why,
		       struct bytes ref);
	/* A message of the gateway for this sender alone (a pong); takes @m, NULL: no memory. NULL: never called. */
	void (*reply)(struct shard *sh, struct submission *sub, struct msg *m);
	/* Sets p->token, p->only_failures; remembers what the answer needs. False: no memory. */
	bool (*accepting)(struct shard *sh, struct submission *sub, const struct submit_accepted *a,
			  struct hub_publication *p);
	/* The hub did not take it after all; refuse() follows. NULL: nothing to undo. */
	void (*not_accepted)(struct shard *sh, uint64_t token);
	/* Fills in the client as hooks see it. */
	void (*client)(struct shard *sh, const struct submission *sub, struct submit_client *out);
	/* A submission that a hook had is through its stages: input behind it may go on. */
	void (*go_on)(struct shard *sh, struct submission *sub);
	/* The outcome of a publication; @token as accepting() gave it. */
	void (*outcome)(struct shard *sh, uint64_t token, const struct hub_request *r);
};

/* Refuses the message and counts that. */
void submit_refuse(struct shard *sh, struct submission *sub, enum end e, struct bytes ref);
/* The same; @value stands in the sentence of @e. */
void submit_refuse_of(struct shard *sh, struct submission *sub, enum end e, struct bytes value, struct bytes ref);
/* The same with a sentence of a hook or of the codec. */
void submit_refuse_as(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why, struct bytes ref);
/* The client of a sender that is no WebSocket: a user id and nothing else. */
void submit_user_as_client(struct shard *sh, const struct submission *sub, struct submit_client *out);
/* Frees what the submission owns, not itself. */
void submission_deinit(struct submission *sub);

/* The id of a message as the sender wrote it, to name it in an error; empty: there is none. */
static inline struct bytes submit_ref(const struct envelope *e, uint8_t scratch[ENVELOPE_ID_SCRATCH])
{
	return envelope_string(e, ENVELOPE_ID, scratch);
}

#endif
