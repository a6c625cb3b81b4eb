/*
 * sim.h - another shell around the production core: one process, one virtual clock, many hubs.
 *
 * Decides what the world does to the hubs (delays, losses, crashes, what workers and clients do)
 * from one seed, and checks after each step what PROTOCOL.md says must hold. It must not know how
 * core decides; check_inside.c alone looks at where placement wants a key. The same seed gives the
 * same run. Nodes, processes, streams and migrations live until the end of the run, so events may
 * point at them; an event for a daemon that has ended since carries its generation and is dropped.
 */
#ifndef PH_SIM_H
#define PH_SIM_H

#include "core/hub.h"

#include <stdio.h>

#define SIM_NODES 5
#define SIM_DEFS 16
#define SIM_KEYS 48
#define SIM_PLAN 96
#define MS UINT64_C(1000) /* microseconds */
#define SEC UINT64_C(1000000)

struct sim;
typedef void sim_fn(struct sim *sim, void *arg);

/* ---- what a run is made from ---- */

#define SIM_STORIES(X) \
	X(JOIN, "join") \
	X(COLD, "cold") \
	X(DRAIN, "drain") \
	X(MOVE, "move") \
	X(CRASH, "crash") \
	X(MIXED, "mixed") \
	X(HEAL, "heal") /* from here on: only asked for by name, so that older seeds stay */ \
	X(CANCEL, "cancel") \
	X(FORGET, "forget") \
	X(MEMBER, "member") \
	X(LATE, "late") \
	X(OWN, "own") \
	X(SWAP, "swap") \
	X(GROUP, "group") \
	X(ADDED, "added") \
	X(TEXTS, "texts")
enum sim_story {
#define X(name, word) STORY_##name,
	SIM_STORIES(X)
#undef X
	STORY_COUNT
};

/* X(name, is it a fault); those that are no faults are orders and the life of nodes */
#define SIM_DEEDS(X) \
	X(NODE_START, false) \
	X(MOVE, false) \
	X(DRAIN, false) \
	X(UNDRAIN, false) \
	X(SHUTDOWN, false)     /* `x` ms until it starts again, 0: never */ \
	X(DAEMON_CRASH, true)  /* after `k` more actions; back after `x` ms */ \
	X(MACHINE_CRASH, true) /* the same; `x` 0: never */ \
	X(JOURNAL_LOST, true)  /* a daemon crash after which the journal cannot be read */ \
	X(KILL_OLD, true)      /* the active process of a key */ \
	X(KILL_NEW, true)      /* its standby, if there is one */ \
	X(BUS_RESTART, true) \
	X(SUSPEND, true) /* the daemon does not run for `x` ms */ \
	X(CUT, true)	 /* both ways, for `x` ms */ \
	X(CUT_ONE_WAY, true) \
	X(SPLIT, true) /* the nodes of mask `k` from the others, for `x` ms; odd `x`: one way */ \
	X(CUT_FOREVER, true) /* `x` 0: both ways; it outlasts the healing */ \
	X(HANG_UP, true)     /* the control connection of a key's process breaks */ \
	X(STREAM_BREAK, true) \
	X(DISK_FAIL, true) \
	X(CANCEL, false) /* a migration: the last of a key, or the `other`th that runs */ \
	X(FORGET, false) /* `other`, once it is gone for good; again until it is done */

/* deed_more.c: those of the stories `member`, `late` and `own` */
#define SIM_MORE_DEEDS(X) \
	X(RESTART, false) /* orderly, back after `x` ms; odd `k`: then with a slot of its own */ \
	X(CLOCK, true)	  /* the daemon dies, and the wall clock is `k` hours off when it is back; \
			     odd `x`: its number is lost as well */ \
	X(NUMBER_DISK, true) /* the next higher number takes `x` ms to sync; odd `k`: and fails */ \
	X(NUMBER_CRASH, true) /* the daemon dies between making such a number and its sync, ... */ \
	X(START_CRASH, true)  /* ... or between making that of its start and its sync */ \
	X(JUMP, true)	      /* its clock of this boot jumps ahead by `x` ms; odd `k`: its fence \
				 is the first to see it */ \
	X(LAG, true)	      /* for `x` ms the loop stands still now and then */ \
	X(BUS_LOOP, true)     /* for `x` ms its bus process aborts as soon as it runs */ \
	X(HOLD, true) /* a cut (odd `k`: one way) after which what was sent comes all the same */ \
	X(REPLAY, true)	 /* recordings of the network are sent again, `x` of them */ \
	X(DAMAGE, true)	 /* a daemon crash after which one record of the journal is unreadable */ \
	X(FILE, false)	 /* the file of `node` has variant `x` of the child of `key`; 0: none */ \
	X(FILES, false)	 /* ... of all nodes, those that are down too */ \
	X(STOP, false)	 /* an order */ \
	X(BEGIN, false)	 /* an order `start` */ \
	X(SWAP, false)	 /* an order; what is to befall a node from then on is for the owner's */ \
	X(ADD, false)	 /* the child of `key`, in no file, by order on `node` */ \
	X(REMOVE, false) /* the same */ \
	X(UNFIT, true)	 /* nodes of the mask `x` cannot start the child of `key` */ \
	X(SPREAD, false) /* as FILE, by `reload --cluster`; odd `k`: the other nodes' files have \
			    it as well, and are not read */ \
	X(SLOW_DISK, true)  /* for `x` ms a sync takes up to a second */ \
	X(SLOW_SPAWN, true) /* for `x` ms a start takes up to 3 s */

enum sim_deed_kind {
#define X(name, fault) DEED_##name,
	SIM_DEEDS(X)
	SIM_MORE_DEEDS(X)
#undef X
		DEED_COUNT
};

/* What is counted beside the deeds; all of them in the course of `--count`. */
#define SIM_COUNTS(X) \
	X(PROOF, "joins proved after a challenge") \
	X(SLOT_REFUSED, "refusals of a slot that is taken") \
	X(NAME_REFUSED, "refusals of a second node of a name") \
	X(YIELDED, "nodes that gave way to another one of their name") \
	X(SECOND_IN, "second nodes that took the place of the first") \
	X(JOINS_TOGETHER, "joins within settle of another join or leave") \
	X(RAISED, "higher numbers taken and synced") \
	X(RAISE_FAILED, "higher numbers that could not be synced") \
	X(AHEAD, "starts with the clock far ahead") \
	X(BACK, "starts with the clock set back") \
	X(NUMBER_LOST, "starts without the stored number") \
	X(JUMPED, "clocks of a boot that jumped ahead") \
	X(HANG_SHORT, "hangs shorter than fence_after") \
	X(HANG_FENCE, "hangs longer than that, shorter than failure_timeout") \
	X(HANG_LONG, "hangs longer than failure_timeout") \
	X(FENCED_ALIVE, "fences that fired beside a hung daemon") \
	X(FENCED_DEAD, "fences that fired without a daemon") \
	X(KEPT, "daemons away for longer than fence_after whose workers were kept") \
	X(STOOD_STILL, "loops that noticed that they stood still") \
	X(VERDICT, "verdicts of death") \
	X(FALSE_VERDICT, "verdicts of death about one that lives") \
	X(LATE, "messages that came late, after a cut") \
	X(DUPLICATE, "messages that came twice") \
	X(REPLAYED, "recordings that a restarted daemon took") \
	X(PROBE, "indirect probes") \
	X(RELAYED, "messages passed on by a third node") \
	X(TORN, "journals with a torn end") \
	X(SYNC_FAILED, "syncs that failed") \
	X(LOST, "journals lost") \
	X(DAMAGED, "journals damaged") \
	X(REMOVED, "removals of a child, a node") \
	X(TOMBSTONE, "tombstones of children told") \
	X(DIFFERS, "files that differed from the text in force at the end") \
	X(UNFIT, "starts on an unfit node") \
	X(BUSY, "workers that said busy") \
	X(NEVER, "workers that said never") \
	X(INCOMPATIBLE, "workers that said incompatible") \
	X(REJECT, "new workers that rejected the state") \
	X(CONFLICT, "conflicts resolved") \
	X(LAST_WORDS, "fetches of what a dead node had said") \
	X(LEFT_TARGET, "targets that were leaving")

enum sim_count {
#define X(name, words) COUNT_##name,
	SIM_COUNTS(X)
#undef X
	COUNT_COUNT
};

struct sim_counts {
	uint64_t deeds[DEED_COUNT], of[COUNT_COUNT];
	uint64_t at[DEED_COUNT][PH_BKIND_COUNT]; /* deeds that waited for such a message */
};

#define SIM_FORGETS (UINT64_C(1) << 32) /* in the ticket of a FORGET, which is repeated */

struct sim_deed {
	struct sim *sim;
	uint64_t at_us;
	enum sim_deed_kind kind;
	enum ph_bkind
		when; /* not at that time, but at the next such message after it; NONE: at it */
	unsigned node, other, key, k;
	uint64_t x;
	bool off, waiting;
	uint64_t ticket; /* CANCEL: of the command, ... */
	struct ph_id id; /* ... and what it means */
};

struct sim_options {
	unsigned nodes, children; /* 0: by seed */
	int story;		  /* -1: by seed */
	bool trace, faultless_only;
	uint64_t fault_mask;
	enum ph_partition partition;
};

/* ---- the world ---- */

struct sim_traits {	    /* how the workers of one child behave until the healing begins */
	bool plain, notify; /* knows no protocol */
	bool incompatible;
	unsigned unfit; /* nodes on which it cannot be started, a bit a node */
	uint32_t caps;
	uint64_t boot_ms, think_ms;
	unsigned busy, reject; /* so many times */
	bool never;
	bool crashy, deaf; /* deaf: ignores stop and the stop signal */
	bool mute;	   /* does not answer handover_start */
	bool shy;	   /* as a standby says no hello */
	bool handles;	   /* says retention_handled */
	bool leaves;	   /* exits by itself on abort */
};

#define SIM_INTENSITY 8
struct sim_restarts { /* of a group on one node, in one life of its daemon */
	uint32_t gen, n;
	uint64_t at_ms[SIM_INTENSITY];
};

#define SIM_VARIANTS 6 /* of a text; the older stories have two */
struct sim_change {    /* what another variant says instead; 0: as the first one does */
	unsigned instances;
	uint64_t process;
	char nodes[SIM_NODES * 4];
	bool no_swap;
};

struct sim_def {
	char after[96], members[32];
	struct sim_restarts restarts[SIM_NODES];
	struct ph_spec spec; /* as in `texts[0]` */
	char texts[SIM_VARIANTS][32];
	struct sim_change changes[SIM_VARIANTS];
	unsigned last;	  /* story `texts`: the variant that all are to have in the end; 0: any */
	bool removable;	  /* files of nodes change */
	uint64_t removed; /* story `added`: up to which revision it is known to be removed */
	struct sim_traits traits;
};

struct sim_ack {
	bool acked, may_be_lost;
};

#define SIM_CLAIMS 64
struct sim_claim { /* of `node` while it is `gen`, for `epoch` */
	const struct sim_node *node;
	uint32_t gen;
	uint64_t epoch, asked_us, asked, free, against; /* the last three: a bit a node */
};

struct sim_key { /* a key, its client and its history */
	struct sim_def *def;
	struct ph_key key;
	uint32_t next; /* number of the update that the client applies next */
	struct sim_ack *acks;
	size_t n_acks;
	uint32_t target_pid; /* where the client thinks it is; 0: to be looked up */
	uint64_t acked_at_us;
	uint64_t max_epoch;
	unsigned max_epoch_node;
	uint64_t max_epoch_up; /* the nodes that ran then: a bit each, the last one for all more */
	bool stopped_by_order;
	bool ordered; /* to stop, or to start again: the last order is in force everywhere */
	/* rules.c: claims, and of each node the last `void` heard and the owner's epoch known */
	struct sim_claim claims[SIM_CLAIMS];
	unsigned next_claim;
	struct ph_id void_id[SIM_NODES];
	uint32_t void_gen[SIM_NODES], known_gen[SIM_NODES];
	uint64_t known[SIM_NODES];
};

enum sim_hand {
	HAND_IDLE,
	HAND_GRANTED,
	HAND_SENDING,
	HAND_FROZEN,
	HAND_COMMITTED,
	HAND_LOADING,
	HAND_LOADED,
	HAND_REJECTED,
};

struct sim_proc {
	struct sim *sim;
	uint32_t pid;
	struct sim_node *node;
	struct sim_key *key;
	uint64_t wid; /* of the daemon of generation `gen` */
	uint32_t gen;
	uint64_t env_epoch;
	enum ph_role env_role;
	bool alive, exiting, forgotten; /* forgotten: reaped */
	bool adopted;			/* not a child of the present daemon */
	bool fenced;			/* its node's fence has sent it SIGTERM */
	bool unwanted;	  /* told to stop when people did not want it any more, as it was */
	uint64_t process; /* of the text with which it was started */
	bool claimable;
	bool alone; /* by a node to which nobody could tell of the epochs before */

	/* control connection */
	uint32_t conn; /* 0: none */
	uint32_t conns;
	uint64_t to_daemon_us, to_worker_us;
	bool greeted;

	enum ph_role role;
	uint64_t epoch;
	bool serving, frozen, was_ready, muted, misbehaves;
	enum sim_hand hand;
	uint32_t task;
	struct ph_id id;
	uint64_t id_epoch;
	uint32_t round;
	bool final, streaming, whole, ended;
	uint64_t bytes;
	struct ph_wmsg last;

	uint32_t root;	  /* pid of the process that began its state from nothing ... */
	uint64_t root_us; /* ... and when it did */

	uint32_t *items; /* updates in the order in which they were applied */
	size_t n_items, room;
	size_t n_sent;
	uint32_t *got; /* the round that was read */
	size_t n_got;
	char meta[32];
	uint64_t committed_us, retention_ms; /* told so first ... */
	uint64_t committed_ms;		     /* ... by its node's clock */
	struct sim_node *heir;		     /* and whose worker is the new one */
	bool handled, stop_seen;
	struct sim_proc *next; /* all of the run, newest first */
};

struct sim_record {
	struct ph_record record;
	char *text;
	uint64_t ticket;
};

struct sim_disk {
	struct sim_record *v;
	size_t n, room, synced, batch;
	bool busy, failed, fail_next, lost, retry;
	size_t answers; /* on their way to core */
	uint64_t slow_until_us;
	struct ph_id id;
};

struct sim_seen { /* a line of the state file */
	struct ph_adopted adopted;
	char meta[32];
	struct sim_def *def;
	const char *text;
};

struct sim_node {
	struct sim *sim;
	unsigned no, who; /* who: the first node of its name */
	uint32_t slot;
	bool shares_slot;	   /* with a node of another name, until it heeds the hint */
	uint8_t file[SIM_DEFS];	   /* variant of each child that its file has; 0: none */
	uint64_t had_us[SIM_DEFS]; /* until then, as its daemon knew; 0: it never had it */
	uint64_t ended_us;	   /* its last daemon did */
	struct ph_name name;
	char address[PH_ADDRESS_SIZE];
	uint64_t base_ms;
	bool up;	    /* the machine */
	struct ph_hub *hub; /* NULL: no daemon */
	uint32_t gen;
	uint64_t incarnation, stored; /* stored: synced */
	int64_t clock_ms;	      /* its wall clock is off by so much */
	uint64_t number_us;	      /* the next higher number takes so long to sync, ... */
	bool number_fails, number_crash, start_crash; /* ... fails, or the daemon dies first */
	bool damaged;
	uint64_t lag_until_us, bus_loop_us, spawn_slow_until_us;
	uint64_t suspended_us;
	bool starting, shutting, gone; /* gone: not to come back */
	bool hearing;		       /* this step is that of a message */
	uint64_t back_ms;

	int crash_in; /* actions until it crashes; -1: not armed */
	struct sim_deed crash;

	uint8_t secret[PH_SECRET_SIZE]; /* of its tickets, for the life of one daemon */
	struct sim_disk disk;
	struct sim_seen seen[256];
	size_t n_seen;
	uint64_t seen_us; /* when it was written last, ... */
	bool seen_late;	  /* ... and that it will be once more, a while after that */

	bool bus_up, seeds_on;
	uint32_t bus_gen;
	bool linked[SIM_NODES];
	uint64_t link_us[SIM_NODES];
	unsigned n_peers;
	const char *peers[SIM_NODES + 2];
	uint64_t tick_us;
	uint64_t lease_ms; /* as its fence knows it */
	bool fence_armed;
	bool spent;	  /* the fence has fired while no daemon was there */
	bool fenced;	  /* the fence has fired, and the daemon has not heard of it */
	uint64_t calm_us; /* last moment at which something was wrong with it */
};

struct sim_round {
	uint32_t *items;
	size_t n;
	bool fed, wanted, done;
};

struct sim_end {
	bool open, failed;
	uint32_t gen;
	struct sim_node *node;
	uint64_t wid;
	uint8_t ticket[PH_SECRET_SIZE];
};

#define SIM_ROUNDS 16
struct sim_stream {
	struct sim *sim;
	struct ph_id id;
	struct sim_end a, b;
	bool connected, busy;
	bool kept;	 /* of a conflict: what the worker feeds goes to a file */
	bool hooked;	 /* ... which the hook has, or had; */
	bool merged;	 /* ... and has ended well */
	uint64_t cut_us; /* since when no byte moves; 0: moving */
	struct sim_round rounds[SIM_ROUNDS];
	struct sim_stream *next;
};

struct sim_mig { /* what was seen of a migration from outside */
	struct ph_id id;
	struct sim_key *key;
	struct sim_node *a, *b;
	bool final_synced, prepared_synced, abort_sent, voided, never, active_synced;
	bool abort_unheard; /* O was dead when it was first sent, and A had not heard of that */
	/* rules.c: what has left A or was told; what A and B have heard, a bit a kind */
	bool final_left, commit_left, void_told, dropped;
	uint64_t epoch, heard[2];
	enum ph_bkind asked; /* COMMIT or ABORT, unanswered by B since; 0: answered */
	uint64_t asked_us, asked_last_us;
	uint32_t asked_gen;
	uint32_t cancelled_gen; /* the life of A in which a `cancel` of it was done; 0: none was */
	struct sim_proc *old;
	struct sim_mig *next;
};

struct sim {
	struct sim_options opt;
	uint64_t seed, rng;
	enum sim_story story;
	bool faultless;
	unsigned loss_percent, dup_percent;
	unsigned fanout; /* of gossip; 0: broadcast */
	uint64_t exchange_ms;
	uint64_t changed_us, registry_sum; /* when a node last changed its own part */
	struct sim_heard {
		uint64_t version, since_us; /* of a part: then it had come so far at its author */
		uint32_t gens[2];
	} heard[SIM_NODES][SIM_NODES]; /* by who is to hear of it, and its author */
	uint64_t now_us, end_us, seq;
	struct sim_item *heap;
	size_t n_heap, heap_room;
	unsigned n_nodes, n_defs, n_keys;
	struct sim_node nodes[SIM_NODES];
	struct sim_def defs[SIM_DEFS];
	struct sim_key keys[SIM_KEYS];
	struct sim_proc *procs;
	struct sim_stream *streams;
	struct sim_mig *migs;
	struct sim_deed plan[SIM_PLAN];
	unsigned n_plan;
	uint64_t cut_us[SIM_NODES][SIM_NODES]; /* until then nothing passes; UINT64_MAX: for ever */
	bool no_dial[SIM_NODES][SIM_NODES];
	uint64_t hold_us[SIM_NODES][SIM_NODES]; /* until then what does not pass is held */
	uint64_t late_us;			/* when the last of it comes */
	struct sim_tape *tape;			/* late.c: recordings */
	bool keep;				/* orphans: keep */
	uint64_t joined_us, left_us;		/* when a node last did */
	struct sim_counts counts;
	uint32_t last_pid;
	uint64_t last_ticket;
	unsigned open_answers, bad_answers;
	bool skewed; /* the nodes' clocks are seconds apart */
	bool false_verdict, healing, never_back;
	uint64_t founded;	/* digest of the first view; 0: there is none */
	bool refounded;		/* ... and another one, by a machine that was set up anew */
	bool forgotten;		/* an operator's `forget` was done */
	bool fenced;		/* workers were ended because a lease was lost */
	bool lax;		/* a journal was lost or failed: only what serves is sure */
	unsigned journals_lost; /* twice: epochs raised after the first are forgotten as well */
	unsigned fired;		/* faults */
	unsigned calm_polls;
	uint64_t hash, steps, acks, migrations_done, migrations_aborted;
	bool failed, over;
	char why[256];
};

/* ---- world.c: time, chance, trace ---- */
void sim_after(struct sim *sim, uint64_t delay_us, sim_fn *fn, void *arg, void (*drop)(void *));
uint64_t sim_random(struct sim *sim);
uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high); /* both ends included */
bool sim_chance(struct sim *sim, unsigned percent);
void *sim_alloc(size_t n); /* zeroed; ends the program without memory */
/* The first one counts; the run ends. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_mix(struct sim *sim, uint64_t a, uint64_t b);
void sim_loop(struct sim *sim);
void sim_fini(struct sim *sim);

/* ---- copy.c ---- */
struct sim_letter;
struct sim_letter *sim_letter_new(struct sim *sim, const struct ph_bmsg *msg);
struct sim_letter *sim_letter_keep(struct sim_letter *letter);
const struct ph_bmsg *sim_letter_of(const struct sim_letter *letter);
/* A heartbeat that this hub has just cast: what its echoes are is kept beside it. */
void sim_letter_means(struct sim_letter *letter, const struct ph_hub *hub);
/* ph_step() with messages out of letters; false: it did not read from one what that means. */
bool sim_letter_step(struct ph_hub *hub, const struct ph_event *event, uint64_t now_ms,
	struct ph_actions *ret, char *why, size_t size);
void sim_letter_drop(void *letter);
size_t sim_letters_most(
	void); /* bytes of those that were on their way at once, since the last call */
struct sim_def *sim_def_of_text(struct sim *sim, const char *text);

/* ---- node.c: daemons ---- */
void sim_node_start(struct sim_node *node);
void sim_node_crash(struct sim_node *node); /* as node->crash says */
void sim_node_step(struct sim_node *node, const struct ph_event *event);
void sim_node_exit(struct sim_node *node);
void sim_node_bus(struct sim_node *node, uint64_t delay_us); /* its bus process is up then */
/* An event for the daemon that runs now, after `delay_us`; `owned` is released afterwards. */
void sim_node_push(struct sim_node *node, uint64_t delay_us, const struct ph_event *event,
	void (*release)(void *), void *owned);
/* Of two of one name the one that has joined, with the higher number. */
struct sim_node *sim_node_named(struct sim *sim, const struct ph_name *name);
/* It runs and is kept out by another one of its name. */
bool sim_node_outside(const struct sim_node *node);
bool sim_check_knows(const struct sim_node *node, const struct sim_key *key);
/* By whom it was started: one that did not run then, and nobody is here who knows of its key. */
bool sim_check_alone(const struct sim_proc *proc);
bool sim_node_twin(const struct sim_node *node); /* another one of its name has run */
void sim_node_configure(struct sim_node *node, bool spread);
void sim_node_raise(struct sim_node *node, uint64_t incarnation); /* INCARNATION */
struct sim_key *sim_key_of(struct sim *sim, const struct ph_key *key);
uint64_t sim_node_ms(const struct sim_node *node);
void sim_node_see(struct sim_node *node); /* writes the state file */
/* What a daemon makes of that text; false: it is no child's. */
bool sim_spec_of_text(struct sim *sim, const char *text, struct ph_spec *ret);
const char *sim_def_text(const struct sim_def *def, unsigned variant);
/* The same words where they are kept for as long as the run lasts. */
const char *sim_def_kept(const struct sim_def *def, const char *words);

/* ---- late.c: what the network still has ---- */
bool sim_late_hold(struct sim_node *from, struct sim_node *to, struct sim_letter *letter,
	uint64_t incarnation); /* false: it is lost */
/* It was launched, and comes to this life of the receiver; 0: to none. */
void sim_late_record(struct sim_node *from, struct sim_node *to, struct sim_letter *letter,
	uint64_t incarnation, uint32_t gen);
void sim_late_replay(struct sim *sim, uint64_t n);
void sim_late_fini(struct sim *sim);

/* ---- fence.c ---- */
void sim_fence_lease(struct sim_node *node, uint64_t until_ms);
void sim_fence_jumped(struct sim_node *node); /* the clock did: is the lease over? */

/* ---- act.c: one action ---- */
void sim_act(struct sim_node *node, const struct ph_action *action);

/* ---- disk.c ---- */
void sim_disk_write(struct sim_node *node, const struct ph_action *action);
void sim_disk_crash(struct sim_node *node);
void sim_disk_restore(struct sim_node *node);
void sim_disk_compact(struct sim_node *node);
void sim_disk_fini(struct sim_node *node);

/* ---- net.c ---- */
bool sim_net_passes(const struct sim *sim, const struct sim_node *from, const struct sim_node *to);
/* Directed, as the SEND says, with `msg` for its message. */
void sim_net_send(struct sim_node *from, const struct ph_action *action, const struct ph_bmsg *msg);
void sim_net_cast(struct sim_node *from, const struct ph_bmsg *msg);
void sim_net_link(struct sim_node *from, const struct ph_name *to, const char *address);
void sim_net_unlink(struct sim_node *from, const struct ph_name *to);

/* ---- proc.c: processes; worker.c: what they say ---- */
/* It begins to run after `slow_us`. */
struct sim_proc *sim_proc_new(
	struct sim_node *node, uint64_t wid, const struct ph_spawn *spawn, uint64_t slow_us);
struct sim_proc *sim_proc_of_wid(struct sim_node *node, uint64_t wid);
struct sim_proc *sim_proc_of_pid(struct sim *sim, uint32_t pid);
enum sim_death {
	DEATH_FAULT,
	DEATH_SELF,
	DEATH_CORE,
	DEATH_FENCE /* what it held may be lost: a copy may be given up before its end is heard */
};
void sim_proc_die(struct sim_proc *proc, enum sim_death why, struct ph_exit exit);
void sim_proc_signal(struct sim_proc *proc, int number);
void sim_proc_leave(struct sim_proc *proc, uint64_t delay_us); /* exits by itself */
void sim_proc_reap(struct sim_node *node, uint64_t wid);
void sim_proc_apply(struct sim_proc *proc, const uint32_t *items, size_t n);
void sim_proc_serve(struct sim_proc *proc); /* recomputes `serving` */
void sim_proc_connect(struct sim_proc *proc, uint64_t delay_us);
void sim_proc_hang_up(struct sim_proc *proc, bool tell);
void sim_proc_say(struct sim_proc *proc, const struct ph_wmsg *msg);
void sim_proc_hear(struct sim_proc *proc, const struct ph_wmsg *msg); /* TELL */
void sim_proc_free(struct sim_proc *proc);
/* `fn` after `delay_us`, unless the process has died or turned to another task. */
void sim_proc_think(struct sim_proc *proc, uint64_t delay_us, void (*fn)(struct sim_proc *proc));
void sim_worker_hello(struct sim_proc *proc);
void sim_worker_hears(struct sim_proc *proc, const struct ph_wmsg *msg);
void sim_worker_eof(struct sim_proc *proc, const struct ph_id *id, uint32_t round,
	const uint32_t *items, size_t n);
void sim_worker_lost(struct sim_proc *proc); /* its connections are gone */

/* ---- stream.c ---- */
void sim_stream_act(struct sim_node *node, const struct ph_action *action);
void sim_stream_hook(struct sim_node *node, const struct ph_action *action);
void sim_stream_ticket(
	const struct sim_node *node, const struct ph_id *id, uint8_t ret_ticket[PH_SECRET_SIZE]);
void sim_stream_feed(struct sim_proc *proc, uint32_t round, const uint32_t *items, size_t n);
void sim_stream_want(struct sim_proc *proc, uint32_t round);
void sim_stream_node_lost(struct sim_node *node);
void sim_stream_break(struct sim *sim, unsigned pick);
uint64_t sim_digest(const uint32_t *items, size_t n);

/* ---- client.c ---- */
void sim_clients_start(struct sim *sim);

/* ---- check.c, check_end.c, check_inside.c ---- */
void sim_check_serving(struct sim_proc *proc); /* it has begun to serve */
void sim_check_epoch(struct sim_proc *proc);
void sim_check_death(struct sim_proc *proc, enum sim_death why);
void sim_check_aborted(struct sim_node *node, const struct ph_emit *emit);
bool sim_cancelled(const char *text);		/* is that why a migration ended? */
void sim_check_stopped(struct sim_proc *proc);	/* a retired process has ended */
void sim_check_unwanted(struct sim_proc *proc); /* core tells it to stop, or signals it */
void sim_check_replaced(struct sim_proc *proc); /* core has told a serving one to go */
void sim_check_verdict(struct sim_node *node, const struct ph_emit *emit);
void sim_check_joined(struct sim_node *node);
void sim_check_state(struct sim_proc *proc);
struct sim_mig *sim_mig_of(struct sim *sim, const struct ph_id *id);
bool sim_check_hears(const struct sim_node *node, const struct ph_bmsg *msg); /* not stale */
void sim_check_end(struct sim *sim);	       /* polls until all is well or the time is over */
void sim_check_lease(struct sim_node *node);   /* does another one of its name have one as well? */
bool sim_check_quorate(const struct sim *sim); /* enough of the view live to have a quorum */
bool sim_check_placed(struct sim_node *node, char *why, size_t size);
/* Enough of the newest view live to choose the next one? */
bool sim_check_votes(const struct sim *sim);
/* Does it know nothing of that node any more? */
bool sim_check_forgotten(const struct sim_node *node, const struct sim_node *gone);
/* Do all hubs have the same registry? `ret_sum` changes whenever a node changes its own part. */
bool sim_check_registry(struct sim *sim, uint64_t *ret_sum, char *why, size_t size);
/*
 * Has each hub what each other one has said up to `limit_us` ago, whatever else has changed since?
 * `anew`: from now on.
 */
bool sim_check_heard(struct sim *sim, uint64_t limit_us, bool anew, char *why, size_t size);

/* ---- check_echo.c ---- */
/* What that hub knows of each member, as a heartbeat would tell it in full; the caller's. */
struct ph_echo *sim_echo_lines(const struct ph_hub *hub, size_t *ret_n);
bool sim_echo_news(const struct ph_hub *hub, const struct ph_bmsg *msg); /* it will be read */
bool sim_echo_shared(const struct sim_node *node); /* what it hears may be meant for another one */
bool sim_check_echo(const struct ph_hub *hub, const struct ph_bmsg *msg,
	const struct ph_echo *lines, size_t n, char *why, size_t size);

/* ---- calm.c: membership alone; the arguments of main, the exit status ---- */
int sim_calm(int argc, char **argv);

/* ---- rules.c ---- */
void sim_rules_send(struct sim_node *node, const struct ph_name *to, const struct ph_bmsg *msg);
void sim_rules_heard(struct sim_node *node, const struct ph_bmsg *msg); /* before its step */
void sim_rules_record(struct sim_node *node, const struct ph_record *record);
void sim_rules_tell(struct sim_proc *proc, const struct ph_wmsg *msg);
void sim_rules_stop(struct sim_proc *proc); /* told to stop, or signalled */
void sim_rules_changed(struct sim_node *node, const struct ph_key *name);

/* ---- count.c ---- */
void sim_count(struct sim *sim, enum sim_count what);
void sim_count_add(struct sim_counts *to, const struct sim_counts *from);
void sim_count_show(const struct sim_counts *counts);

/* ---- story_more.c ---- */
void sim_story_more_nodes(struct sim *sim); /* after the nodes, before the children */
void sim_story_more(struct sim *sim);
void sim_story_swap_nodes(struct sim *sim);
void sim_story_swap(struct sim *sim);

/* ---- story_group.c ---- */
void sim_story_group(struct sim *sim);
void sim_group_spawn(struct sim_node *node, const struct ph_spawn *spawn);
void sim_group_emit(struct sim_node *node, const struct ph_emit *emit);

/* ---- story_added.c ---- */
void sim_story_added(struct sim *sim);
void sim_added_add(struct sim *sim, struct sim_deed *deed);
void sim_added_remove(struct sim *sim, struct sim_deed *deed);
bool sim_added_there(const struct sim *sim, const struct sim_def *def); /* of any node left */
void sim_added_look(struct sim *sim); /* at the end: nothing has come back */

/* ---- story_texts.c ---- */
void sim_story_texts_children(struct sim *sim, struct sim_def *def, unsigned instances);
void sim_story_texts(struct sim *sim);
void sim_texts_last(struct sim *sim); /* nothing bad happens any more: the last texts are spread */
bool sim_texts_rest(const struct sim *sim, char *why, size_t size);

/* ---- deed_more.c ---- */
typedef void sim_deed_fn(struct sim *sim, struct sim_deed *deed);
extern sim_deed_fn *const sim_more_deeds[DEED_COUNT];

/* ---- story.c, deed.c ---- */
struct sim_deed *sim_story_add(struct sim *sim, enum sim_deed_kind kind, uint64_t at_us);
struct sim_deed *sim_story_fault(struct sim *sim, enum sim_deed_kind kind, uint64_t at_us);
enum ph_bkind sim_story_message(struct sim *sim);
void sim_story_partition(struct sim *sim, uint64_t at_us);
void sim_deed_count(struct sim *sim, const struct sim_deed *deed);
bool sim_deed_order(struct sim *sim, struct sim_deed *deed, enum ph_verb verb);
void sim_story_make(struct sim *sim);
void sim_deed_arm(struct sim *sim, struct sim_deed *deed);
void sim_deed_message(struct sim_node *from, const struct ph_name *to, const struct ph_bmsg *msg);
void sim_deed_heal(struct sim *sim);
extern const char *const sim_deed_names[];
extern const bool sim_deed_is_fault[];
extern const char *const sim_story_names[];

#endif
