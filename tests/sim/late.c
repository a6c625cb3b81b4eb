/*
 * late.c - what the network still has: messages that wait behind a cut, and recordings.
 *
 * A socket may keep what was sent into a cut, and deliver it up to a minute later, to whichever
 * daemon is there then. Of recordings the shell lets through what this life of the receiver has not
 * had: its window is new. Directed messages name the receiver's incarnation in either case.
 */
#include "sim.h"

#include <stdlib.h>

#define LATE_MAX_US (60 * SEC)
#define SOON_US (2 * SEC) /* after the end of a cut most of it comes */
#define TAPE 512

struct letter {
	struct sim_node *from, *to;
	struct sim_letter *letter;
	uint64_t incarnation; /* of the receiver; 0: any */
	uint32_t gen;	      /* of the receiver that has had it; 0: none */
};

struct sim_tape {
	struct letter v[TAPE];
	size_t n;
};

static bool reaches(const struct letter *late)
{
	const struct sim_node *to = late->to;
	return to->hub && to->bus_up &&
	       (!late->incarnation || late->incarnation == to->incarnation);
}

static void deliver(const struct letter *late, enum sim_count what)
{
	struct ph_event event = {.kind = PH_EV_MESSAGE, .message = sim_letter_of(late->letter)};
	sim_count(late->to->sim, what);
	sim_node_push(late->to, 0, &event, sim_letter_drop, sim_letter_keep(late->letter));
}

static void late_drop(void *arg)
{
	struct letter *late = arg;
	sim_letter_drop(late->letter);
	free(late);
}

static void arrive(struct sim *sim, void *arg)
{
	struct letter *late = arg;
	(void)sim;
	if (reaches(late))
		deliver(late, COUNT_LATE);
	late_drop(late);
}

bool sim_late_hold(
	struct sim_node *from, struct sim_node *to, struct sim_letter *letter, uint64_t incarnation)
{
	struct sim *sim = from->sim;
	uint64_t until_us = sim->hold_us[from->no][to->no];
	if (until_us <= sim->now_us || !sim_chance(sim, 50))
		return false;
	uint64_t end_us = sim->now_us + LATE_MAX_US;
	if (until_us + SOON_US < end_us && sim_chance(sim, 60))
		end_us = until_us + SOON_US;
	uint64_t at_us = sim_between(sim, until_us < end_us ? until_us : end_us, end_us);
	struct letter *late = sim_alloc(sizeof *late);
	*late = (struct letter){from, to, sim_letter_keep(letter), incarnation, 0};
	if (at_us > sim->late_us)
		sim->late_us = at_us;
	sim_after(sim, at_us - sim->now_us, arrive, late, late_drop);
	return true;
}

void sim_late_record(struct sim_node *from, struct sim_node *to, struct sim_letter *letter,
	uint64_t incarnation, uint32_t gen)
{
	struct sim *sim = from->sim;
	if (sim->story < STORY_MEMBER)
		return;
	if (!sim->tape)
		sim->tape = sim_alloc(sizeof *sim->tape);
	struct letter *at = &sim->tape->v[sim->tape->n++ % TAPE];
	if (at->letter)
		sim_letter_drop(at->letter);
	*at = (struct letter){from, to, sim_letter_keep(letter), incarnation, gen};
}

void sim_late_replay(struct sim *sim, uint64_t n)
{
	size_t have = !sim->tape ? 0 : sim->tape->n < TAPE ? sim->tape->n : TAPE;
	for (uint64_t i = 0; i < n && have; i++) {
		struct letter *letter = &sim->tape->v[sim_random(sim) % have];
		if (!reaches(letter) || letter->gen == letter->to->gen)
			continue;
		letter->gen = letter->to->gen;
		deliver(letter, COUNT_REPLAYED);
	}
}

void sim_late_fini(struct sim *sim)
{
	for (size_t i = 0; sim->tape && i < TAPE; i++)
		if (sim->tape->v[i].letter)
			sim_letter_drop(sim->tape->v[i].letter);
	free(sim->tape);
}
