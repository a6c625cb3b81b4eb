#include "bus/outbox.h"

#include <stdlib.h>
#include <string.h>

void ph_outbox_pop(struct ph_outbox *box)
{
	struct ph_letter *letter = box->head;

	if (!letter)
		return;
	box->head = letter->next;
	if (!box->head)
		box->tail = NULL;
	box->n--;
	box->bytes -= letter->n;
	free(letter);
}

static void count_drop(struct ph_outbox *box)
{
	if (box->dropped < UINT32_MAX)
		box->dropped++;
}

static void drop(struct ph_outbox *box)
{
	ph_outbox_pop(box);
	count_drop(box);
}

void ph_outbox_put(struct ph_outbox *box, const uint8_t *bytes, size_t n, uint64_t expires_at_ms)
{
	while (box->head && (box->n >= PH_OUTBOX_MAX || box->bytes + n > PH_OUTBOX_BYTES_MAX))
		drop(box);
	struct ph_letter *letter = malloc(sizeof *letter + n);
	if (!letter) {
		count_drop(box);
		return;
	}
	letter->next = NULL;
	letter->expires_at_ms = expires_at_ms;
	letter->n = n;
	memcpy(letter->bytes, bytes, n);
	if (box->tail)
		box->tail->next = letter;
	else
		box->head = letter;
	box->tail = letter;
	box->n++;
	box->bytes += n;
}

void ph_outbox_expire(struct ph_outbox *box, uint64_t now_ms)
{
	while (box->head && box->head->expires_at_ms && box->head->expires_at_ms <= now_ms)
		drop(box);
}

void ph_outbox_clear(struct ph_outbox *box)
{
	while (box->head)
		ph_outbox_pop(box);
}
