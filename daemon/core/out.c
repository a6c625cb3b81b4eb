/* Actions, the memory of a step, random bits, timers: what every other file of core uses. */
#include "core/swap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 16384
#define OUT_KEPT 256u /* actions: what a busy step needed beyond is given back */

struct ph_chunk {
	struct ph_chunk *next;
	size_t used, size;
	_Alignas(16) unsigned char bytes[];
};

void *ph_must(void *p)
{
	if (!p)
		__builtin_trap();
	return p;
}

void *ph_out_alloc(struct ph_hub *hub, size_t n)
{
	n = (n + 15) & ~(size_t)15;
	struct ph_chunk *chunk = hub->arena;
	if (!chunk || chunk->size - chunk->used < n) {
		size_t size = n > CHUNK_BYTES ? n : CHUNK_BYTES;
		chunk = ph_must(malloc(sizeof *chunk + size));
		chunk->size = size;
		chunk->used = 0;
		chunk->next = hub->arena;
		hub->arena = chunk;
	}
	void *p = chunk->bytes + chunk->used;
	chunk->used += n;
	return memset(p, 0, n);
}

char *ph_out_text(struct ph_hub *hub, const char *text)
{
	if (!text)
		return NULL;
	size_t n = strlen(text) + 1;
	return memcpy(ph_out_alloc(hub, n), text, n);
}

struct ph_action *ph_out(struct ph_hub *hub, enum ph_action_kind kind)
{
	if (hub->n_out == hub->out_cap) {
		hub->out_cap = hub->out_cap ? 2 * hub->out_cap : 64;
		hub->out = ph_must(realloc(hub->out, hub->out_cap * sizeof *hub->out));
	}
	struct ph_action *action = &hub->out[hub->n_out++];
	memset(action, 0, sizeof *action);
	action->kind = kind;
	return action;
}

void ph_out_bury(struct ph_hub *hub, void *object)
{
	if (hub->n_graves == hub->graves_cap) {
		hub->graves_cap = hub->graves_cap ? 2 * hub->graves_cap : 16;
		hub->graves = ph_must(realloc(hub->graves, hub->graves_cap * sizeof *hub->graves));
	}
	hub->graves[hub->n_graves++] = object;
}

static void free_arena(struct ph_hub *hub)
{
	/* One ordinary chunk is kept, so that an idle hub neither holds nor asks for memory. */
	while (hub->arena && (hub->arena->next || hub->arena->size > CHUNK_BYTES)) {
		struct ph_chunk *next = hub->arena->next;
		free(hub->arena);
		hub->arena = next;
	}
	if (hub->arena)
		hub->arena->used = 0;
}

void ph_out_bury_spec(struct ph_hub *hub, const struct ph_spec *spec)
{
	if (!spec)
		return;
	if (hub->n_spec_graves == hub->spec_graves_cap) {
		hub->spec_graves_cap = hub->spec_graves_cap ? 2 * hub->spec_graves_cap : 16;
		hub->spec_graves = ph_must(
			realloc(hub->spec_graves, hub->spec_graves_cap * sizeof *hub->spec_graves));
	}
	hub->spec_graves[hub->n_spec_graves++] = spec;
}

static void free_graves(struct ph_hub *hub)
{
	for (size_t i = 0; i < hub->n_graves; i++)
		free(hub->graves[i]);
	for (size_t i = 0; i < hub->n_spec_graves; i++)
		ph_spec_free(hub->spec_graves[i]);
	hub->n_graves = hub->n_spec_graves = 0;
}

void ph_out_begin(struct ph_hub *hub)
{
	if (hub->out_done < hub->n_out)
		return;
	hub->n_out = hub->out_done = 0;
	if (hub->out_cap > OUT_KEPT) {
		free(hub->out);
		hub->out = NULL;
		hub->out_cap = 0;
	}
	free_arena(hub);
	free_graves(hub);
}

void ph_out_end(struct ph_hub *hub, struct ph_actions *ret)
{
	size_t n = hub->n_out - hub->out_done;
	if (n > PH_ACTIONS_MAX)
		n = PH_ACTIONS_MAX;
	ret->n = n;
	ret->items = hub->out + hub->out_done;
	hub->out_done += n;
}

void ph_out_free(struct ph_hub *hub)
{
	hub->n_out = hub->out_done = 0;
	free_arena(hub);
	free_graves(hub);
	free(hub->spec_graves);
	free(hub->arena);
	free(hub->out);
	free(hub->graves);
	free(hub->heap);
}

/* xoroshiro128+ by David Blackman and Sebastiano Vigna (public domain), constants of 2018. */
uint64_t ph_random(struct ph_hub *hub)
{
	uint64_t a = hub->rng[0], b = hub->rng[1], sum = a + b;
	b ^= a;
	hub->rng[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
	hub->rng[1] = b << 37 | b >> 27;
	return sum;
}

struct ph_id ph_random_id(struct ph_hub *hub)
{
	struct ph_id id;
	uint64_t words[2] = {ph_random(hub), ph_random(hub)};
	memcpy(id.b, words, sizeof id.b);
	return id;
}

uint64_t ph_jitter(struct ph_hub *hub, uint64_t ms, uint32_t percent)
{
	uint64_t span = ms * percent / 100;
	if (!span)
		return ms;
	return ms - span + ph_random(hub) % (2 * span + 1);
}

/* ---- the heap of timers, smallest time first; pos counts from 1 ---- */

static void heap_put(struct ph_hub *hub, size_t pos, struct ph_timer *timer)
{
	hub->heap[pos - 1] = timer;
	timer->pos = pos;
}

static void heap_sift(struct ph_hub *hub, size_t pos)
{
	struct ph_timer *timer = hub->heap[pos - 1];
	while (pos > 1 && hub->heap[pos / 2 - 1]->at_ms > timer->at_ms) {
		heap_put(hub, pos, hub->heap[pos / 2 - 1]);
		pos /= 2;
	}
	for (;;) {
		size_t child = 2 * pos;
		if (child > hub->n_heap)
			break;
		if (child < hub->n_heap && hub->heap[child]->at_ms < hub->heap[child - 1]->at_ms)
			child++;
		if (hub->heap[child - 1]->at_ms >= timer->at_ms)
			break;
		heap_put(hub, pos, hub->heap[child - 1]);
		pos = child;
	}
	heap_put(hub, pos, timer);
}

static void heap_remove(struct ph_hub *hub, struct ph_timer *timer)
{
	size_t pos = timer->pos;
	struct ph_timer *last = hub->heap[--hub->n_heap];
	timer->pos = 0;
	if (last == timer)
		return;
	heap_put(hub, pos, last);
	heap_sift(hub, pos);
}

void ph_timer_set(struct ph_hub *hub, struct ph_timer *timer, uint64_t at_ms)
{
	timer->at_ms = at_ms;
	if (at_ms == PH_NEVER_MS) {
		if (timer->pos)
			heap_remove(hub, timer);
		return;
	}
	if (!timer->pos) {
		if (hub->n_heap == hub->heap_cap) {
			hub->heap_cap = hub->heap_cap ? 2 * hub->heap_cap : 64;
			hub->heap = ph_must(
				realloc(hub->heap, hub->heap_cap * sizeof(struct ph_timer *)));
		}
		hub->n_heap++;
		heap_put(hub, hub->n_heap, timer);
	}
	heap_sift(hub, timer->pos);
}

struct ph_timer *ph_timer_due(struct ph_hub *hub)
{
	if (!hub->n_heap || hub->heap[0]->at_ms > hub->now_ms)
		return NULL;
	struct ph_timer *timer = hub->heap[0];
	heap_remove(hub, timer);
	return timer;
}

uint64_t ph_next_deadline(const struct ph_hub *hub)
{
	if (hub->out_done < hub->n_out)
		return 0;
	return hub->n_heap ? hub->heap[0]->at_ms : PH_NEVER_MS;
}

/* ---- actions ---- */

static struct ph_bmsg *new_message(struct ph_hub *hub, struct ph_action *action, enum ph_bkind kind)
{
	struct ph_bmsg *msg = ph_out_alloc(hub, sizeof *msg);
	msg->kind = kind;
	msg->from = hub->set.node;
	msg->incarnation = hub->set.incarnation;
	action->message = msg;
	return msg;
}

/* What decides who owns a child, or removes it, and orders; all of it may arrive twice, and is
 * small. */
static bool relayed(enum ph_bkind kind)
{
	return (kind > PH_B_PREPARE && kind <= PH_B_FORGOTTEN) || kind == PH_B_CLAIM ||
	       kind == PH_B_CLAIM_ANSWER || kind == PH_B_HAVE || kind == PH_B_ORDER ||
	       kind == PH_B_ORDER_ACK || kind == PH_B_CONFLICT || kind == PH_B_CONFLICT_ACK ||
	       kind == PH_B_DROPPED || kind == PH_B_DECLARED ||
	       (kind >= PH_B_VIEW_FETCH && kind <= PH_B_GRANTED);
}

struct ph_bmsg *ph_send(struct ph_hub *hub, const struct ph_name *to, enum ph_bkind kind)
{
	if (kind >= PH_B_PREPARE && kind <= PH_B_FORGOTTEN && ph_is_self(hub, to))
		return ph_swap_say(hub, kind);
	struct ph_action *action = ph_out(hub, PH_ACT_SEND);
	const struct ph_member *via = relayed(kind) ? ph_member_relay(hub, to) : NULL;
	const struct ph_member *member = ph_member_find(hub, to);
	action->to = *to;
	action->incarnation = member ? member->info.incarnation : 0;
	if (via)
		action->via = via->info.name;
	return new_message(hub, action, kind);
}

struct ph_bmsg *ph_send_there(
	struct ph_hub *hub, const struct ph_member_info *to, enum ph_bkind kind)
{
	struct ph_action *action = ph_out(hub, PH_ACT_SEND);
	action->to = to->name;
	action->incarnation = to->incarnation;
	action->address = to->address[0] ? ph_out_text(hub, to->address) : NULL;
	return new_message(hub, action, kind);
}

struct ph_bmsg *ph_send_via(
	struct ph_hub *hub, const struct ph_name *to, const struct ph_name *via, enum ph_bkind kind)
{
	const struct ph_member *member = ph_member_find(hub, to);
	struct ph_action *action = ph_out(hub, PH_ACT_SEND);
	action->to = *to;
	action->incarnation = member ? member->info.incarnation : 0;
	if (via)
		action->via = *via;
	return new_message(hub, action, kind);
}

void ph_send_also(struct ph_hub *hub, const struct ph_name *to, const struct ph_bmsg *msg)
{
	struct ph_action *action = ph_out(hub, PH_ACT_SEND);
	const struct ph_member *member = ph_member_find(hub, to);
	const struct ph_member *via = relayed(msg->kind) ? ph_member_relay(hub, to) : NULL;
	action->to = *to;
	action->incarnation = member ? member->info.incarnation : 0;
	if (via)
		action->via = via->info.name;
	action->message = msg;
}

struct ph_bmsg *ph_cast(struct ph_hub *hub, enum ph_bkind kind)
{
	return new_message(hub, ph_out(hub, PH_ACT_CAST), kind);
}

struct ph_wmsg *ph_tell(struct ph_hub *hub, struct ph_instance *instance, enum ph_wop op)
{
	struct ph_wmsg *msg = ph_out_alloc(hub, sizeof *msg);
	msg->op = op;
	if (instance->state == PH_INSTANCE_REAPING) /* nobody is there to hear it */
		return msg;
	struct ph_action *action = ph_out(hub, PH_ACT_TELL);
	action->wid = instance->wid;
	action->worker = msg;
	return msg;
}

void ph_complain(
	struct ph_hub *hub, struct ph_instance *instance, const char *code, const char *format, ...)
{
	char text[PH_REASON_SIZE];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	struct ph_action *action = ph_out(hub, PH_ACT_COMPLAIN);
	struct ph_wmsg *msg = ph_out_alloc(hub, sizeof *msg);
	action->wid = instance->wid;
	msg->op = PH_W_ERROR;
	msg->code = ph_out_text(hub, code);
	msg->text = ph_out_text(hub, text);
	action->worker = msg;
	struct ph_emit *emit =
		ph_emit(hub, PH_EMIT_WORKER_PROTOCOL_ERROR, PH_SLOT_KEY(instance->slot));
	emit->pid = instance->pid;
	emit->text = msg->text;
	instance->connected = false;
}

struct ph_emit *ph_emit(struct ph_hub *hub, enum ph_emit_kind kind, const struct ph_key *key)
{
	struct ph_action *action = ph_out(hub, PH_ACT_EMIT);
	struct ph_emit *emit = ph_out_alloc(hub, sizeof *emit);
	emit->kind = kind;
	if (key) {
		emit->has_key = true;
		emit->key = *key;
	}
	action->emit = emit;
	return emit;
}

void ph_log(struct ph_hub *hub, enum ph_log_level level, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	char *copy = ph_out_text(hub, text);
	struct ph_action *action = ph_out(hub, PH_ACT_LOG);
	action->level = level;
	action->text = copy;
}

uint64_t ph_journal(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_record *copy = ph_out_alloc(hub, sizeof *copy);
	*copy = *record;
	copy->text = ph_out_text(hub, record->text);
	struct ph_action *action = ph_out(hub, PH_ACT_JOURNAL);
	action->ticket = ++hub->numbers;
	action->record = copy;
	return action->ticket;
}

void ph_reason_keep(char **to, const char *format, ...)
{
	char text[PH_REASON_SIZE];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	char *copy = ph_must(strdup(text));
	free(*to);
	*to = copy;
}

void ph_reason_drop(char **to)
{
	free(*to);
	*to = NULL;
}

void ph_reason(char to[PH_REASON_SIZE], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(to, PH_REASON_SIZE, format, args);
	va_end(args);
}
