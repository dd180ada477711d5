/* SPDX-License-Identifier: Apache-2.0 */
/* submission: see submission.h. */
#include "submit/submission.h"

#include "base/mem.h"

void submit_refuse_as(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why, struct bytes ref)
{
	if (!(sub->sender->rules & SENDER_TRUSTED))
		counter_add(&sh->metrics.messages_refused[code], 1);
	sub->sender->refuse(sh, sub, code, why, ref);
}

void submit_refuse_of(struct shard *sh, struct submission *sub, enum end e, struct bytes value, struct bytes ref)
{
	char why[END_WHY_MAX];

	submit_refuse_as(sh, sub, end_code(e), end_why_of(e, value, why), ref);
}

void submit_refuse(struct shard *sh, struct submission *sub, enum end e, struct bytes ref)
{
	submit_refuse_as(sh, sub, end_code(e), bytes_str(end_why(e)), ref);
}

void submit_user_as_client(struct shard *sh, const struct submission *sub, struct submit_client *out)
{
	(void)sh;
	memcpy(out->user, sub->user.at, sub->user.len);
	out->user[sub->user.len] = 0;
	out->client = (struct wsc_client){ .client_id = "",
					   .user_id = out->user,
					   .user_type = "",
					   .ticket_id = "",
					   .role = "",
					   .device_id = "",
					   .client_type = "",
					   .transport = WSC_HTTP };
}

void submission_deinit(struct submission *sub)
{
	if (sub->owns_text)
		mem_free((void *)(uintptr_t)sub->text.at);
	if (sub->owns_user)
		mem_free((void *)(uintptr_t)sub->user.at);
	mem_free(sub->parsed);
	sub->owns_text = sub->owns_user = false;
	sub->parsed = NULL;
}
