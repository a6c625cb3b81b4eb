#include "shell_emit_kept.h"

#include <stdlib.h>
#include <string.h>

#define TEXTS 6 /* child, peer, from, to, kept, text; each behind the one before, with its NUL */

struct ph_emit_kept {
	uint64_t wall_ms, epoch, from_epoch, delay_ms;
	uint32_t instance, replica, pid;
	struct ph_exit exit;
	struct ph_id id;
	uint8_t kind, phase, result;
	bool has_key, merged, has_kept;
	char texts[];
};

struct ph_emit_kept *ph_emit_kept_new(const struct ph_emit *event, uint64_t wall_ms)
{
	const char *const texts[TEXTS] = {event->key.child.s, event->peer.s, event->from.s,
		event->to.s, event->kept ? event->kept : "", event->text ? event->text : ""};
	size_t n = 0;
	for (size_t i = 0; i < TEXTS; i++)
		n += strlen(texts[i]) + 1;
	struct ph_emit_kept *kept = malloc(sizeof *kept + n);
	if (!kept)
		return NULL;
	*kept = (struct ph_emit_kept){
		.wall_ms = wall_ms,
		.epoch = event->epoch,
		.from_epoch = event->from_epoch,
		.delay_ms = event->delay_ms,
		.instance = event->key.instance,
		.replica = event->key.replica,
		.pid = event->pid,
		.exit = event->exit,
		.id = event->id,
		.kind = (uint8_t)event->kind,
		.phase = (uint8_t)event->phase,
		.result = (uint8_t)event->result,
		.has_key = event->has_key,
		.merged = event->merged,
		.has_kept = event->kept != NULL,
	};
	char *to = kept->texts;
	for (size_t i = 0; i < TEXTS; i++)
		to = stpcpy(to, texts[i]) + 1;
	return kept;
}

uint64_t ph_emit_kept_wall_ms(const struct ph_emit_kept *kept)
{
	return kept->wall_ms;
}

void ph_emit_kept_read(const struct ph_emit_kept *kept, struct ph_emit *ret)
{
	const char *texts[TEXTS], *at = kept->texts;
	for (size_t i = 0; i < TEXTS; i++) {
		texts[i] = at;
		at += strlen(at) + 1;
	}
	*ret = (struct ph_emit){
		.kind = kept->kind,
		.has_key = kept->has_key,
		.key = {ph_name_of(texts[0]), kept->instance, kept->replica},
		.peer = ph_name_of(texts[1]),
		.id = kept->id,
		.from = ph_name_of(texts[2]),
		.to = ph_name_of(texts[3]),
		.phase = kept->phase,
		.result = kept->result,
		.epoch = kept->epoch,
		.from_epoch = kept->from_epoch,
		.kept = kept->has_kept ? texts[4] : NULL,
		.merged = kept->merged,
		.pid = kept->pid,
		.exit = kept->exit,
		.delay_ms = kept->delay_ms,
		.text = *texts[5] ? texts[5] : NULL,
	};
}
