#include "core/settled.h"

#include "core/swap.h"

struct ph_settled {
	const struct ph_slot *slot;
	uint64_t given; /* epoch of the newest owner that was followed by another; 0: none */
	UT_hash_handle hh;
};

void ph_settled_restore(struct ph_hub *hub, const struct ph_record *record)
{
	struct ph_settled *s;
	if (record->kind != PH_RECORD_DONE)
		return;
	const struct ph_slot *slot = ph_swap_slot(hub, &record->peer, &record->id, &record->key);
	HASH_FIND_PTR(hub->settled, &slot, s);
	if (!s) {
		s = ph_must(calloc(1, sizeof *s));
		s->slot = slot;
		HASH_ADD_PTR(hub->settled, slot, s);
	}
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

void ph_settled_free(struct ph_hub *hub)
{
	struct ph_settled *s, *next;
	HASH_ITER (hh, hub->settled, s, next) {
		HASH_DEL(hub->settled, s);
		free(s);
	}
}
