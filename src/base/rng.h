/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng: ChaCha20 (RFC 8439) as a random generator, one per worker. Seeded by the system, or by a fixed seed in tests
 * and the simulator, where equal seeds give equal runs. A client that sees some of its output (client ids come from it)
 * cannot predict the rest.
 */
#ifndef WSC_BASE_RNG_H
#define WSC_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint32_t state[16];
	uint8_t block[64];
	uint32_t used; /* bytes of @block already used */
};

/* From getrandom(2); 0 or -errno. */
int rng_init_system(struct rng *r);
void rng_init_seed(struct rng *r, uint64_t seed);
void rng_fill(struct rng *r, void *out, size_t n);
uint64_t rng_u64(struct rng *r);
/* Uniform in 0 .. n-1; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);

/*
 * A ULID (26 characters of Crockford base32, no NUL): 48 bits of time, then 80 random bits, of which the first is zero.
 * Two from the same generator in the same millisecond sort in the order they were made: the second is the first plus
 * one. Zeroed memory is a generator. When the clock goes back, new ids sort before older ones.
 */
#define ULID_LEN 26
struct ulid_gen {
	uint64_t wall_ms;
	uint8_t random[10];
	char time_part[10]; /* formatted once per millisecond */
};
void ulid_make(struct ulid_gen *g, struct rng *r, uint64_t wall_ms, char out[ULID_LEN]);

#endif
