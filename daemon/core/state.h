/*
 * state.h - the inside of a hub, shared by core's own files and by nobody else.
 *
 * What always holds: objects name each other by id or by a pointer that the owner clears; an
 * object is freed only when no action can name it any more (ph_out_bury). One record (struct
 * ph_slot) stands for each key that was ever heard of; everything that this node does about the key
 * hangs off it.
 */
#ifndef PH_CORE_STATE_H
#define PH_CORE_STATE_H

#include "core/objects.h"
#include "core/place.h"

struct ph_chunk;

struct ph_hub {
	struct ph_settings set;
	uint64_t now_ms;
	uint64_t rng[2];
	uint64_t numbers; /* tickets, claim and order numbers, wids */

	/* outbox */
	struct ph_chunk *arena;
	struct ph_action *out;
	size_t n_out, out_cap, out_done;
	struct ph_bmsg **own; /* said in this step to the other side of a swap; swap.h */
	size_t n_own, own_cap;
	void **graves;
	const struct ph_spec **spec_graves;
	size_t n_spec_graves, spec_graves_cap;
	size_t n_graves, graves_cap;

	struct ph_timer **heap;
	size_t n_heap, heap_cap;

	bool started, shutting, stopping, exiting, ready_told;
	bool hurry; /* told a second time to stop: all children at once */
	uint64_t drain_deadline_ms, stopping_ms;
	uint64_t stop_look_ms; /* shutdown.c: when all was looked at last */
	enum ph_member_state self_state;
	bool draining, drained, drain_planned;
	uint32_t sweeps; /* of members' parts, so far */
	bool bus_down;
	uint64_t bus_down_ms;
	bool drain_force;
	bool drain_wish;    /* an operator's, kept over restarts */
	bool missed_absent; /* heartbeat.c: once after a restart */
	bool blind;	    /* not all of `peers` had answered when this node joined */
	uint64_t outdone;   /* highest epoch of those that refused it, which it may not hear of */
	uint64_t started_ms, join_until_ms, join_tried_ms;
	struct ph_member *members; /* without this node */
	uint32_t last_no;	   /* highest number of a member so far ... */
	uint32_t *free_nos;	   /* ... and those of the forgotten ones */
	size_t n_free_nos;
	struct ph_known *by_name; /* the same, sorted */
	size_t n_by_name, by_name_cap;
	bool renewed;		   /* one of them is new since `wanted` was made */
	struct ph_member **wanted; /* of these, those of whom others' word is wanted */
	size_t n_wanted;
	struct ph_roll rolls[PH_ROLLS], *list, *base; /* roll.c; list: now; base: NULL: none */
	uint64_t misfit_told_ms;		      /* a heartbeat that cannot be; 0: none */
	uint64_t sequence;
	uint64_t sent_ms[PH_SENT_RING], sent_version[PH_SENT_RING]; /* what it said of our part */
	uint64_t last_beat_ms, beat_ms; /* beat: from there to the next one */
	struct ph_timer beat, hello, plan, flush, moves_timer, exchange, stir, stop;
	uint64_t hello_wait_ms, hello_at_ms; /* at: the last one */
	bool strangers;			     /* others hear somebody whom this node does not know */
	uint64_t names_ms;		     /* when it last asked, or was told, whom others know */
	uint64_t arrivals;		     /* how often a member became live */
	uint64_t unheard; /* how often its loop stood still, or its bus was gone */
	uint64_t refused_ms, refused_said_ms; /* by another node; 0: never */
	struct ph_name refused_by;
	uint64_t name_refused_ms, yield_at_ms; /* yield.c; at: 0: nobody refuses its name */
	uint64_t refuse_said_ms;	       /* of another node by this one */
	uint64_t clashed; /* life of another node of its name that kept this one out; 0: none */
	uint64_t raising; /* incarnation that is being synced; 0: none ... */
	uint64_t raise_again_ms;	 /* ... or is to be again, as it failed; 0: it is not */
	struct ph_challenge *challenges; /* oldest first */
	size_t n_challenges;
	struct ph_tomb *tombs; /* by name, and oldest first */
	uint64_t swept_ms;     /* tomb.c: members that left long ago were last looked for */
	bool away;	       /* the loop stood still: in step again only after a fetch */

	/* quorum strategies */
	struct ph_view view;
	struct ph_ballot ballot;
	uint64_t vote_view, promised, accepted; /* this node's word on the next view, as synced */
	char *accepted_value;			/* owned, or NULL */
	uint64_t ballots;			/* counter of the highest ballot seen */
	uint64_t want_ms;			/* since when the view should be another one */
	uint64_t lease_until_ms;		/* as last computed */
	bool lease_held;			/* as last told to people */
	bool view_exists;			/* somebody has said that it has one */
	bool lost_open;		   /* what hung on a journal that is lost is not settled yet */
	uint64_t seat, first_life; /* seat.c: the life that the view let in; that of the start */
	bool stranger;		   /* the view in force names another one's life in its place */
	bool given_up;		   /* it is on its way out of the view, and has no lease any more */
	struct ph_name unseated;   /* loses its place by what this node has accepted, or none */
	struct ph_name held;	   /* ... or would, and has no lease renewed so long: */
	uint64_t held_until_ms;
	uint64_t removed_until_ms; /* so long may one that is no member have a lease by our echo */
	bool forgetful; /* what this node granted before is lost: it grants nothing yet */
	struct ph_slot_list grants; /* granted, and not known to be taken up */
	uint64_t reminded_ms;	    /* owners that were held for dead were last told of them */
	uint64_t leaving_ms;	    /* since when an orderly end waits for the others */

	bool asking;			     /* dropped.c: there are questions to be repeated */
	uint64_t proposals_at_ms;	     /* propose.c: told again; 0: none */
	uint64_t texts_at_ms, texts_wait_ms; /* child.c: texts are asked for again; at 0: none */
	size_t texts_first;		     /* ... from which of those that are missing on */
	uint64_t placed; /* place.c: digest of what the places were computed from; 0: anew */
	struct ph_places places;
	uint64_t planned_ms; /* plan.c: when it was last looked where all that is owned belongs */
	uint64_t version, digest, migrations_version; /* of this node's part */
	struct ph_child *children;
	struct ph_slots slots;
	struct ph_slot_list dirty;	/* whose entries are to be cast, in order */
	struct ph_slot_list seen_dirty; /* whose epochs are to be journalled, in order */
	uint32_t n_mine;		/* entries that this node owns, at `mine_version` */
	uint64_t mine_version;
	uint64_t flushed_version, flushed_migrations; /* what was cast */
	bool flush_now;
	uint64_t looks;	 /* after.c: moves on with each change that may count ... */
	bool look_again; /* ... and there was one in this step */
	struct ph_group *groups;
	bool group_look;	       /* the turn of others of them may have come */
	struct ph_instance *instances; /* all */
	struct ph_instance *waiting;   /* those that wait for what they are started after */
	struct ph_instance *by_wid;
	struct ph_source *sources;
	struct ph_target *targets;
	struct ph_settled *settled; /* until it has started; settled.h */
	struct ph_claim *claims;
	size_t n_unasked; /* of them, those that have asked nobody yet, or are to ask again */
	struct ph_conflict *conflicts;	      /* in the order of their turns */
	uint64_t asked_again, asked_again_ms; /* batch of claims, and when */
	struct ph_move *moves;
	struct ph_order *orders;
	struct ph_done_order *done_orders; /* ring of PH_DONE_ORDERS */
	size_t next_done_order;
	struct ph_wait *waits;
	struct ph_history *history, *history_by_id; /* newest first */
	bool sources_died;	    /* some of it is presumed, as its source is dead */
	size_t n_history, n_waited; /* waited: attempts that found no slot free */
	uint64_t dropped;	    /* messages that named too much, since that was told ... */
	uint64_t dropped_told_ms, forgot_ms; /* ... and when; when members were last forgotten */
};

/* Are these two the same node? */
static inline bool ph_is_self(const struct ph_hub *hub, const struct ph_name *node)
{
	return ph_name_equal(&hub->set.node, node);
}

/* ---- out.c: actions, memory of a step, random bits, timers ---- */
void *ph_out_alloc(struct ph_hub *hub, size_t n);	 /* zeroed, lives until the next step */
char *ph_out_text(struct ph_hub *hub, const char *text); /* NULL stays NULL */
struct ph_action *ph_out(struct ph_hub *hub, enum ph_action_kind kind);
void ph_out_bury(struct ph_hub *hub, void *object); /* free() once all actions are delivered */
void ph_out_bury_spec(struct ph_hub *hub, const struct ph_spec *spec); /* NULL is allowed */
void ph_out_begin(struct ph_hub *hub);
void ph_out_end(struct ph_hub *hub, struct ph_actions *ret);
void ph_out_free(struct ph_hub *hub);
void *ph_must(void *p); /* ends the process where p is NULL */
uint64_t ph_random(struct ph_hub *hub);
struct ph_id ph_random_id(struct ph_hub *hub);
uint64_t ph_jitter(struct ph_hub *hub, uint64_t ms, uint32_t percent);	       /* ms +- percent */
void ph_timer_set(struct ph_hub *hub, struct ph_timer *timer, uint64_t at_ms); /* NEVER: off */
struct ph_timer *ph_timer_due(struct ph_hub *hub); /* taken off the heap, or NULL */
struct ph_bmsg *ph_send(struct ph_hub *hub, const struct ph_name *to, enum ph_bkind kind);
/* To whoever listens there, which need not be a member. */
struct ph_bmsg *ph_send_there(
	struct ph_hub *hub, const struct ph_member_info *to, enum ph_bkind kind);
/* With a copy by way of `via`; NULL: without. */
struct ph_bmsg *ph_send_via(struct ph_hub *hub, const struct ph_name *to, const struct ph_name *via,
	enum ph_bkind kind);
/* The same message to one more member. */
void ph_send_also(struct ph_hub *hub, const struct ph_name *to, const struct ph_bmsg *msg);
struct ph_bmsg *ph_cast(struct ph_hub *hub, enum ph_bkind kind);
struct ph_wmsg *ph_tell(struct ph_hub *hub, struct ph_instance *instance, enum ph_wop op);
void ph_complain(struct ph_hub *hub, struct ph_instance *instance, const char *code,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
struct ph_emit *ph_emit(struct ph_hub *hub, enum ph_emit_kind kind, const struct ph_key *key);
void ph_log(struct ph_hub *hub, enum ph_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Writes and syncs; the ticket comes back in JOURNALLED. */
uint64_t ph_journal(struct ph_hub *hub, const struct ph_record *record);
static inline uint64_t min_ms(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void ph_reason(char to[PH_REASON_SIZE], const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same, cut at the same length, in a text of its own that replaces *to (NULL: there is none).
 * What it is made from may be the old one. */
void ph_reason_keep(char **to, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ph_reason_drop(char **to);

/*
 * ---- limit.c: does what the message names fit? If not, people and where need be its sender are
 * told, and it is to be dropped. ----
 */
bool ph_limit_pass(struct ph_hub *hub, const struct ph_bmsg *msg);
/* Forgets the members that `old` says are, and that nothing here names any more. */
void ph_limit_forget(
	struct ph_hub *hub, bool (*old)(const struct ph_hub *, const struct ph_member *));

/* ---- registry.c; slot.h: the slots themselves ---- */
/* Since when nobody owns it, as far as is known; 0: it is owned, or has not been looked at. */
uint64_t ph_slot_unowned_ms(const struct ph_slot *slot);
void ph_slot_set_unowned(struct ph_hub *hub, struct ph_slot *slot, uint64_t at_ms);
void ph_slot_seen(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch);
/* ... and when the newest state of it that was heard of began; heal.h. */
void ph_slot_born(struct ph_hub *hub, struct ph_slot *slot, uint64_t born_ms);
/* It has a worker here, or one about to be; not one that waits for a claim. */
bool ph_slot_busy(const struct ph_slot *slot);
/* Somebody owns it, as far as this node knows: it is neither given up nor removed. */
bool ph_slot_owned(const struct ph_slot *slot);
bool ph_slot_mine(const struct ph_hub *hub, const struct ph_slot *slot);
/* Nobody owns it, and the word of who did last is known; ... and that was this node. */
bool ph_slot_released(const struct ph_slot *slot);
bool ph_slot_released_here(const struct ph_hub *hub, const struct ph_slot *slot);
/* Its worker has ended, and its policy starts no other: not here, and not where it goes. */
bool ph_slot_done(const struct ph_slot *slot);
/* What is known here of its last owner; ... and what others know: the newest counts. */
struct ph_past ph_slot_past(const struct ph_slot *slot);
void ph_past_join(struct ph_past *past, const struct ph_past *other);
/* This node owns it from now on. */
void ph_slot_own(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch, enum ph_lineage lineage);
/* This node has learned (or decided) that somebody else owns it; `born_ms`: 0 not known; heal.h. */
void ph_slot_give(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *node,
	uint64_t epoch, uint64_t born_ms);
/* Its new owner's word is here already: it is passed on as part of ours, in case that owner dies.
 */
void ph_slot_vouch(struct ph_hub *hub, struct ph_slot *slot);
void ph_slot_release(struct ph_hub *hub, struct ph_slot *slot);
void ph_slot_remove(struct ph_hub *hub, struct ph_slot *slot, uint64_t revision); /* a tombstone */
void ph_slot_forget(struct ph_hub *hub, struct ph_slot *slot); /* its entry is no more */
/* The entry follows the instance; cast with the next flush. */
void ph_slot_publish(struct ph_hub *hub, struct ph_slot *slot);
uint32_t ph_registry_mine(struct ph_hub *hub); /* entries that this node owns */
/* What `author` says of a key, as `from` has told it: false where it was no news. */
bool ph_registry_apply(struct ph_hub *hub, const struct ph_name *author, const struct ph_name *from,
	const struct ph_entry *e);
/* Its part has come as a whole: what was not in it is not its own. */
void ph_registry_sweep(struct ph_hub *hub, const struct ph_member *member);
void ph_registry_forget_node(struct ph_hub *hub, struct ph_member *member); /* new incarnation */
void ph_registry_journal(struct ph_hub *hub); /* a batch of SEEN records */
struct ph_record ph_slot_record(const struct ph_slot *slot);
uint64_t ph_registry_highest(const struct ph_hub *hub); /* epoch of any child, as seen */
uint64_t ph_next_epoch(struct ph_hub *hub, const struct ph_slot *slot);

/* ---- history.c ---- */
/* The source of these migrations is gone: none of them runs any more, as far as is known. */
void ph_history_presume(struct ph_hub *hub, const struct ph_name *source, enum ph_result result,
	const char *reason);
/* It has a new owner: that may tell how a migration ended whose source is dead. */
void ph_history_owned(struct ph_hub *hub, const struct ph_slot *slot);
/* An attempt that only found no slot free: no migration that failed, and shown to nobody. */
bool ph_history_waited(const struct ph_migration_info *info);
void ph_history_put(struct ph_hub *hub, const struct ph_migration_info *info);
const struct ph_history *ph_history_of(const struct ph_hub *hub, const struct ph_id *id); /* or NULL
											   */

/* ---- exchange.c, exchange_fetch.c: how the registry travels ---- */
void ph_registry_flush(struct ph_hub *hub); /* tell what has changed here */
/* One entry, to whom it matters now. */
void ph_registry_tell(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to);
void ph_registry_tell_of(
	struct ph_hub *hub, const struct ph_entry *entry, const struct ph_name *to);
/* Fetch what is missing of its part, from itself or from who has it. */
void ph_registry_step(struct ph_hub *hub, struct ph_member *member);
/* Does this node hear it, and is it heard? Then it answers for its part itself. */
bool ph_registry_near(const struct ph_hub *hub, const struct ph_member *m);
/* Is all here that it, or who hears it, is known to have of its part? */
bool ph_registry_in_step(const struct ph_hub *hub, const struct ph_member *member);
void ph_exchange_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_exchange_run(struct ph_hub *hub); /* the timer: a full exchange with one member */
void ph_exchange_start(struct ph_hub *hub);

/* What that member has said of that one, if it is of the same incarnation; or NULL. */
const struct ph_report *ph_exchange_report(
	const struct ph_member *by, const struct ph_member *member);

/* ---- tombstone.c ---- */
bool ph_tombstone(const struct ph_child *child); /* it was removed, and nobody here wants it */
void ph_tombstones_drop(struct ph_hub *hub);	 /* whose time is over */
/* NULL: all others. */
void ph_tombstone_tell(struct ph_hub *hub, const struct ph_child *child, const struct ph_name *to);
void ph_tombstones_tell(struct ph_hub *hub, const struct ph_name *to); /* all of them */
/* The operator's wish ends with the child, in the journal before the removal is. */
void ph_tombstone_wish(struct ph_hub *hub, struct ph_slot *slot);
/* ... of all instances of it, up to that revision. */
void ph_tombstone_wishes(struct ph_hub *hub, const struct ph_child *child, uint64_t revision);

/* ---- due.c ---- */
void ph_due_run(struct ph_hub *hub, struct ph_timer *timer); /* it was taken off the heap */

/* ---- member.c ---- */
struct ph_member *ph_member_find(const struct ph_hub *hub, const struct ph_name *name);
bool ph_member_up(const struct ph_hub *hub, const struct ph_name *name); /* or this node */
/* Is that what entry `i` of `peers` says, or where its name leads? */
bool ph_peer_at(const struct ph_hub *hub, size_t i, const char *address);
bool ph_member_live(const struct ph_member *member); /* joining, alive or suspect */
/* Of one that is suspect here: a member that hears it, and is heard; NULL: none, or no need. */
const struct ph_member *ph_member_relay(const struct ph_hub *hub, const struct ph_name *to);
/* Is a live member but that one silent, and does nobody hear it who could pass on what it says? */
bool ph_member_awaited(const struct ph_hub *hub, const struct ph_name *but);
void ph_member_forget(struct ph_hub *hub, struct ph_member *member); /* frees it */
bool ph_member_refused(const struct ph_hub *hub);		     /* not let in, a moment ago */
void ph_member_start(struct ph_hub *hub);
void ph_member_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_member_beat(struct ph_hub *hub);
void ph_member_hello(struct ph_hub *hub);
void ph_member_bus(struct ph_hub *hub, bool up);
void ph_member_peers(struct ph_hub *hub); /* settings' `peers` have changed */
void ph_member_woke(struct ph_hub *hub);  /* did the loop stand still? */
void ph_member_heartbeat_now(struct ph_hub *hub);
bool ph_member_unheard(const struct ph_hub *hub); /* an orderly end waits for that */
void ph_member_leave(struct ph_hub *hub);
/* A message from this incarnation is to be dropped. */
bool ph_member_stale(struct ph_hub *hub, const struct ph_bmsg *msg);

/* ---- forget.c ---- */
/* An operator says that it is switched off for good; until it is back as a new member. */
bool ph_forgotten(const struct ph_hub *hub, const struct ph_name *name);
/* `from` still speaks of that life of a node; `from` is just back and knows of nothing. */
void ph_forget_heard(struct ph_hub *hub, const struct ph_name *from, const struct ph_echo *echo);
void ph_forget_tell(struct ph_hub *hub, const struct ph_name *to);
void ph_forget_beat(struct ph_hub *hub); /* what was promised while there was no lease */

/* ---- join.c: HELLO and its answers; probe.c; tomb.c ---- */
void ph_join_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_join_free(struct ph_hub *hub);
void ph_probe_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_tomb_free(struct ph_hub *hub);
void ph_tomb_restore(struct ph_hub *hub, const struct ph_record *record);
/* What the journal is to say of those that an operator has ordered. */
void ph_tomb_records(const struct ph_hub *hub,
	void (*each)(void *arg, const struct ph_record *record), void *arg);

/* ---- renumber.c ---- */
void ph_renumber_restore(struct ph_hub *hub, const struct ph_record *record);
void ph_renumbered(struct ph_hub *hub, uint64_t incarnation, int error);

/* ---- yield.c ---- */
void ph_yield_refused(struct ph_hub *hub); /* for its name or its slot, and is to give way */
void ph_yield_beat(struct ph_hub *hub);
bool ph_yield_over(const struct ph_hub *hub); /* has it been refused for so long that it must? */

/* ---- child.c: specs ---- */
struct ph_child *ph_child_find(const struct ph_hub *hub, const struct ph_name *name);
struct ph_child *ph_child_get(struct ph_hub *hub, const struct ph_name *name);
const struct ph_spec *ph_child_spec(const struct ph_child *child);
uint64_t ph_child_text_revision(const struct ph_child *child); /* of the text in force; 0: none */
void ph_child_configure(struct ph_hub *hub, const struct ph_config *config);
/* The ticket of its record, 0 where there is none. */
uint64_t ph_child_in_force(struct ph_hub *hub, struct ph_child *child, const struct ph_spec *spec,
	uint64_t revision, bool journal);
/* The text in force asks for fewer of it, or for one a node where this is not, or the other way. */
bool ph_child_surplus(const struct ph_slot *slot);
/* Wanted keys are shown as waiting from the first moment on. */
void ph_child_make_slots(struct ph_hub *hub, const struct ph_spec *spec);
/* This node's own text of it, as a new revision. */
void ph_child_own_in_force(struct ph_hub *hub, struct ph_child *child);
/* A text is in force elsewhere, and asked for: an own one would go above it, unheard. */
bool ph_child_awaited(const struct ph_hub *hub, const struct ph_child *child);
/* What is in force is newer than what its worker was started with, as a migration of it ran. */
void ph_child_catch_up(struct ph_hub *hub, struct ph_slot *slot);
/* Its own text, made the one in force if nothing is. NULL: this node knows no text of it. */
const struct ph_spec *ph_child_settle(struct ph_hub *hub, struct ph_child *child);
void ph_child_message(struct ph_hub *hub, const struct ph_bmsg *msg);
uint64_t ph_child_next_revision(const struct ph_hub *hub, const struct ph_child *child);
bool ph_child_owned_here(const struct ph_hub *hub, const struct ph_child *child);
/* The same, where this node owns one of them. */
bool ph_child_own_counts(struct ph_hub *hub, struct ph_child *child);
/* An operator wants this node's text of it to be the one that all have; `before`: the revision that
 * was in force before this node's file was read. */
void ph_spread(struct ph_hub *hub, struct ph_child *child, uint64_t before);
void ph_propose(struct ph_hub *hub, struct ph_child *child);
void ph_propose_beat(struct ph_hub *hub);
void ph_propose_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_child_beat(struct ph_hub *hub); /* texts that were asked for and have not come */
/* The text that is in force, as the only one of a SPEC. */
void ph_child_put_text(struct ph_hub *hub, const struct ph_child *child, struct ph_bmsg *msg);
void ph_child_redeclare(struct ph_hub *hub); /* START: files that changed meanwhile */
void ph_child_tick(struct ph_hub *hub);	     /* changed texts, and children that were dropped */
/* This node owns it, and the child is removed: its worker is told to go. */
void ph_child_end(struct ph_hub *hub, struct ph_slot *slot, uint64_t revision);
void ph_child_forget(struct ph_hub *hub, struct ph_child *child,
	uint64_t revision); /* restored: it was removed */
/* Its entry says that it was removed: whoever owns some of it asks who still declares it. */
void ph_child_removed(struct ph_hub *hub, const struct ph_name *name, uint64_t revision,
	const struct ph_name *by);
/* The text of that revision, or an older one, is in force no more. The ticket of the record, or 0.
 */
uint64_t ph_child_gone(struct ph_hub *hub, const struct ph_name *name, uint64_t revision);
void ph_child_revision(struct ph_hub *hub, const struct ph_name *name, uint64_t revision,
	const struct ph_name *from);

/* No file here has it, and that node has said that its own does: kept in the journal. */
void ph_child_declared_by(struct ph_hub *hub, struct ph_child *child, const struct ph_name *node);
/* The same text, above its tombstone. */
void ph_child_live_on(struct ph_hub *hub, struct ph_child *child);

/* ---- dropped.c ---- */
/* The file here does not have it (any more): who declares it? Nobody: it is removed. */
void ph_dropped_ask(struct ph_hub *hub, struct ph_child *child);
void ph_dropped_beat(struct ph_hub *hub); /* the questions themselves */
/* That node has removed a lower revision than the one in force here. */
void ph_dropped_rival(
	struct ph_hub *hub, struct ph_child *child, uint64_t revision, const struct ph_name *by);
void ph_dropped_message(struct ph_hub *hub, const struct ph_bmsg *msg); /* DROPPED, DECLARED */
void ph_dropped_look(struct ph_hub *hub, struct ph_child *child); /* with each look of the plan */

/* ---- added.c ---- */
/* Its text in force was added at run time: no file declares it. */
bool ph_child_is_added(const struct ph_child *child);
/* Its workers here are told to go, and a tombstone is left, told to all (`tell`): the ticket of its
 * record, or 0. */
uint64_t ph_added_remove(struct ph_hub *hub, struct ph_child *child, bool tell);
void ph_added_synced(struct ph_hub *hub, uint64_t number, bool ok); /* a record of that order */

/* ---- stranded.c ---- */
/* Its own text changed here and is not in force: it may count now. */
void ph_child_changed(struct ph_hub *hub, struct ph_child *child);

/* ---- instance.c ---- */
struct ph_instance *ph_instance_new(struct ph_hub *hub, struct ph_slot *slot,
	const struct ph_spec *spec, enum ph_role role, uint64_t epoch);
void ph_instance_step(struct ph_hub *hub, struct ph_instance *instance, enum ph_instance_input in);
void ph_instance_event(struct ph_hub *hub, const struct ph_event *event);
void ph_instance_free(struct ph_hub *hub, struct ph_instance *instance);
void ph_instance_free_owned(struct ph_instance *instance); /* what it points to; not its spec */
/* It was started from that text under another revision. */
void ph_instance_revise(struct ph_instance *instance, uint64_t revision);
/* It was told `resume`: it answers within stop_timeout, and without a connection a while later. */
void ph_instance_await_resumed(struct ph_hub *hub, struct ph_instance *instance);
bool ph_instance_has_process(const struct ph_instance *instance);
/* The registry names this node for a worker that an earlier daemon prepared: it is activated. */
void ph_instance_named(struct ph_hub *hub, struct ph_slot *slot);
void ph_instance_adopt(struct ph_hub *hub, const struct ph_adopted *adopted);
/* In back-off, or after its limit: it is started at `due_ms`, but waits no longer than its text
 * lets it, which may be another one by now, as the clock may be. */
void ph_instance_wait_on(struct ph_hub *hub, struct ph_instance *instance, uint64_t due_ms);
enum ph_child_state ph_instance_shown(const struct ph_instance *instance);

/* ---- health.c: probes, for readiness and while it runs ---- */
void ph_health_enter(struct ph_hub *hub, struct ph_instance *instance); /* it has a new state */
uint64_t ph_health_at(const struct ph_instance *instance); /* the next probe, or PH_NEVER_MS */
void ph_health_due(struct ph_hub *hub, struct ph_instance *instance); /* probe, if it is time */
void ph_health_probed(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_event *event);

/* ---- policy.c ---- */
struct ph_tally ph_policy_tally(const struct ph_instance *instance);
/* Goes on with what an earlier daemon has counted. */
void ph_policy_resume(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_tally *tally);
/* Its process has ended as it has, and the policy has no more for it. */
bool ph_policy_ends(const struct ph_instance *instance);
/* Wait before the next start, in ms; PH_NEVER_MS: not again (`*failed` tells why). */
uint64_t ph_policy_next(struct ph_hub *hub, struct ph_instance *instance, bool *failed);
/* Its text is another one, whose policy counts for what has ended, or waits, too. */
void ph_policy_changed(
	struct ph_hub *hub, struct ph_instance *instance, const struct ph_restart *before);

/* ---- place.c ---- */
/*
 * Sets `place` of every wanted slot of a placed (not local) child. false: that goes on with the
 * next call, in another step, and until it has ended places are partly of the members there were
 * before.
 */
bool ph_place_all(struct ph_hub *hub);
const struct ph_name *ph_slot_place(const struct ph_hub *hub, const struct ph_slot *slot);
void ph_place_mark(const struct ph_hub *hub); /* the nodes that it names are `used` */
void ph_places_init(struct ph_hub *hub);
void ph_places_free(struct ph_hub *hub);
/* May a worker of this spec run on that member (or this node)? */
bool ph_place_allows(struct ph_hub *hub, const struct ph_spec *spec, const struct ph_name *name);
/* The best place for a child of this node among those to which its own link is well; or NULL. */
const struct ph_name *ph_place_reached(struct ph_hub *hub, const struct ph_slot *slot);
/* Does `a` come before `b` in the key's own order of nodes? */
bool ph_place_before(const struct ph_key *key, const struct ph_name *a, const struct ph_name *b);

/* ---- plan.c ---- */
void ph_plan_soon(struct ph_hub *hub, uint64_t wait_ms);
void ph_plan_run(struct ph_hub *hub);
void ph_plan_drained(struct ph_hub *hub);

/* ---- move.c ---- */
void ph_moves_run(struct ph_hub *hub);
void ph_moves_room(struct ph_hub *hub); /* one of migrations_max is free: the next one's turn */
struct ph_move *ph_move_add(struct ph_hub *hub, struct ph_slot *slot, const struct ph_name *to,
	uint64_t order, bool force);
void ph_move_drop(struct ph_hub *hub, struct ph_move *move);
/* By an operator: it ends, and is not planned again at once. */
void ph_move_cancel(struct ph_hub *hub, struct ph_move *move);
/* A node begins another life: what failed so far says nothing of it. */
void ph_moves_anew(struct ph_hub *hub, const struct ph_name *to);
void ph_moves_unpin(struct ph_hub *hub); /* a drain is ordered: what was cancelled goes as well */
/* A migration ended: what was wanted is wanted again later, or done. */
void ph_plan_migrated(struct ph_hub *hub, struct ph_source *source);
/* Whoever follows an order reads in the reason whether it goes on: it must not say so in vain. */
void ph_plan_last_word(const struct ph_hub *hub, struct ph_source *source);
bool ph_plan_tried_again(const char *reason); /* of an abort: an order of it goes on */
/* Its worker has said `busy` for defer_max: it is not asked again before the next plan. */
bool ph_plan_busy_for_good(struct ph_hub *hub, struct ph_source *source);
bool ph_plan_movable(struct ph_hub *hub, const struct ph_slot *slot);
/* `handover: true` refuses a worker that cannot. */
bool ph_plan_hands_over(const struct ph_hub *hub, const struct ph_instance *instance);

/* ---- claim.c ---- */
struct ph_claim *ph_claim_start(struct ph_hub *hub, struct ph_slot *slot, enum ph_claim_basis basis,
	const struct ph_name *node, const struct ph_id *id, uint64_t epoch);
void ph_claim_drop(struct ph_hub *hub, struct ph_claim *claim);
void ph_claim_run(struct ph_hub *hub); /* ask, in batches, what was started in this step */
void ph_claim_deadline(struct ph_hub *hub, struct ph_claim *claim);
void ph_claim_put(const struct ph_claim *claim, struct ph_claim_line *line); /* what it asks */
void ph_claim_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_claims_forgive(struct ph_hub *hub, uint64_t ms); /* for so long it could not hear */
void ph_claim_member_gone(struct ph_hub *hub, const struct ph_member *member);

/* An answer of that number has come: FREE counts as that node's word for it. */
void ph_claim_answered(struct ph_hub *hub, struct ph_claim *claim, uint32_t no);
/* claim_asked.c: somebody's claims are answered. */
void ph_claim_asked(struct ph_hub *hub, const struct ph_bmsg *msg);

/* ---- quorum.c: the view, the lease ---- */
bool ph_quorate(const struct ph_hub *hub); /* a quorum strategy is in force */
uint32_t ph_quorum_of(const struct ph_hub *hub, uint32_t size);
bool ph_quorum_has(const struct ph_view *view, const struct ph_name *name);
void ph_lease_end(struct ph_hub *hub);
char *ph_quorum_text(const struct ph_view *view); /* the caller's */
/* Is this node's view number `number` too? If not, the one that is behind is helped on. */
bool ph_quorum_same(struct ph_hub *hub, const struct ph_name *other, uint64_t number);
bool ph_lease_valid(const struct ph_hub *hub); /* always so without a quorum strategy */
/* It has one, and another node of its name, with those that do not hear this one, cannot. */
bool ph_lease_alone(const struct ph_hub *hub);
/* No lease of that member can rest on this node any more, and its fence has done its work. */
bool ph_lease_over(const struct ph_hub *hub, const struct ph_member *m);
/* It is dead for this node, and what ran there has been stopped by its fence since. */
bool ph_fenced(const struct ph_hub *hub, const struct ph_name *name);
/* It is dead for this node, and its fence may need so long still; 0: no, or nobody holds it so. */
uint64_t ph_fence_left_ms(const struct ph_hub *hub, const struct ph_name *name);
void ph_quorum_start(struct ph_hub *hub);
void ph_quorum_beat(struct ph_hub *hub);				  /* once a heartbeat */
void ph_quorum_heard(struct ph_hub *hub, const struct ph_member *member); /* its heartbeat */
void ph_quorum_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_quorum_restore(struct ph_hub *hub, const struct ph_record *record);
void ph_quorum_free(struct ph_hub *hub);

/* ---- choose.c: which view there should be ---- */
/* Who joins has a view: let in or not, there was a cluster before this node came. */
void ph_quorum_exists(struct ph_hub *hub, const struct ph_bmsg *proof);
bool ph_quorum_leaving(struct ph_hub *hub); /* an orderly end waits: it is still in the view */

/* ---- seat.c: whose is the place of a name in the view ---- */
/* A new life has the name of that one, which is as it was: another node, or the same. */
void ph_seat_moves(struct ph_hub *hub, struct ph_member *m, bool elsewhere);
/* What its echo of this node says of the places of both. */
void ph_seat_heard(struct ph_hub *hub, struct ph_member *m, uint32_t flags, uint64_t view);
void ph_seat_removed(struct ph_hub *hub, const struct ph_member *m);
void ph_seat_echoed(struct ph_hub *hub, struct ph_member *m);
bool ph_seat_withheld(const struct ph_hub *hub, const struct ph_member *m); /* from its echo */

/* ---- ballot.c: choosing the next view ---- */
void ph_ballot_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_ballot_synced(struct ph_hub *hub, const struct ph_wait *wait, bool ok);

/* ---- grant.c: what this node has granted ---- */
/* May this node grant it? FREE, or why not. */
enum ph_verdict ph_grant_judge(struct ph_hub *hub, struct ph_slot *slot,
	const struct ph_claim_line *line, const struct ph_name *from);
/* This node's own grant; false: it gives none. Once it is synced: ph_claim_answered. */
bool ph_grant_self(struct ph_hub *hub, struct ph_claim *claim);
/* Answers a CLAIM; with a quorum strategy once the grants are synced. */
void ph_grant_answer(struct ph_hub *hub, const struct ph_name *to, uint64_t number,
	const struct ph_claim_line *lines, size_t n);
void ph_grant_synced(struct ph_hub *hub, struct ph_wait *wait, bool ok);
void ph_grant_given_up(struct ph_hub *hub, const struct ph_claim *claim);
void ph_grant_mark(struct ph_hub *hub); /* from whom a heartbeat withholds the lease */
void ph_grant_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_grant_restore(struct ph_hub *hub, const struct ph_record *record);
/* It leaves: what it alone may know of the highest epochs is told to those who came lately. */
void ph_grant_bequeath(struct ph_hub *hub);

/* ---- source.c, target.c ---- */
struct ph_source *ph_source_start(struct ph_hub *hub, struct ph_move *move);
void ph_source_step(struct ph_hub *hub, struct ph_source *source, enum ph_source_input in);
void ph_source_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_source_worker(struct ph_hub *hub, struct ph_source *source, const struct ph_wmsg *msg);
void ph_source_hello(struct ph_hub *hub, struct ph_source *source);
void ph_source_stream(struct ph_hub *hub, struct ph_source *source, const struct ph_event *event);
/* What the journal is to say of it. */
struct ph_record ph_source_record(const struct ph_source *s, enum ph_record_kind kind);
void ph_source_restore(struct ph_hub *hub, const struct ph_record *record);
void ph_source_restart(struct ph_hub *hub); /* START: go on from what was restored */
void ph_source_deadline(struct ph_hub *hub, struct ph_source *source);
/*
 * O says that it is in a handover, and the journal that would tell how far it got is lost: it stays
 * frozen until a claim gives it back, or shows who owns the child now.
 */
void ph_source_lost(struct ph_hub *hub, struct ph_instance *old, const struct ph_id *id);
bool ph_source_undecided(const struct ph_source *source);
void ph_source_confirmations(struct ph_hub *hub); /* heartbeats have brought `have` forward */
void ph_source_beat(struct ph_hub *hub);	  /* those that are held look again who is silent */
void ph_source_void_ack(struct ph_hub *hub, struct ph_source *source, const struct ph_name *from);

void ph_target_step(struct ph_hub *hub, struct ph_target *target, enum ph_target_input in);
void ph_target_message(struct ph_hub *hub, const struct ph_bmsg *msg);
void ph_target_worker(struct ph_hub *hub, struct ph_target *target, const struct ph_wmsg *msg);
void ph_target_hello(struct ph_hub *hub, struct ph_target *target, const struct ph_wmsg *msg);
void ph_target_stream(struct ph_hub *hub, struct ph_target *target, const struct ph_event *event);
void ph_target_restore(struct ph_hub *hub, const struct ph_record *record);
void ph_target_restart(struct ph_hub *hub);
void ph_target_deadline(struct ph_hub *hub, struct ph_target *target);
/* This node is to have no children: what has not come with its state yet need not come. */
void ph_target_turn_away(struct ph_hub *hub);
/* An operator decides what becomes of the new worker: its end is none that gives the child back. */
void ph_target_wished(struct ph_hub *hub, struct ph_slot *slot);
/*
 * This node gives it away, and it is not decided yet who has it then: nobody starts it here. The
 * end of the migration does, under the epoch that holds then, or the plan by a claim after it.
 */
bool ph_migration_decides(const struct ph_slot *slot);
size_t ph_migrations_in(const struct ph_hub *hub); /* slots taken */
size_t ph_migrations_out(const struct ph_hub *hub);
void ph_lost_write(struct ph_hub *hub, bool open);
void ph_lost_settle(struct ph_hub *hub);
void ph_migration_peer_dead(struct ph_hub *hub, const struct ph_name *name);
/* A node that left for good will never ask again: what was kept for it goes. */
void ph_migration_left(struct ph_hub *hub, const struct ph_name *name);
void ph_migration_peers_dead(struct ph_hub *hub); /* it is in step again: what waited for it */
void ph_migration_peer_restarted(struct ph_hub *hub, const struct ph_name *name);
void ph_migration_peer_back(struct ph_hub *hub, const struct ph_name *name);
void ph_migration_owned(struct ph_hub *hub, struct ph_slot *slot); /* the entry has a new owner */

/* ---- order.c ---- */
void ph_order_command(struct ph_hub *hub, const struct ph_command *command);
/* An order of this node's own: that instance is to be stopped, or started, whoever owns it. */
void ph_order_repeat(struct ph_hub *hub, const struct ph_slot *slot, bool stopped);
void ph_order_detach(struct ph_hub *hub, uint64_t ticket);
void ph_order_message(struct ph_hub *hub, const struct ph_bmsg *msg);
/* Something that orders may wait for has changed: they are looked at in a moment. */
void ph_order_stir(struct ph_hub *hub);
void ph_order_stirred(struct ph_hub *hub); /* ... now */
void ph_order_deadline(struct ph_hub *hub, struct ph_order *order);
/* Its worker, of this node, runs though an operator has ordered that it is stopped: it is, then. */
void ph_order_catch_up(struct ph_hub *hub, struct ph_slot *slot);

/* ---- route.c ---- */
void ph_hub_message(struct ph_hub *hub, const struct ph_bmsg *msg);

/* ---- hub.c ---- */
/* A claim was granted: sync the epoch, then own the key and start its worker. */
void ph_own_start(struct ph_hub *hub, struct ph_slot *slot, uint64_t epoch, enum ph_lineage lineage,
	const struct ph_past *past);
/* Remember that something waits for this journal ticket. */
struct ph_wait *ph_wait_add(struct ph_hub *hub, uint64_t ticket, enum ph_wait_kind kind);

/* ---- shutdown.c ---- */
void ph_shutdown_start(struct ph_hub *hub); /* asked for; a second time: at once, in no order */
void ph_shutdown_check(struct ph_hub *hub); /* it is looked at after each step */
void ph_shutdown_now(struct ph_hub *hub);   /* without a drain */

#endif
