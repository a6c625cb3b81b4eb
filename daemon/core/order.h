/* order.h - what the files of orders share: order.c (who gives them), order_look.c, order_end.c,
 * order_do.c, cancel.c, forget.c, added.c. */
#ifndef PH_CORE_ORDER_H
#define PH_CORE_ORDER_H

#include "core/state.h"

#define PH_ORDER_TRIES 20 /* ORDER without an answer, or without an owner to send it to */

/* ORDER for the line to that node; it is SENT. */
void ph_order_send(struct ph_hub *hub, const struct ph_order *order, struct ph_order_line *line,
	const struct ph_name *to);
struct ph_order_line *ph_order_add_line(struct ph_order *order);	    /* empty, at the end */
void ph_order_add_slot(struct ph_order *order, const struct ph_slot *slot); /* a line for it */

/* ---- order_look.c ---- */
/* Is what the line asked for so? Then it is done, or has failed; a STOP may be open again. */
void ph_order_look(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line);
bool ph_order_moving(struct ph_hub *hub, const struct ph_key *key); /* as far as is known */
struct ph_slot *ph_order_slot(struct ph_hub *hub, const struct ph_order_line *line); /* or NULL */
/*
 * The newest migration of that key from that node: a busy worker is asked again under another id.
 * The list is in the order of arrival; the source's version tells the order in which it happened.
 */
const struct ph_history *ph_order_newest(
	const struct ph_hub *hub, const struct ph_key *key, const struct ph_name *from);

/* ---- order_end.c ---- */
/* Answers, with each line's outcome; the order is gone then. */
void ph_order_finish(struct ph_hub *hub, struct ph_order *order, int error, const char *text);
/* ... of a DRAIN or UNDRAIN: with what has left the node, and why the rest is where it is. */
void ph_order_finish_drain(struct ph_hub *hub, struct ph_order *order);

/* ---- order_do.c ---- */
/*
 * Carries out START, STOP, RESTART or MOVE of a key that this node owns. `ret_id` gets the
 * migration of a MOVE, `why` the reason of an error: -EAGAIN another node owns it, or is about to:
 * to be asked again; -EINVAL it cannot be done.
 */
int ph_order_carry_out(struct ph_hub *hub, struct ph_slot *slot, enum ph_verb verb,
	const struct ph_name *to, bool force, struct ph_id *ret_id, char why[PH_REASON_SIZE]);
/* The same for a signal to the main process of its active worker. */
int ph_order_signal(struct ph_hub *hub, struct ph_slot *slot, int signal, char why[PH_REASON_SIZE]);
/* False, and why: a node that is leaving is drained. */
bool ph_order_set_draining(
	struct ph_hub *hub, bool draining, bool force, char ret_why[PH_REASON_SIZE]);
/* ORDER of another node: carried out, answered, and remembered for a repeat. */
void ph_order_taken(struct ph_hub *hub, const struct ph_bmsg *msg);

/* ---- cancel.c ---- */
/*
 * The migration that a CANCEL means, if it can be cancelled still as far as this node knows; `line`
 * gets its key and id. NULL: the line has failed (or is done: it was cancelled before), or is open
 * and to be looked at again, as nothing has been heard of it yet.
 */
const struct ph_history *ph_cancel_find(
	struct ph_hub *hub, const struct ph_order *order, struct ph_order_line *line);
/*
 * At its source: drops a move that has not begun, or aborts a migration that is not committed.
 * `id` becomes that of its next attempt where there is one. -EBUSY with the reason in `why`: it is
 * committed, has ended, or what the new worker has is all there is; nothing was changed.
 */
int ph_cancel_carry_out(
	struct ph_hub *hub, const struct ph_key *key, struct ph_id *id, char why[PH_REASON_SIZE]);
void ph_cancel_refused(struct ph_order_line *line);		     /* its source said no */
void ph_cancel_look(struct ph_hub *hub, struct ph_order_line *line); /* has it come to its end? */

/* ---- forget.c ---- */
/* At once, with a sentence: ENOENT no such node is known, EBUSY it lives, or there is no quorum. */
int ph_forget_refused(struct ph_hub *hub, const struct ph_name *name, char text[PH_REASON_SIZE]);
void ph_forget_lines(struct ph_hub *hub, struct ph_order *order); /* a line for each who is asked */
void ph_forget_send(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line);
void ph_forget_answered(struct ph_order_line *line);
/* All would: they are asked to, now. False: not all have said so, or they were asked before. */
bool ph_forget_agreed(struct ph_hub *hub, struct ph_order *order);
/*
 * Would this node forget that life of it, and those before it (0: any)? 0, or why not: -EBUSY it
 * lives; -EAGAIN what ran there may still run, or this node is out of step: to be asked again.
 */
int ph_forget_check(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation,
	char why[PH_REASON_SIZE]);
/* Does it, if it would; once more changes nothing. */
int ph_forget_carry_out(struct ph_hub *hub, const struct ph_name *name, uint64_t incarnation,
	char why[PH_REASON_SIZE]);
/* Is the view one without it? */
bool ph_forget_done(const struct ph_hub *hub, const struct ph_name *name);

/* ---- added.c ---- */
/* ADD or REMOVE, with a sentence: ENOENT no such child, EEXIST it exists, EBUSY a file declares it.
 */
int ph_added_refused(struct ph_hub *hub, const struct ph_command *c, char text[PH_REASON_SIZE]);
void ph_added_open(struct ph_hub *hub, struct ph_order *order); /* does it, and makes its lines */
void ph_added_send(struct ph_hub *hub, struct ph_order *order, struct ph_order_line *line);
/* At the owner: it is removed up to that revision. 0: and nothing of it runs here; or -EAGAIN. */
int ph_added_taken(struct ph_hub *hub, const struct ph_name *name, uint64_t revision,
	char why[PH_REASON_SIZE]);
/* What an ADD has added is removed again, since it ends with that error. False: nothing is. */
bool ph_added_undo(struct ph_hub *hub, struct ph_order *order, int error, const char *text);

/* An operator's wish, kept here until somebody owns the key, and over restarts. */
void ph_order_wish(struct ph_hub *hub, struct ph_slot *slot, bool stopped);
/*
 * The text of a child, in force by now, had `before` instances. Where an operator has stopped all
 * of those the child is stopped, and what the text has more is so too.
 */
void ph_order_wish_more(struct ph_hub *hub, const struct ph_child *child, uint32_t before);

#endif
