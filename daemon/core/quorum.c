/*
 * quorum.c - the view of the quorum strategies, and the lease that a quorum of it keeps alive.
 *
 * The view is the numbered list of nodes that count: a node acts on what others could act on too
 * only while a quorum of its view has echoed a heartbeat that it sent less than fence_after ago.
 * Without that lease it claims, commits and activates nothing, gives up what it had prepared, and
 * ends the workers that others may start. choose.c says which view there should be, ballot.c
 * changes it; grant.c grants claims.
 *
 * What always holds: two quorums of one view, or of two views with neighbouring numbers, have a
 * node in common; a view is in the journal before this node acts on it.
 */
#include "core/quorum.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FENCED_PERCENT 105 /* clocks of two machines differ by no more while a lease lasts */
#define FENCED_MORE_MS 250
#define INCARNATION_CHARS 24 /* of a view's text, of each member */

bool ph_quorate(const struct ph_hub *hub)
{
	return hub->set.partition != PH_PARTITION_DIVERGENCE && hub->set.address[0];
}

/* ---- views */

uint32_t ph_quorum_of(const struct ph_hub *hub, uint32_t size)
{
	uint64_t least = 0, half = size / 2 + 1;
	if (hub->set.partition == PH_PARTITION_STATIC_QUORUM)
		least = hub->set.quorum_size;
	if (hub->set.partition == PH_PARTITION_DYNAMIC_QUORUM)
		least = ((uint64_t)size * hub->set.quorum_percent + 99) / 100;
	return (uint32_t)(least > half ? least : half);
}

static int by_name(const void *a, const void *b)
{
	const struct ph_voter *x = a, *y = b;
	return strcmp(x->name.s, y->name.s);
}

void ph_quorum_sort(struct ph_view *view)
{
	qsort(view->voters, view->n, sizeof *view->voters, by_name);
}

const struct ph_voter *ph_quorum_voter(const struct ph_view *view, const struct ph_name *name)
{
	struct ph_voter key = {.name = *name};
	return view->n ? bsearch(&key, view->voters, view->n, sizeof key, by_name) : NULL;
}

bool ph_quorum_has(const struct ph_view *view, const struct ph_name *name)
{
	return ph_quorum_voter(view, name) != NULL;
}

char *ph_quorum_text(const struct ph_view *view)
{
	size_t size = 32 + view->n * (sizeof(struct ph_name) + INCARNATION_CHARS);
	char *text = ph_must(malloc(size));
	size_t n = (size_t)snprintf(text, size, "%u ", view->size);
	for (size_t i = 0; i < view->n; i++) {
		const struct ph_voter *voter = &view->voters[i];
		n += (size_t)snprintf(text + n, size - n, "%s%s", i ? "," : "", voter->name.s);
		if (voter->incarnation)
			n += (size_t)snprintf(text + n, size - n, "@%llu",
				(unsigned long long)voter->incarnation);
	}
	return text;
}

/* `name` or `name@incarnation`. */
static bool read_voter(const char *at, size_t length, struct ph_voter *ret)
{
	size_t n = strcspn(at, ",@");
	const char *digits = at + n + 1;
	*ret = (struct ph_voter){0};
	if (!n || n >= sizeof ret->name.s)
		return false;
	memcpy(ret->name.s, at, n);
	if (n >= length)
		return true;
	size_t n_digits = strspn(digits, "0123456789");
	ret->incarnation = strtoull(digits, NULL, 10);
	return n_digits && n_digits < INCARNATION_CHARS && n + 1 + n_digits == length &&
	       ret->incarnation < PH_EPOCH_LIMIT;
}

bool ph_quorum_read(const char *text, struct ph_view *ret)
{
	struct ph_view view = {0};
	char *end;
	unsigned long n = text ? strtoul(text, &end, 10) : 0;
	if (!n || n > PH_NODES_MAX || *end != ' ')
		return false;
	view.size = (uint32_t)n;
	view.voters = ph_must(calloc(n, sizeof *view.voters));
	for (const char *at = end + 1; *at;) {
		size_t length = strcspn(at, ",");
		bool more = at[length] == ',';
		if (view.n == n || (more && !at[length + 1]) ||
			!read_voter(at, length, &view.voters[view.n]))
			break;
		view.n++;
		at += length + more;
		end = (char *)(uintptr_t)at;
	}
	if (!view.n || *end) {
		free(view.voters);
		return false;
	}
	ph_quorum_sort(&view);
	*ret = view;
	return true;
}

static void use_view(struct ph_hub *hub, uint64_t number, const struct ph_view *view)
{
	free(hub->view.voters);
	hub->view = *view;
	hub->view.number = number;
}

void ph_quorum_forgot(struct ph_hub *hub)
{
	hub->forgetful = true;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		m->grants_known = false;
	ph_lost_write(hub, true); /* the next daemon of this node knows no more of it */
}

static void tell_of_view(struct ph_hub *hub)
{
	const struct ph_view *view = &hub->view;
	size_t size = 1 + view->n * sizeof(struct ph_name), n = 0;
	char *names = ph_must(calloc(1, size));
	for (size_t i = 0; i < view->n; i++)
		n += (size_t)snprintf(
			names + n, size - n, "%s%s", i ? "," : "", view->voters[i].name.s);
	ph_log(hub, PH_LOG_INFO, "view %llu of the cluster, %u of %u %s needed",
		(unsigned long long)view->number, ph_quorum_of(hub, view->size), view->size, names);
	free(names);
}

void ph_quorum_write(struct ph_hub *hub)
{
	char *text = ph_quorum_text(&hub->view);
	struct ph_record record = {.kind = PH_RECORD_VIEW,
		.epoch = hub->view.number,
		.revision = hub->seat,
		.text = ph_out_text(hub, text)};
	free(text);
	(void)ph_journal(hub, &record);
}

void ph_quorum_take(struct ph_hub *hub, uint64_t number, const char *text)
{
	struct ph_view view;
	if (number <= hub->view.number || !ph_quorum_read(text, &view))
		return;
	ph_seat_taken(hub, number, &view);
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if ((m->newcomer_ms || hub->view.number) && ph_quorum_has(&view, &m->info.name) &&
			!ph_quorum_has(&hub->view, &m->info.name))
			m->newcomer_ms = hub->now_ms; /* children may move to it from now on */
	use_view(hub, number, &view);
	ph_quorum_write(hub);
	ph_ballot_over(hub);
	hub->held_until_ms = 0;
	ph_seat_vote(hub);
	tell_of_view(hub);
	ph_plan_soon(hub, hub->set.settle_ms);
}

void ph_quorum_restore(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_view view;
	if (record->kind == PH_RECORD_VIEW) {
		if (record->epoch >= hub->view.number && ph_quorum_read(record->text, &view)) {
			use_view(hub, record->epoch, &view);
			hub->seat = record->revision;
		}
		return;
	}
	hub->vote_view = record->epoch;
	hub->promised = record->hash;
	if (ph_epoch_counter(hub->promised) >
		hub->ballots) /* or this node's own are refused here */
		hub->ballots = ph_epoch_counter(hub->promised);
	hub->accepted = record->revision;
	free(hub->accepted_value);
	hub->accepted_value = record->text ? ph_must(strdup(record->text)) : NULL;
}

void ph_quorum_free(struct ph_hub *hub)
{
	free(hub->view.voters);
	free(hub->ballot.value);
	free(hub->ballot.yes);
	free(hub->accepted_value);
}

/* ---- the lease */

static int newest_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x > y ? -1 : x < y;
}

/*
 * When the heartbeat was sent with which a quorum, this node included, was complete; 0: never. One
 * whose place is another one's, or that has agreed to lose it, has none.
 */
static uint64_t quorum_at(struct ph_hub *hub)
{
	uint32_t need = ph_quorum_of(hub, hub->view.size);
	uint64_t *times = ph_out_alloc(hub, (hub->view.n + 1) * sizeof *times);
	size_t n = 0;
	if (!hub->view.number || !ph_quorum_has(&hub->view, &hub->set.node) || hub->stranger ||
		hub->given_up || ph_seat_lost(hub, &hub->set.node))
		return 0;
	times[n++] = hub->now_ms;
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (m->lease_at_ms && ph_quorum_has(&hub->view, &m->info.name))
			times[n++] = m->lease_at_ms;
	if (n < need)
		return 0;
	qsort(times, n, sizeof *times, newest_first);
	return times[need - 1];
}

bool ph_lease_valid(const struct ph_hub *hub)
{
	return !ph_quorate(hub) || hub->now_ms < hub->lease_until_ms;
}

void ph_lease_end(struct ph_hub *hub)
{
	hub->lease_until_ms = min_ms(hub->lease_until_ms, hub->now_ms);
}

bool ph_lease_alone(const struct ph_hub *hub)
{
	uint32_t rest = (uint32_t)hub->view.n;
	if (!ph_quorate(hub) || !ph_lease_valid(hub))
		return false;
	for (const struct ph_member *m = hub->members; m; m = m->hh.next)
		rest -= ph_member_live(m) && ph_quorum_has(&hub->view, &m->info.name) &&
			m->lease_at_ms + hub->set.fence_after_ms > hub->now_ms;
	return rest < ph_quorum_of(hub, hub->view.size);
}

uint64_t ph_lease_until(const struct ph_hub *hub)
{
	return ph_quorate(hub) ? hub->lease_until_ms : UINT64_MAX;
}

int ph_hub_quorum(const struct ph_hub *hub)
{
	return ph_quorate(hub) ? hub->lease_held : -1;
}

/* Its claims are void, what is prepared is given up, what others may start is ended. */
static void lose(struct ph_hub *hub)
{
	struct ph_target *t, *t_next;
	struct ph_instance *i, *i_next;
	uint64_t kill_ms = hub->lease_until_ms + hub->set.fence_grace_ms;
	HASH_ITER (hh, hub->targets, t, t_next)
		if (t->state < PH_TARGET_ACTIVATING)
			ph_target_step(hub, t, PH_TARGET_IN_ABORT);
	DL_FOREACH_SAFE(hub->instances, i, i_next)
	{
		if (i->spec->local || (i->target && i->target->state < PH_TARGET_ACTIVATING))
			continue;
		i->after = PH_AFTER_DISCARD;
		if (i->state < PH_INSTANCE_STOPPING || i->state > PH_INSTANCE_REAPING)
			ph_instance_step(hub, i, PH_INSTANCE_IN_STOP);
		if (i->slot && i->state == PH_INSTANCE_STOPPING && i->kill_ms > kill_ms) {
			i->kill_ms = kill_ms;
			i->half_grace_ms = min_ms(i->half_grace_ms, hub->now_ms);
			ph_timer_set(hub, &i->timer, i->half_grace_ms ? hub->now_ms : kill_ms);
		}
	}
}

static void tell_people(struct ph_hub *hub, bool held)
{
	hub->lease_held = held;
	ph_emit(hub, held ? PH_EMIT_QUORUM_GAINED : PH_EMIT_QUORUM_LOST, NULL)->peer =
		hub->set.node;
	ph_plan_soon(hub, 0);
}

static void renew(struct ph_hub *hub)
{
	if (!ph_quorate(hub) || !hub->started || hub->exiting)
		return;
	uint64_t at = quorum_at(hub);
	if (at && at + hub->set.fence_after_ms > hub->lease_until_ms)
		hub->lease_until_ms = at + hub->set.fence_after_ms;
	bool valid = ph_lease_valid(hub);
	if (valid && !hub->lease_held && at) {
		tell_people(hub, true);
		hub->away = true; /* what the others did meanwhile is to be known first */
	}
	if (valid)
		return;
	if (hub->lease_held)
		tell_people(hub, false);
	lose(hub); /* also what an earlier daemon of this node left running */
}

uint64_t ph_fence_bound_ms(const struct ph_hub *hub, const struct ph_member *m)
{
	uint64_t fence = hub->set.fence_after_ms + hub->set.fence_grace_ms;
	if (m && m->info.fence_ms > fence) /* it goes by its own settings, not by these */
		fence = m->info.fence_ms;
	return fence * FENCED_PERCENT / 100 + FENCED_MORE_MS;
}

/* When the fence of that node, which is held for dead, has done its work: at last `wait_ms` later
 * than it had its last echo. */
static uint64_t fenced_at(const struct ph_hub *hub, const struct ph_member *m, uint64_t wait_ms)
{
	uint64_t bound = ph_fence_bound_ms(hub, m);
	/* What an earlier daemon of this node echoed is not known: as if it had just done so. */
	uint64_t last = m && m->told_at_ms ? m->told_at_ms : hub->started_ms;
	return last + (bound > wait_ms ? bound : wait_ms);
}

bool ph_lease_over(const struct ph_hub *hub, const struct ph_member *m)
{
	return !ph_quorate(hub) || hub->now_ms >= fenced_at(hub, m, 0);
}

bool ph_fenced(const struct ph_hub *hub, const struct ph_name *name)
{
	const struct ph_member *m = ph_member_find(hub, name);
	if (ph_is_self(hub, name))
		return false;
	if (m && m->state == PH_MEMBER_LEFT)
		return true; /* its orderly end stopped them */
	if (m && ph_member_live(m))
		return false;
	bool dead = m && m->state == PH_MEMBER_DEAD;
	return hub->now_ms >= fenced_at(hub, m, dead ? 0 : hub->set.failure_timeout_ms);
}

uint64_t ph_fence_left_ms(const struct ph_hub *hub, const struct ph_name *name)
{
	const struct ph_member *m = ph_member_find(hub, name);
	uint64_t at = m && m->state == PH_MEMBER_DEAD ? fenced_at(hub, m, 0) : 0;
	return at > hub->now_ms ? at - hub->now_ms : 0;
}

/* ---- the beat, and messages */

void ph_quorum_start(struct ph_hub *hub)
{
	if (!ph_quorate(hub))
		return;
	hub->forgetful = hub->set.journal_lost;
	hub->lease_until_ms = hub->set.lease_until_ms;
	ph_seat_start(hub);
	hub->lease_held = hub->lease_until_ms != 0; /* its end is news, though it was meanwhile */
}

void ph_quorum_beat(struct ph_hub *hub)
{
	if (!ph_quorate(hub) || !hub->started)
		return;
	renew(hub);
	ph_choose_beat(hub);
	ph_ballot_beat(hub);
	ph_grant_beat(hub);
}

void ph_quorum_heard(struct ph_hub *hub, const struct ph_member *member)
{
	renew(hub);
	if (ph_quorate(hub) && member->view > hub->view.number)
		ph_send(hub, &member->info.name, PH_B_VIEW_FETCH)->view = hub->view.number + 1;
}

static void send_view(struct ph_hub *hub, const struct ph_name *to)
{
	struct ph_bmsg *msg = ph_send(hub, to, PH_B_VIEW);
	char *text = ph_quorum_text(&hub->view);
	msg->view = hub->view.number;
	msg->value = ph_out_text(hub, text);
	free(text);
}

bool ph_quorum_same(struct ph_hub *hub, const struct ph_name *other, uint64_t number)
{
	if (!ph_quorate(hub) || number == hub->view.number)
		return true;
	if (number < hub->view.number)
		send_view(hub, other);
	else
		ph_send(hub, other, PH_B_VIEW_FETCH)->view = hub->view.number + 1;
	return false;
}

void ph_quorum_message(struct ph_hub *hub, const struct ph_bmsg *msg)
{
	if (msg->kind == PH_B_VIEW)
		ph_quorum_take(hub, msg->view, msg->value);
	else if (hub->view.number)
		send_view(hub, &msg->from);
}
