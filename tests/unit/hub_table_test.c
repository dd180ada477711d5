/* SPDX-License-Identifier: Apache-2.0 */
/* hub/table: the online list, its rows and its pages. */
#include "hub_fixture.h"

TEST(a_row_sums_up_all_devices_of_a_user)
{
	struct fx fx;
	struct session a = { 0 }, b = { 0 }, c = { 0 };
	struct hub_identity id = { .user_id = BYTES("ann"), .transport = HUB_SSE, .user_type = 3 };
	struct hub_options o = fx_options();
	struct hub_user_row row;

	o.login = HUB_LOGIN_ALLOW;
	fx_init(&fx, 1, o);
	hub_attach(fx.hub[0], &a, &id, FX_NOW(1));
	CHECK(!hub_next_user(fx.hub[0], NULL, &row));
	hub_accept(fx.hub[0], &a, NULL, 0, NULL, FX_NOW(10));
	a.last_rx_ms = UINT32_MAX - 5;
	id.transport = HUB_WEBSOCKET;
	hub_attach(fx.hub[0], &b, &id, FX_NOW(11));
	hub_accept(fx.hub[0], &b, NULL, 0, NULL, FX_NOW(20));
	b.last_rx_ms = 7; /* later: the stamp has wrapped */
	hub_attach(fx.hub[0], &c, &id, FX_NOW(30));
	CHECK(hub_next_user(fx.hub[0], NULL, &row));
	CHECK_BYTES(row.user_id, "ann");
	CHECK_EQ(row.connections, 2);
	CHECK_EQ(row.connected_wall_ms, 1700000000010);
	CHECK_EQ(row.last_rx_ms, 7);
	CHECK_EQ(row.transport, HUB_WEBSOCKET);
	CHECK_EQ(row.user_type, 3);
	CHECK_EQ(hub_counters(fx.hub[0])->sessions[HUB_SSE], 1);
	hub_close(fx.hub[0], &b, 1000, "", false);
	hub_row(hub_find(fx.hub[0], BYTES("ann")), &row);
	CHECK_EQ(row.connections, 1);
	CHECK_EQ(row.transport, HUB_SSE);
	fx_free(&fx);
}

TEST(pages_show_every_user_once_even_when_the_user_they_stopped_at_leaves)
{
	static struct session s[500];
	struct fx fx;
	struct hub_user_row row;
	struct bytes after, *from = NULL;
	char id[16], stop[16];
	unsigned seen = 0;

	fx_init(&fx, 1, fx_options());
	for (int i = 0; i < 500; i++) {
		snprintf(id, sizeof(id), "user%d", i);
		fx_connect(fx.hub[0], &s[i], id, NULL);
	}
	while (hub_next_user(fx.hub[0], from, &row)) {
		seen++;
		memcpy(stop, row.user_id.at, row.user_id.len);
		after = bytes_of(stop, row.user_id.len);
		from = &after;
		if (seen % 3 == 0)
			hub_detach(fx.hub[0],
				   container_of(hub_find(fx.hub[0], after)->sessions.next, struct session, of_user),
				   FX_NOW(0));
	}
	CHECK_EQ(seen, 500);
	CHECK_EQ(hub_counters(fx.hub[0])->users, 500 - 500 / 3);
	fx_free(&fx);
}

TEST(every_session_is_walked_for_the_shutdown)
{
	struct session s[3], *at, *next;
	struct fx fx;
	unsigned n = 0;

	fx_init(&fx, 1, fx_options());
	fx_connect(fx.hub[0], &s[0], "ann", NULL);
	fx_connect(fx.hub[0], &s[1], "bob", NULL);
	fx_attach(fx.hub[0], &s[2], "cyd", NULL);
	hub_close(fx.hub[0], &s[1], 1001, "", false);
	for (at = hub_next_session(fx.hub[0], NULL); at; at = next, n++) {
		next = hub_next_session(fx.hub[0], at);
		hub_detach(fx.hub[0], at, FX_NOW(0));
	}
	CHECK_EQ(n, 3);
	fx_free(&fx);
}
