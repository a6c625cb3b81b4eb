/*
 * large.h - many hubs in one process: what a cluster of hundreds of nodes costs, and how it takes a
 * death, a leave and a join.
 *
 * Decides nothing about faults beyond those three: tests/sim/story.c does. Workers know no
 * protocol, disks always work, each message arrives within milliseconds. It must stay cheap:
 * nothing here looks through all children at a message.
 */
#ifndef PH_SIM_LARGE_H
#define PH_SIM_LARGE_H

#include "sim.h"

#ifndef HASH_FUNCTION
#define HASH_FUNCTION(key, n, ret) ((ret) = (unsigned)ph_mix64(ph_hash_bytes(PH_HASH_SEED, key, n)))
#endif
#include <uthash.h>

#define LARGE_NODES PH_NODES_MAX
#define LARGE_SEEDS 3
#define LARGE_POSTS 16u /* messages of one step that each go to many: claims of a thousand keys */

struct large;

struct large_sight { /* of a hub, when `changes` was its number of changes */
	uint32_t gen;
	uint64_t changes, own, all; /* digests of its own part, and of all that it knows */
	unsigned owned, running;
};

struct large_node {
	struct large *large;
	unsigned no;
	struct ph_name name;
	char address[PH_ADDRESS_SIZE];
	struct ph_hub *hub; /* NULL: no daemon */
	uint32_t gen;
	uint64_t tick_us, base_ms;
	bool seeds_on, shutting, joined;
	bool *linked;	   /* to each other one */
	uint64_t *last_us; /* when what was sent to it last arrives */
	uint64_t joined_us, changes;
	struct large_sight sight;
	uint64_t messages, bytes; /* sent while measured */
	uint64_t dead_us;	  /* when it held the one that died for dead; 0: not yet */
};

struct large_proc_id { /* without padding: a key of a table */
	uint64_t node, wid;
};

struct large_proc {
	struct large_proc_id id;
	uint32_t pid;
	UT_hash_handle hh;
};

/* Figures of one run, for the table. */
struct large_result {
	unsigned nodes, children;
	uint64_t beat_ms;
	double join_s, start_s;	       /* until all have joined; until all children are owned */
	double load;		       /* the largest over the mean */
	double messages, kib, kib_max; /* a node and second, sent */
	double detect_first_s, detect_last_s, replaced_s;
	double lag_beats; /* from the last change of an owner until all registries agree, at worst
			   */
	unsigned moved_join, ideal_join, moved_leave, ideal_leave;
	double real_s, memory_mib;
};

enum large_item_kind { /* what happens at a time */
	LARGE_TICK,
	LARGE_MESSAGE,
	LARGE_SPAWNED,
	LARGE_EXITED,
	LARGE_GONE,
	LARGE_JOURNALLED,
	LARGE_BUS_UP,
	LARGE_START,
};

struct large_item {
	uint64_t at_us, seq;
	struct large_node *node;
	uint32_t gen;
	enum large_item_kind kind;
	union {
		uint64_t number; /* wid, ticket, or the time of a tick */
		struct sim_letter *letter;
	};
	uint32_t pid;
};

struct large_post { /* a message that was sent, and its copy */
	const struct ph_bmsg *msg;
	struct sim_letter *letter;
};

struct large {
	struct sim sim; /* chance, definitions and letters */
	unsigned n_nodes, children;
	struct large_node *nodes; /* one more than n_nodes: it joins later */
	struct large_item *heap;
	size_t n_heap, room;
	uint64_t now_us, seq;
	uint32_t last_pid;
	struct large_proc *procs;
	struct large_post posts[LARGE_POSTS];
	unsigned n_posts;
	bool measuring;
	uint64_t beats_seen, beat_bytes; /* of the message encoded last */
	struct large_node *victim;	 /* dies, or leaves */
	unsigned migrated, false_dead;
	unsigned laggard; /* the node that lagged when that was looked at last */
	uint64_t truth,
		changed_us; /* who owns what by their owners' word; when that changed last */
	struct large_result result;
	char why[256];
};

/* ---- large.c ---- */
void large_push(struct large *large, uint64_t delay_us, const struct large_item *item);
void large_run(struct large *large, uint64_t until_us);
void large_start(struct large_node *node);
void large_stop(struct large_node *node); /* it is not there any more, nor what runs on it */
void large_step(struct large_node *node, const struct ph_event *event);
struct large_node *large_node_named(const struct large *large, const struct ph_name *name);
void large_fail(struct large *large, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- large_look.c: the one that looks into core ---- */
uint64_t large_truth(struct large *large); /* a digest of what each hub says of its own */
/* Does each hub that has joined know that, by its digests? One that does not, or NULL. */
struct large_node *large_lags(struct large *large);
unsigned large_owned(struct large_node *node);
unsigned large_busy(struct large *large); /* migrations and claims that are not over */
uint64_t large_beat_ms(const struct large_node *node);
/*
 * Is every child owned by one node that is there, as all of them know, and run by exactly one
 * process?
 */
bool large_complete(struct large *large);

/* ---- large_story.c ---- */
/* 0: all held and the figures are in *ret; 1: `large: why` was printed. */
int large_play(unsigned nodes, unsigned children, uint64_t seed, struct large_result *ret);

#endif
