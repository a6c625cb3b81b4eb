/*
 * slot.h - one record a key that was ever heard of, and what it is made of.
 *
 * A hub may know 100,000 keys, and works on a few hundred of them. So what all slots have is kept
 * small (see the assertion in slot.c), names of nodes stand once a hub (struct ph_node), and what
 * few slots have is an object of its own (struct ph_work): read it through `slot->work`, which is
 * never NULL, and write to what ph_slot_work() gives. Slots live as long as their hub, in blocks,
 * in the order in which they were made. Tested by test_core_slot.c.
 */
#ifndef PH_CORE_SLOT_H
#define PH_CORE_SLOT_H

#include "core/hub.h"

struct ph_hub;
struct ph_child;
struct ph_member;
struct ph_instance;
struct ph_source;
struct ph_target;

/* ---- names of nodes ---- */

struct ph_node {
	struct ph_name name;
	uint64_t hash;		  /* of the name, mixed */
	struct ph_member *member; /* of that name, or NULL */
	uint64_t digest;	  /* of its part of the registry, as it is here */
	uint16_t seat;		  /* place.c; 0: it takes no children */
	bool owner;		  /* a slot's entry has named it */
	bool used;		  /* while what nobody names is being looked for */
	UT_hash_handle hh;
};

/* ---- what few slots have ---- */

struct ph_work {
	struct ph_instance *instance; /* this node's worker of it, active or to be */
	struct ph_source *source;     /* this node gives it away */
	struct ph_target *target;     /* this node takes it */
	struct ph_claim *claim;	      /* this node asks for it */
	struct ph_move *move;	      /* it is to go, and does not yet */
	struct ph_node *local_of;     /* placement local: whose it is; else nobody */
	const char *meta;	      /* of the entry; owned */
	uint64_t copied_ms;	      /* of the entry */
	uint64_t given_version;	      /* of our part, when we gave it away; 0: we did not */
	uint64_t unowned_ms;	      /* an entry that nobody owns any more: since when */
	uint64_t forced;	      /* revision whose placement an order to move it here went
					 against; 0: none */
	uint64_t planned_ms;	      /* its owner, here, last asked whether it is to follow */
	uint64_t placed_ms;	      /* unowned, and placement named nobody until then; or 0 */
	uint64_t passed_on_ms, passed_on_hash; /* left to others: when, and with which text */
	uint64_t conflict_told; /* epoch of the loser that was last told of to people, here */
	struct ph_node *rival;	/* whose copy lost against the one here, and that has not said yet
				   what became of it; or nobody */
	uint64_t rival_epoch, rival_ms; /* its epoch; when they met */
	uint64_t above;		   /* it goes above that epoch before it is moved again; or 0 */
	uint64_t move_wait_ms;	   /* back-off of its failed migrations */
	uint32_t move_failures;	   /* of its migrations since the last that went well */
	uint32_t move_attempt;	   /* downtime budgets missed */
	uint64_t busy_since_ms;	   /* its worker has said `busy` since */
	uint64_t service_until_ms; /* after a missed downtime budget: not moved before */
	struct ph_id void_id;
	uint64_t granted;	      /* highest epoch granted by this node; 0: none */
	struct ph_node *granted_to;   /* nobody: it was given up again */
	struct ph_node *granted_by;   /* who asked for it */
	struct ph_node *granted_past; /* the owner, held for dead, that it went past; or nobody */
	/* Two flags, as wide as they are so that there is no padding: ph_slot_trim() compares
	 * bytes. */
	uint32_t granted_synced;
	uint32_t granted_open; /* in the hub's list of them */
};

/* ---- what all slots have ---- */

struct ph_held { /* of a struct ph_entry, what is kept; its other fields are the slot's */
	struct ph_node *node; /* nobody: not entered */
	uint64_t epoch, version, revision;
	uint64_t born_ms;
	uint32_t pid, restarts;
	uint8_t state, role, lineage; /* enum ph_child_state, ph_role, ph_lineage */
	struct {
		uint8_t kind; /* enum ph_exit_kind */
		uint8_t value;
	} exit;
	bool ready : 1, stopped_by_wish : 1, unfit : 1, local : 1, done : 1;
};

struct ph_slot {
	struct ph_child *child; /* child, number and replica are the key */
	const struct ph_work *work;
	uint32_t number, replica;
	uint32_t no;	   /* its place in the hub's list of slots */
	uint32_t swept;	   /* sweep in which its owner spoke of it last */
	uint64_t seen;	   /* highest epoch known, granted or journalled */
	uint64_t born_ms;  /* the newest beginning from nothing that was heard of */
	uint64_t since_ms; /* entry.state since; not entered: nobody owns it since, as far as is
			      known; 0: not looked at */
	struct ph_held entry;
	uint16_t place; /* seat of the node where placement wants it; 0: nowhere */
	uint16_t
		favourite; /* seat of the node that comes first in its order of nodes; 0: unknown */
	uint16_t wishes;   /* changes of wish_stopped by orders, as far as its owner knows; at the
			      owner it goes up with each */
	bool local : 1;	   /* one a node: that of work->local_of */
	bool restored : 1; /* `seen` is what an earlier daemon knew; nothing was heard since */
	bool had : 1;	   /* somebody was named as its owner at that epoch */
	bool wish_stopped : 1;
	bool wish_untold : 1;		/* a stop, given here before this node had joined */
	bool seen_dirty : 1, dirty : 1; /* to be journalled with the next batch, cast with the
					   next flush */
	bool raised : 1;		/* ... above what the lost journal may have said, once */
	bool entered : 1;		/* `entry` is in the registry */
	bool starting : 1;		/* its epoch is being synced before the start */
};

#define PH_SLOT_BLOCK 256

struct ph_slots {
	struct ph_slot **blocks; /* of PH_SLOT_BLOCK */
	uint32_t n;
	uint32_t *siblings; /* of each slot the next one of its child: no + 1; 0: none */
	uint32_t *table;    /* open addressing by the hash of the key: no + 1; 0: free */
	uint32_t room;	    /* of the table, a power of 2 */
	struct ph_work no_work;
	struct ph_node *nodes, nobody, *self;
	size_t nodes_most; /* beyond it those that nobody names are looked for */
};

/* A list of slots, kept in the order in which they came: their numbers, as it may be of all. */
struct ph_slot_list {
	uint32_t *nos;
	size_t n, room;
};

void ph_slots_init(struct ph_hub *hub);
void ph_slots_free(struct ph_hub *hub);
struct ph_slot *ph_slot_first(const struct ph_hub *hub); /* in the order of their making */
struct ph_slot *ph_slot_next(const struct ph_hub *hub, const struct ph_slot *slot);
/* Those of one child, in the same order. */
struct ph_slot *ph_slot_first_of(const struct ph_hub *hub, const struct ph_child *child);
struct ph_slot *ph_slot_next_of(const struct ph_hub *hub, const struct ph_slot *slot);
struct ph_slot *ph_slot_at(const struct ph_hub *hub, uint32_t no);
/* `local`: the node, for placement local; NULL: placed. */
struct ph_slot *ph_slot_find(
	const struct ph_hub *hub, const struct ph_key *key, const struct ph_name *local);
struct ph_slot *ph_slot_get(
	struct ph_hub *hub, const struct ph_key *key, const struct ph_name *local);

struct ph_key ph_slot_key(const struct ph_slot *slot);
#define PH_SLOT_KEY(slot) ((struct ph_key[]){ph_slot_key(slot)}) /* as long as the block lasts */
uint64_t ph_slot_hash(const struct ph_slot *slot);		 /* ph_key_hash() of its key */
/* Its entry in full, as of its last change; `meta` is the slot's. */
struct ph_entry ph_slot_entry(const struct ph_slot *slot);
/* What few slots have, to be written to. */
struct ph_work *ph_slot_work(struct ph_hub *hub, struct ph_slot *slot);
/* Frees that where all of it is as if it had never been set. */
void ph_slot_trim(struct ph_hub *hub, struct ph_slot *slot);
void ph_slot_list_add(struct ph_slot_list *list, const struct ph_slot *slot);
void ph_slot_list_clear(struct ph_slot_list *list); /* its memory too */

/* The one of that name; it lasts while a slot, a member or this step names it. */
struct ph_node *ph_node_get(struct ph_hub *hub, const struct ph_name *name);
void ph_nodes_forget(struct ph_hub *hub); /* between two steps: those that nobody names */

#endif
