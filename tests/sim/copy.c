/*
 * copy.c - messages on their way: deep copies that several receivers share.
 *
 * A long list is kept once for all messages that have the same one: where a thousand nodes claim,
 * each is answered by all others with the same hundred lines.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static size_t bytes_now, bytes_most; /* of what is on its way */

struct block {
	struct block *next;
	size_t n;
	_Alignas(16) unsigned char bytes[];
};

#define SHARED_LEAST 2048u /* bytes: what is shorter is copied */
#define SHELVES 4096u
#define SHARED_MAX 6u /* lists of one message */

struct shared {
	struct shared *next; /* on its shelf */
	uint64_t hash;
	size_t n;
	unsigned refs;
	_Alignas(16) unsigned char bytes[];
};

static struct shared *shelves[SHELVES]; /* what is on its way, and nothing else */

struct sim_letter {
	unsigned refs;
	struct block *blocks;
	struct shared *shared[SHARED_MAX];
	unsigned n_shared;
	struct ph_bmsg msg;
	struct ph_echo *lines; /* of a heartbeat: what it means; check_echo.c */
	size_t n_lines;
};

static void counted(size_t n)
{
	bytes_now += n;
	bytes_most = bytes_now > bytes_most ? bytes_now : bytes_most;
}

size_t sim_letters_most(void)
{
	size_t most = bytes_most;
	bytes_most = bytes_now;
	return most;
}

static void *take(struct sim_letter *letter, size_t n)
{
	struct block *block = sim_alloc(sizeof *block + n);
	block->n = n;
	counted(sizeof *block + n);
	block->next = letter->blocks;
	letter->blocks = block;
	return block->bytes;
}

static void *copy(struct sim_letter *letter, const void *from, size_t n)
{
	return n ? memcpy(take(letter, n), from, n) : NULL;
}

/* Eight bytes at a time: gigabytes go through here. */
static uint64_t hash_of(const unsigned char *bytes, size_t n)
{
	uint64_t hash = n, word;
	for (; n >= sizeof word; n -= sizeof word, bytes += sizeof word) {
		memcpy(&word, bytes, sizeof word);
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return ph_hash_bytes(hash, bytes, n);
}

static struct shared *shared_of(const void *bytes, size_t n)
{
	uint64_t hash = hash_of(bytes, n);
	struct shared **shelf = &shelves[hash % SHELVES], *list = *shelf;
	while (list && (list->hash != hash || list->n != n || memcmp(list->bytes, bytes, n) != 0))
		list = list->next;
	if (!list) {
		list = sim_alloc(sizeof *list + n);
		counted(sizeof *list + n);
		memcpy(list->bytes, bytes, n);
		list->hash = hash;
		list->n = n;
		list->next = *shelf;
		*shelf = list;
	}
	list->refs++;
	return list;
}

static void put_back(struct shared *list)
{
	struct shared **at = &shelves[list->hash % SHELVES];
	if (--list->refs)
		return;
	while (*at != list)
		at = &(*at)->next;
	*at = list->next;
	bytes_now -= sizeof *list + list->n;
	free(list);
}

/* One without pointers to what is the sender's: nobody writes to it any more. */
static const void *share(struct sim_letter *letter, const void *from, size_t n)
{
	if (n < SHARED_LEAST || letter->n_shared == SHARED_MAX)
		return copy(letter, from, n);
	struct shared *list = shared_of(from, n);
	letter->shared[letter->n_shared++] = list;
	return list->bytes;
}

static char *text(struct sim_letter *letter, const char *from)
{
	return from ? copy(letter, from, strlen(from) + 1) : NULL;
}

struct sim_def *sim_def_of_text(struct sim *sim, const char *words)
{
	for (unsigned i = 0; words && i < sim->n_defs; i++)
		if (sim_def_kept(&sim->defs[i], words))
			return &sim->defs[i];
	return NULL;
}

const char *sim_def_text(const struct sim_def *def, unsigned variant)
{
	return def->texts[variant ? variant - 1 : 0];
}

const char *sim_def_kept(const struct sim_def *def, const char *words)
{
	for (unsigned i = 0; i < SIM_VARIANTS; i++)
		if (strcmp(def->texts[i], words) == 0)
			return def->texts[i];
	return NULL;
}

bool sim_spec_of_text(struct sim *sim, const char *words, struct ph_spec *ret)
{
	const struct sim_def *def = sim_def_of_text(sim, words);
	if (!def)
		return false;
	*ret = def->spec;
	ret->text = sim_def_kept(def, words);
	const struct sim_change *change = def->changes;
	for (unsigned i = 0; ret->text != def->texts[i]; i++)
		change++;
	if (change == def->changes)
		return true;
	ret->hash = ph_hash_bytes(PH_HASH_SEED, ret->text, strlen(ret->text));
	ret->process = change->process;
	ret->instances = change->instances ? change->instances : ret->instances;
	ret->nodes = change->nodes[0] ? change->nodes : NULL;
	ret->swap = ret->swap && !change->no_swap;
	return true;
}

static void copy_members(struct sim_letter *letter, const struct ph_bmsg *msg)
{
	struct ph_member_info *list = copy(letter, msg->members, msg->n_members * sizeof *list);
	for (size_t i = 0; i < msg->n_members; i++)
		list[i].labels = text(letter, list[i].labels);
	letter->msg.members = list;
	letter->msg.self.labels = text(letter, msg->self.labels);
}

static void copy_entries(struct sim_letter *letter, const struct ph_bmsg *msg)
{
	size_t n_metas = 0;
	for (size_t i = 0; i < msg->n_entries; i++)
		n_metas += msg->entries[i].meta != NULL;
	if (!n_metas) {
		letter->msg.entries =
			share(letter, msg->entries, msg->n_entries * sizeof *msg->entries);
		return;
	}
	struct ph_entry *list = copy(letter, msg->entries, msg->n_entries * sizeof *list);
	for (size_t i = 0; i < msg->n_entries; i++)
		list[i].meta = text(letter, list[i].meta);
	letter->msg.entries = list;
}

/* As a shell does: the spec is what the receiver reads out of the text. */
static void copy_specs(struct sim *sim, struct sim_letter *letter, const struct ph_bmsg *msg)
{
	struct ph_spec_line *list = copy(letter, msg->specs, msg->n_specs * sizeof *list);
	for (size_t i = 0; i < msg->n_specs; i++) {
		struct ph_spec read;
		bool known = sim_spec_of_text(sim, list[i].text, &read);
		list[i].text = text(letter, list[i].text);
		list[i].spec = NULL;
		if (!known)
			continue;
		struct ph_spec *spec = copy(letter, &read, sizeof *spec);
		spec->revision = list[i].revision;
		list[i].spec = spec;
	}
	letter->msg.specs = list;
}

struct sim_letter *sim_letter_new(struct sim *sim, const struct ph_bmsg *msg)
{
	struct sim_letter *letter = sim_alloc(sizeof *letter);
	counted(sizeof *letter);
	letter->refs = 1;
	letter->msg = *msg;
	copy_members(letter, msg);
	copy_entries(letter, msg);
	copy_specs(sim, letter, msg);
	letter->msg.echoes = share(letter, msg->echoes, msg->n_echoes * sizeof *msg->echoes);
	letter->msg.ages = copy(letter, msg->ages, msg->n_ages * sizeof *msg->ages);
	letter->msg.places = text(letter, msg->places);
	letter->msg.migrations =
		share(letter, msg->migrations, msg->n_migrations * sizeof *msg->migrations);
	letter->msg.claims = share(letter, msg->claims, msg->n_claims * sizeof *msg->claims);
	letter->msg.parts = share(letter, msg->parts, msg->n_parts * sizeof *msg->parts);
	letter->msg.meta = text(letter, msg->meta);
	letter->msg.value = text(letter, msg->value);
	return letter;
}

void sim_letter_means(struct sim_letter *letter, const struct ph_hub *hub)
{
	if (letter->msg.kind == PH_B_HEARTBEAT)
		letter->lines = sim_echo_lines(hub, &letter->n_lines);
}

bool sim_letter_step(struct ph_hub *hub, const struct ph_event *event, uint64_t now_ms,
	struct ph_actions *ret, char *why, size_t size)
{
	const struct ph_bmsg *msg = event->kind == PH_EV_MESSAGE ? event->message : NULL;
	const struct sim_letter *letter =
		msg ? (const void *)((const char *)msg - offsetof(struct sim_letter, msg)) : NULL;
	bool echoes = letter && letter->lines && sim_echo_news(hub, msg);
	ph_step(hub, event, now_ms, ret);
	if (!echoes)
		return true;
	return sim_check_echo(hub, msg, letter->lines, letter->n_lines, why, size);
}

struct sim_letter *sim_letter_keep(struct sim_letter *letter)
{
	letter->refs++;
	return letter;
}

const struct ph_bmsg *sim_letter_of(const struct sim_letter *letter)
{
	return &letter->msg;
}

void sim_letter_drop(void *arg)
{
	struct sim_letter *letter = arg;
	if (--letter->refs)
		return;
	for (unsigned i = 0; i < letter->n_shared; i++)
		put_back(letter->shared[i]);
	while (letter->blocks) {
		struct block *next = letter->blocks->next;
		bytes_now -= sizeof *next + letter->blocks->n;
		free(letter->blocks);
		letter->blocks = next;
	}
	bytes_now -= sizeof *letter;
	free(letter->lines);
	free(letter);
}
