/*
 * A third node is lost while children go from one to another: it is silent, not dead yet, and who
 * claims waits for its answer. That costs no worker its service, and no drain its success.
 */
#include "core_world.h"

#define FAILURE_MS 5000
#define SILENT_MS 1000 /* after which nobody takes it for one that is about to answer */

static const struct silence {
	enum ph_partition partition;
	uint32_t caps;
	uint64_t before_ms; /* silent for so long when the order comes */
} silences[] = {
	{PH_PARTITION_DIVERGENCE, PH_CAP_ROUNDS, 0},
	{PH_PARTITION_DIVERGENCE, PH_CAP_ROUNDS, SILENT_MS},
	{PH_PARTITION_DIVERGENCE, PH_CAP_ROUNDS, 3000},
	{PH_PARTITION_DIVERGENCE, 0, 0},
	{PH_PARTITION_DIVERGENCE, 0, SILENT_MS},
	{PH_PARTITION_MAJORITY, PH_CAP_ROUNDS, 0},
	{PH_PARTITION_MAJORITY, PH_CAP_ROUNDS, SILENT_MS},
	{PH_PARTITION_MAJORITY, 0, 0},
};
#define SILENCES ((int)(sizeof silences / sizeof silences[0]))

struct loss {
	struct world *w;
	struct w_proc *p;
	unsigned from, to, lost;
};

static struct loss begin(const struct silence *s, unsigned instances)
{
	struct loss loss = {.w = w_new(3)};
	struct world *w = loss.w;
	struct w_def *def = w_def(w, "room", "1");
	w->partition = s->partition;
	def->spec.instances = instances;
	def->traits.caps = PH_CAP_HANDOVER | PH_CAP_ASK | s->caps;
	w_declare_all(w, def);
	w_start_all(w);
	w_run(w, 10000);
	loss.p = w_only(w, "room", 0);
	loss.from = loss.p->node;
	loss.to = (loss.from + 1) % 3;
	loss.lost = (loss.from + 2) % 3;
	return loss;
}

static void lose(struct loss *loss, const struct silence *s)
{
	w_power_off(loss->w, loss->lost);
	w_run(loss->w, s->before_ms);
}

/* How long it took to hand it over. */
static uint64_t order(struct loss *loss, uint64_t down_ms)
{
	struct world *w = loss->w;
	const struct ph_command one = {.instance = 0};
	uint64_t ordered_ms = w->now_ms;
	w_order(w, loss->from, PH_VERB_MOVE, "room", w_name(loss->to).s, &one);
	for (int i = 0; i < 120 && !w->nodes[loss->from].answers; i++)
		w_run(w, 100);
	ck_assert_uint_eq(w->nodes[loss->from].answers, 1);
	ck_assert_int_eq(w->nodes[loss->from].answer.error, 0);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, loss->to);
	const struct ph_migration_info *info = &w->nodes[loss->from].hub->history->info;
	ck_assert_int_eq(info->result, PH_RESULT_DONE);
	ck_assert_uint_le(info->downtime_us, down_ms * 1000);
	return w->now_ms - ordered_ms - loss->p->def->spec.retention_ms;
}

/* It comes at once with a quorum, else with the verdict, and the worker serves meanwhile. */
START_TEST(an_order)
{
	const struct silence *s = &silences[_i];
	bool quorum = s->partition == PH_PARTITION_MAJORITY;
	struct loss loss = begin(s, 1);
	lose(&loss, s);
	/* One that stands still as soon as it begins to send has no time to wait for the next. */
	bool stands = !quorum && !s->caps && !s->before_ms;
	uint64_t took_ms = order(&loss, stands ? FAILURE_MS + 500 : 500);
	ck_assert_uint_le(took_ms, quorum ? 500 : FAILURE_MS + 500 - s->before_ms);
	ck_assert_uint_le(loss.p->freezes, s->before_ms || quorum ? 1 : 2);
	w_free(loss.w);
}
END_TEST

static bool deaf(struct world *w, unsigned from, unsigned to, const struct ph_bmsg *msg)
{
	const struct loss *loss = w->arg;
	(void)msg;
	return from != loss->lost && to != loss->lost;
}

/* It is heard again: that is all that was waited for. */
START_TEST(it_is_back)
{
	struct loss loss = begin(&silences[_i], 1);
	struct world *w = loss.w;
	w->arg = &loss;
	w->pass = deaf;
	w_run(w, SILENT_MS);
	const struct ph_command one = {.instance = 0};
	w_order(w, loss.from, PH_VERB_MOVE, "room", w_name(loss.to).s, &one);
	w_run(w, 1500);
	ck_assert_ptr_eq(w_serving(w, "room", 0), loss.p);
	w->pass = NULL;
	w_run(w, 1500);
	ck_assert(loss.p->retired);
	w_run(w, 10000);
	ck_assert_uint_eq(w_only(w, "room", 0)->node, loss.to);
	ck_assert_int_eq(w->nodes[loss.from].answer.error, 0);
	w_free(w);
}
END_TEST

/* Only the link to it is cut: its answer comes by way of the target, and nothing is held. */
START_TEST(one_link_is_cut)
{
	struct loss loss = begin(&silences[_i], 1);
	struct world *w = loss.w;
	w_cut(w, loss.from, loss.lost, true);
	w_run(w, 3000);
	ck_assert_uint_le(order(&loss, 500), 500);
	ck_assert_uint_le(loss.p->freezes, 1);
	w_free(w);
}
END_TEST

START_TEST(a_drain)
{
	const struct silence *s = &silences[_i];
	struct loss loss = begin(s, 6);
	struct world *w = loss.w;
	lose(&loss, s);
	w_order(w, loss.from, PH_VERB_DRAIN, NULL, NULL, NULL);
	w_run(w, 25000);
	ck_assert_uint_eq(w->nodes[loss.from].answers, 1);
	ck_assert_int_eq(w->nodes[loss.from].answer.error, 0);
	for (uint32_t i = 0; i < 6; i++)
		ck_assert_uint_eq(w_only(w, "room", i)->node, loss.to);
	w_free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core_silent");
	W_TEST(suite, an_order, SILENCES);
	W_TEST(suite, it_is_back, 5);
	W_TEST(suite, one_link_is_cut, SILENCES);
	W_TEST(suite, a_drain, SILENCES);
	return w_main(suite);
}
