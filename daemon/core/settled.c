#include "core/settled.h"

#include "core/swap.h"

struct ph_settled {
	const struct ph_slot *slot;
	uint64_t given;	   /* epoch of the newest owner that was followed by another; 0: none */
	uint64_t from, to; /* the one of that epoch went on with a higher one; 0: none */
	UT_hash_handle hh;
};

static struct ph_settled *settled_get(struct ph_hub *hub, const struct ph_slot *slot)
{
	struct ph_settled *s;
	HASH_FIND_PTR(hub->settled, &slot, s);
	if (!s) {
		s = ph_must(calloc(1, sizeof *s));
		s->slot = slot;
		HASH_ADD_PTR(hub->settled, slot, s);
	}
	return s;
}

/* After a claim for B was asked nothing but the claim for itself ends with `void`. */
static void note_raise(struct ph_hub *hub, const struct ph_record *forgotten)
{
	struct ph_source *source;
	HASH_FIND(hh, hub->sources, forgotten->id.b, sizeof forgotten->id.b, source);
	if (!source || !source->voided || !source->claim_asked ||
		source->new_epoch <= source->epoch)
		return;
	struct ph_settled *s = settled_get(hub, source->slot);
	if (s->to != source->epoch)
		s->from = source->epoch;
	s->to = source->new_epoch;
}

void ph_settled_restore(struct ph_hub *hub, const struct ph_record *record)
{
	if (record->kind == PH_RECORD_FORGET)
		note_raise(hub, record);
	if (record->kind != PH_RECORD_DONE)
		return;
	struct ph_settled *s =
		settled_get(hub, ph_swap_slot(hub, &record->peer, &record->id, &record->key));
	bool done = record->result == PH_RESULT_DONE; /* else it may have gone on */
	if (done && record->epoch > s->given)
		s->given = record->epoch;
	if (!done && record->epoch == s->given)
		s->given = 0;
}

bool ph_settled_given(const struct ph_hub *hub, const struct ph_slot *slot, uint64_t epoch)
{
	struct ph_settled *s;
	HASH_FIND_PTR(hub->settled, &slot, s);
	return s && s->given >= epoch;
}

uint64_t ph_settled_epoch(const struct ph_hub *hub, const struct ph_slot *slot, uint64_t epoch)
{
	struct ph_settled *s;
	HASH_FIND_PTR(hub->settled, &slot, s);
	return s && s->from && epoch >= s->from && epoch < s->to ? s->to : epoch;
}

void ph_settled_free(struct ph_hub *hub)
{
	struct ph_settled *s, *next;
	HASH_ITER (hh, hub->settled, s, next) {
		HASH_DEL(hub->settled, s);
		free(s);
	}
}
