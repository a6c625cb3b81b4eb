"""The deliberate defects that `make mutants` tries, and who must catch them.

A new row: Defect(name, expect, Edit(file, old, new), ...). `old` must stand in the file exactly
once, with its tabs. `expect` is a regular expression that must match the sentence of an invariant
(tests/sim/check*.c) or the failed line of a unit test. Who is to catch it:
  nothing named  tests/sim/seeds.txt, then the seeds 1..upto (20000)
  seeds=[...]    these seeds of the simulator, nothing else
  unit="test_x"  that unit test, where no run of the simulator can show it
  partition=...  the simulator with that partition strategy
To see the story behind a row: `make mutants MUTANT=name`, then
`build/release/mutants/NAME/sim --trace --seed N`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Edit:
    file: str
    old: str
    new: str


class Defect:
    def __init__(self, name, expect, *edits, unit=None, seeds=(), upto=20000,
                 partition="divergence"):
        self.name, self.expect, self.edits = name, expect, edits
        self.unit, self.seeds, self.upto, self.partition = unit, seeds, upto, partition


SOURCE = "daemon/core/source.c"
SOURCE_SAY = "daemon/core/source_say.c"
SOURCE_HEAR = "daemon/core/source_hear.c"
SOURCE_END = "daemon/core/source_end.c"
TARGET = "daemon/core/target.c"
TARGET_SAY = "daemon/core/target_say.c"
CLAIM = "daemon/core/claim.c"
CLAIM_ASKED = "daemon/core/claim_asked.c"
CONFLICT = "daemon/core/conflict.c"
GRANT = "daemon/core/grant.c"
QUORUM = "daemon/core/quorum.c"
REGISTRY = "daemon/core/registry.c"
MEMBER = "daemon/core/member.c"
ECHO = "daemon/core/echo.c"
ROLL = "daemon/core/roll.c"

DEFECTS = [
    # ---- the journal
    Defect("final record left out", "says round_end before final is synced",
           Edit(SOURCE, """\
	if (s->end_final && !s->final_synced) {
		ask_final(hub, s);
		return s->state;
	}
""", ""),
           Edit(SOURCE, """\
	s->final_asked = true;
	ph_source_write(hub, s, PH_RECORD_FINAL);
""", "\ts->final_asked = s->final_synced = true;\n\t(void)hub;\n")),
    Defect("commit record left out", "says commit before commit is synced",
           Edit(SOURCE, """\
	ph_source_write(hub, s, PH_RECORD_COMMIT);
	return PH_SOURCE_COMMITTING;
""", """\
	ph_source_say(hub, s, PH_B_COMMIT);
	return PH_SOURCE_COMMITTED;
""")),
    Defect("prepared record left out", "says prepared before prepared is synced",
           Edit(TARGET, """\
	if (!t->end_final) {
		ph_target_say(hub, t, PH_B_LOADED, false);
		return t->state;
	}
	write_prepared(hub, t);
	return PH_TARGET_PREPARING;
""", """\
	if (!t->end_final) {
		ph_target_say(hub, t, PH_B_LOADED, false);
		return t->state;
	}
	cut_stream(hub, t);
	t->was_prepared = true;
	ph_target_say(hub, t, PH_B_PREPARED, true);
	return PH_TARGET_PREPARED;
""")),
    Defect("active record left out", "activates pid .* before active is synced",
           Edit(TARGET, """\
static enum ph_target_state activate(struct ph_hub *hub, struct ph_target *t)
{
""", """\
static enum ph_target_state active_synced(struct ph_hub *hub, struct ph_target *t);
static enum ph_target_state activate(struct ph_hub *hub, struct ph_target *t)
{
"""),
           Edit(TARGET, """\
		ph_claim_drop(hub, t->slot->work->claim);
	ph_target_write(hub, t, PH_RECORD_ACTIVE);
	return PH_TARGET_ACTIVATING;
""", """\
		ph_claim_drop(hub, t->slot->work->claim);
	return active_synced(hub, t);
""")),
    Defect("COMMIT sent before its record is synced", "says commit before commit is synced",
           Edit(SOURCE, """\
	ph_source_write(hub, s, PH_RECORD_COMMIT);
	return PH_SOURCE_COMMITTING;
""", """\
	ph_source_write(hub, s, PH_RECORD_COMMIT);
	s->ticket_no = 0;
	ph_source_say(hub, s, PH_B_COMMIT);
	return PH_SOURCE_COMMITTED;
""")),
    # ---- refusals
    Defect("NACK left out", "has not answered commit",
           Edit(TARGET_SAY, """\
	if (kind == PH_B_NONE)
		return;
""", """\
	if (kind == PH_B_NONE || kind == PH_B_NACK)
		return;
""")),
    Defect("NACK and never not synced before they are said",
           "says (nack|aborted|reject) before never is synced",
           Edit(TARGET, """\
static enum ph_target_state write_never(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_write(hub, t, PH_RECORD_NEVER);
	return PH_TARGET_REFUSING;
}
""", """\
static enum ph_target_state write_never(struct ph_hub *hub, struct ph_target *t)
{
	ph_target_say(hub, t, t->answer, false);
	return PH_TARGET_NEVER;
}
""")),
    Defect("activation by time-out", "a takeover of .* before all members have granted the claim",
           Edit(TARGET_SAY, """\
	say_once(hub, t, t->said);
	if (t->state == PH_TARGET_PREPARED)
""", """\
	say_once(hub, t, t->said);
	if (t->state == PH_TARGET_PREPARED && t->resend_wait_ms == PH_RESEND_MAX_MS)
		ph_target_step(hub, t, PH_TARGET_IN_COMMIT);
	else if (t->state == PH_TARGET_PREPARED)
""")),
    # ---- going back
    Defect("resume without void", "after final without the target's word or void",
           Edit(SOURCE_END, """\
	if (!s->unheard)
		return ph_source_void(hub, s);
	s->unheard = false;
""", """\
	if (!s->unheard)
		return ph_source_void_known(hub, s);
	s->unheard = false;
""")),
    Defect("abort resumes without waiting for the answer",
           "after final without the target's word or void",
           Edit(SOURCE_END, """\
	if (s->final_left || s->claim_asked) {
		ph_source_say(hub, s, PH_B_ABORT);
		return PH_SOURCE_ABORTING;
	}
""", "\ts->claim_asked = false;\n")),
    Defect("resume after commit without a claim", "after commit without a claim",
           Edit(SOURCE, """\
	s->back = s->reclaim = true;
	ph_source_blame(s, "the target could not activate");
""", """\
	s->back = true;
	s->claim_asked = false;
	ph_source_blame(s, "the target could not activate");
""")),
    Defect("resume after commit by time-out", "after commit without a claim",
           Edit(SOURCE_SAY, """\
	if (s->said == PH_B_VOID || ph_member_up(hub, &s->peer))
		ph_source_repeat(hub, s);
""", """\
	if (s->state == PH_SOURCE_COMMITTED && s->resend_wait_ms == PH_RESEND_MAX_MS) {
		s->reclaim = s->claim_asked = false;
		s->state = ph_source_resume(hub, s);
		ph_source_close_with(hub, s, PH_B_ABORT);
		return;
	}
	if (s->said == PH_B_VOID || ph_member_up(hub, &s->peer))
		ph_source_repeat(hub, s);
""")),
    # ---- epochs
    Defect("epoch not raised on activation",
           "became active at epoch .* after|holds .* for the owner",
           Edit(TARGET, """\
	ph_slot_own(
		hub, slot, t->new_epoch, t->a_dead ? PH_LINEAGE_FROM_COPY : PH_LINEAGE_CONTINUED);
""", """\
	t->new_epoch = t->epoch;
	ph_slot_own(
		hub, slot, t->new_epoch, t->a_dead ? PH_LINEAGE_FROM_COPY : PH_LINEAGE_CONTINUED);
""")),
    Defect("registry entry of a lower epoch accepted", "goes back to an earlier owner",
           Edit(REGISTRY, """\
	if (e->epoch < slot->entry.epoch || !ph_name_equal(author, &e->node))
""", """\
	if (!ph_name_equal(author, &e->node))
""")),
    Defect("message of an earlier incarnation accepted", "core_member.*:incarnations:",
           Edit(MEMBER, """\
	return !member || member->info.incarnation != msg->incarnation;
""", "\treturn !member;\n"), unit="test_core_member"),
    Defect("what is forgiven is told as heard", ":who_forgives_does_not_vouch:",
           Edit("daemon/core/heartbeat.c", "hub->now_ms - member->echo_true_ms : PH_NEVER_MS",
                "hub->now_ms - member->echo_at_ms : PH_NEVER_MS"), unit="test_core_away"),
    Defect("a deadline goes before what waits in the queue",
           ":no_deadline_before_it_has_caught_up:",
           Edit("daemon/core/due.c", "held_back(hub, timer) || overslept(hub, timer)",
                "held_back(hub, timer)"), unit="test_core_away"),
    Defect("a worker is ended for a word that waits to be read",
           ":a_worker_is_heard_before_it_is_judged:",
           Edit("daemon/core/due.c", "silent && late && !instance->excused", "false"),
           unit="test_core_away"),
    Defect("a worker is excused once for all", ":a_worker_is_heard_before_it_is_judged:",
           Edit("daemon/core/instance.c", "\tinstance->excused = false;\n", ""),
           unit="test_core_away"),
    Defect("whoever talks owes no sign of life", ":a_worker_that_only_talks:",
           Edit("daemon/core/instance.c", "instance->excused && instance->state",
                "false && instance->state"), unit="test_core_away"),
    Defect("a restart that goes on is not asked for", ":a_start_is_asked_for_first:",
           Edit("daemon/core/instance.c", """\
		return due_again(hub, instance);
	case PH_AFTER_GROUP:
""", """\
		return again(hub, instance);
	case PH_AFTER_GROUP:
"""), unit="test_core_back"),
    Defect("another text is not asked for", ":a_start_is_asked_for_first:",
           Edit("daemon/core/instance.c", ": due_again(hub, instance);", ": again(hub, instance);"),
           unit="test_core_back"),
    Defect("a restart goes on though it was stopped since", ":a_stop_after_a_restart:",
           Edit("daemon/core/instance_adopt.c", " || slot->wish_stopped)", ")"),
           unit="test_core_back"),
    Defect("what has ended by an older text is done", ":another_policy_during_its_swap:",
           Edit("daemon/core/child.c", ": !slot->wish_stopped || slot->entry.revision",
                ": slot->entry.revision"), unit="test_core_done"),
    Defect("an instance too many is killed once", ":while_it_does_not_die:",
           Edit("daemon/core/plan.c", """\
		if (instance->state < PH_INSTANCE_STOPPING || instance->state > PH_INSTANCE_REAPING)
			ph_instance_step""", "\t\tph_instance_step"), unit="test_core_surplus"),
    Defect("two raise their numbers to the same one", ":two_do_not_raise_to_the_same_number:",
           Edit("daemon/core/renumber.c", "known + 1 + ph_random(hub) % PH_INCARNATION_APART",
                "known + 1"), unit="test_core_join"),
    Defect("incarnation used again after a restart",
           "has not come to agree|holds .* for the owner of",
           Edit("tests/sim/node.c", """\
	node->incarnation = node->stored + 1 > wall_ms ? node->stored + 1 : wall_ms;
""", """\
	node->incarnation = node->stored ? node->stored : wall_ms;
""")),
    # ---- claims
    Defect("prepared copy does not go before a cold claim",
           "to an empty one and has a prepared copy",
           Edit(CLAIM_ASKED, """\
	if (slot->work->target && slot->work->target->state >= PH_TARGET_PREPARING &&
		slot->work->target->state <= PH_TARGET_ACTIVATING)
		return true;
""", "")),
    Defect("claim basis not checked again", ":a_dead_owner_comes_back:",
           Edit(CLAIM, """\
	granted = granted && basis_holds(hub, claim);
""", "\t(void)basis_holds;\n"), unit="test_core_claim"),
    Defect("claim granted by the first answer", "before all members have granted the claim",
           Edit(CLAIM, """\
	if (claim->number && (claim->n_wait == 0 || waited_enough(hub, claim)))
		decide(hub, claim, true);
}
""", """\
	if (claim->number)
		decide(hub, claim, true);
}
""")),
    Defect("claim granted without asking", "before all members have granted the claim",
           Edit(CLAIM, """\
		wait_for(claim, m->no);
	}
}
""", "\t}\n}\n")),
    Defect("void forgotten by the members", ":answers:",
           Edit(TARGET_SAY, """\
	ph_slot_work(hub, slot)->void_id = msg->id;
""", ""), unit="test_core_claim"),
    # ---- forgetting
    Defect("lost journal taken for nothing happened", "serve at the same time",
           Edit("daemon/core/hub.c", """\
	hub->set = *settings;
""", """\
	hub->set = *settings;
	hub->set.journal_lost = false;
"""),
           Edit("daemon/core/hub.c", """\
		hub->set.journal_lost |= record->ok;
""", "")),
    Defect("lost journal forgotten by the daemon after the next", "serve at the same time",
           Edit("daemon/core/hub.c", """\
		hub->set.journal_lost |= record->ok;
""", """\
		hub->set.journal_lost |= record->ok && hub->set.journal_lost;
"""), seeds=[5060], partition="majority"),
    Defect("source forgets the outcome before it is confirmed", "forgets the outcome",
           Edit(SOURCE_END, """\
	if (kind == PH_B_NONE) { /* B has never heard of it */
		ph_source_free(hub, s);
		return;
	}
	ph_source_say(hub, s, kind);
""", """\
	if (kind != PH_B_NONE)
		ph_source_say(hub, s, kind);
	ph_source_free(hub, s);
""")),
    Defect("target forgets the outcome before it is confirmed", "forgets the outcome",
           Edit(TARGET, """\
	ph_target_say(hub, t, t->answer, false);
	return PH_TARGET_NEVER;
""", """\
	ph_target_say(hub, t, t->answer, false);
	ph_target_free(hub, t);
	return PH_TARGET_NEVER;
""")),
    # ---- the rest
    Defect("retention does not wait for every live member", "still names it",
           Edit(SOURCE_SAY, """\
		return false; /* N has acknowledged nothing yet: O may still be needed */
	for (struct ph_member *m = hub->members; m; m = m->hh.next)
		if (ph_member_live(m) && m->hears_me_have < s->done_version)
			return false;
	return true;
""", """\
		return false; /* N has acknowledged nothing yet: O may still be needed */
	return true;
""")),
    Defect("retention ignored", "before its retention is over",
           Edit(SOURCE_SAY, """\
	if ((!s->handled && hub->now_ms < s->retention_until_ms) || !everybody_knows(hub, s))
""", """\
	if (!everybody_knows(hub, s))
""")),
    Defect("order applied twice", "a_repeated_order_has_one_effect",
           Edit("daemon/core/order_do.c", """\
	struct ph_done_order *done = done_before(hub, msg);
	int error = 0;
""", """\
	struct ph_done_order *done = NULL;
	int error = 0;
	(void)done_before;
"""), unit="test_core_order"),
    Defect("bytes not compared before the state is applied", ":what_arrived_is_compared:",
           Edit(TARGET, """\
	if (t->end_bytes != t->stream_bytes || t->end_digest != t->stream_digest)
		return drop(hub, t, PH_B_REJECT, "bytes or digest differ between the two nodes");
""", ""), unit="test_core_target"),
    Defect("state applied before its end was told", "aborted without a fault",
           Edit(TARGET, """\
	if (!t->have_end || !t->have_stream || t->told_end)
		return t->state;
""", """\
	if (!t->have_stream || t->told_end)
		return t->state;
""")),
    # ---- quorum strategies
    Defect("lease not looked at", "serve at the same time",
           Edit(QUORUM, "\treturn !ph_quorate(hub) || hub->now_ms < hub->lease_until_ms;\n",
                "\treturn hub->now_ms != 0;\n"), partition="majority"),
    Defect("quorum off by one", "serve at the same time",
           Edit(QUORUM, "half = size / 2 + 1;", "half = size / 2;"), partition="majority"),
    Defect("grant not synced", ":a_grant_is_synced_first:",
           Edit(GRANT, "\tif (!ticket) {\n", "\tif (ticket || !ticket) {\n"),
           unit="test_core_quorum"),
    Defect("grant given twice", ":one_grant_at_a_time:",
           Edit(GRANT, """\
	const struct ph_name *last = last_of(slot);
	if (!last ||""", """\
	const struct ph_name *last = last_of(slot);
	if (last || !last ||"""), unit="test_core_quorum"),
    Defect("grant before the fence has passed", ":a_death_must_be_ones_own_verdict:",
           Edit(QUORUM, "\treturn last + (bound > wait_ms ? bound : wait_ms);\n",
                "\treturn last + bound + wait_ms > 0 ? 1 : 0;\n"), unit="test_core_quorum"),
    Defect("grant on another's verdict of death", ":a_death_must_be_ones_own_verdict:",
           Edit(GRANT, "\tif (line->rests_on.s[0] && !ph_fenced(hub, &line->rests_on))\n",
                "\tif (line->rests_on.s[0] && !line->epoch)\n"), unit="test_core_quorum"),
    Defect("a place is taken while its lease lasts", ":when_a_place_is_free:",
           Edit("daemon/core/seat.c",
                "return hub->now_ms >= until_ms && hub->now_ms >= start_ms;",
                "return hub->now_ms >= until_ms || hub->now_ms >= start_ms;"),
           unit="test_core_quorum"),
    Defect("who has accepted a view goes on renewing", ":what_is_accepted_is_kept:",
           Edit("daemon/core/seat.c", "return m->withheld || ph_seat_lost(hub, &m->info.name);",
                "return m->withheld;"),
           unit="test_core_quorum"),
    Defect("who was granted what an owner that lives was passed over for is never asked",
           ":what_was_given_up_withholds_no_echo:",
           Edit("daemon/core/grant.c", "\t\tif (!m || !ph_member_live(m))\n\t\t\tcontinue;\n\t\tasked++;",
                "\t\tif (!m || !ph_member_live(m) || hub)\n\t\t\tcontinue;\n\t\tasked++;"),
           unit="test_core_quorum"),
    Defect("echo renews the lease of one that was passed over", ":echoes_are_withheld:",
           Edit(ECHO, "(PH_ECHO_WITHHELD | PH_ECHO_ADRIFT)", "PH_ECHO_ADRIFT"),
           unit="test_core_quorum"),
    Defect("cut number read by what is newest", ":a_number_is_never_guessed:",
           Edit(ECHO, "\tuint64_t least = member->echo_seq;\n",
                "\tuint64_t least = member->echo_seq ? hub->sequence - 255 : 0;\n"),
           unit="test_core_echo"),
    Defect("in brief to one that knows another list", "is told by",
           Edit(ROLL, "\tif (m->state != PH_MEMBER_DEAD)\n\t\treturn ph_member_live(m);\n",
                "\tif (m->state != PH_MEMBER_DEAD)\n\t\treturn m->state == PH_MEMBER_ALIVE;\n")),
    Defect("in brief beyond what the other end has read", "reads that",
           Edit(ECHO, "echo->sequence >= member->mark_seq", "echo->sequence")),
    Defect("vote not synced", ":votes_are_synced_first:",
           Edit("daemon/core/ballot.c", """\
	wait->number = hub->promised;
	wait->answer = answer;
""", """\
	wait->number = hub->promised;
	wait->answer = answer;
	ph_ballot_synced(hub, wait, true);
"""), unit="test_core_quorum"),
    Defect("grant in an older view", ":no_grant_in_another_view_or_without_lease:",
           Edit(CLAIM_ASKED, "if (lines[i].verdict == PH_VERDICT_FREE && !same_view)\n",
                "if (lines[i].verdict == PH_VERDICT_FREE && !same_view && !msg)\n"),
           unit="test_core_quorum"),
    # ---- the hook `conflict`
    Defect("file goes though its hook failed", ":the_hook_gets_the_state:",
           Edit(CONFLICT, "\tc->merged = !event->error;\n",
                "\tc->merged = !event->error || event->error;\n"), unit="test_core_conflict"),
    Defect("stop does not wait for a hook", ":hooks_have_their_turns:",
           Edit("daemon/core/shutdown.c", "if (hub->instances || ph_conflict_merging(hub))",
                "if (hub->instances)"), unit="test_core_conflict"),
    Defect("hook out of its turn", ":hooks_have_their_turns:",
           Edit(CONFLICT, "if (busy >= PH_MERGES_MAX && !hub->stopping)",
                "if (busy > PH_MERGES_MAX && !hub->stopping)"), unit="test_core_conflict"),
    Defect("hook has no end", ":a_time_is_over:",
           Edit("daemon/core/hook_queue.c", "q->runs[i].until_ms > now_ms)",
                "q->runs[i].until_ms > now_ms + 1 || q->n)"), unit="test_core_hook_queue"),
    Defect("conflict gives way to an event", ":the_oldest_give_way:",
           Edit("daemon/core/hook_queue.c", "(events && q->runs[i].first)",
                "(events && q->n > 999)"),
           unit="test_core_hook_queue"),
    # ---- operators
    Defect("cancel of what is being committed is taken", ":an_operator_cancels:",
           Edit("daemon/core/cancel.c", "\tif (committed[s->state]) {\n",
                "\tif (committed[s->state] && s->state != PH_SOURCE_COMMITTING) {\n"),
           unit="test_core_source"),
    Defect("cancel though the old worker has ended", ":not_without_the_old_worker:",
           Edit("daemon/core/cancel.c", "\tif (!lives(s)) {\n", "\tif (!lives(s) && !why) {\n"),
           unit="test_core_cancel"),
    Defect("what was cancelled is planned again", ":of_a_drain:",
           Edit("daemon/core/move.c", """\
		if (s->cancelled && slot->work->instance && ph_slot_mine(hub, slot))
			pin_cancelled(hub, slot, &s->peer, s->cancelled_revision);
""", ""), unit="test_core_cancel"),
    Defect("a forgotten node is waited for", ":one_that_lost_its_journal_waits_no_longer:",
           Edit(GRANT, """ ||
			ph_forgotten(hub, &hub->view.voters[i].name))
""", ")\n"), unit="test_core_forget"),
    Defect("forget that nobody else agrees to", ":one_who_hears_it_objects:",
           Edit("daemon/core/forget.c", "\t\tif (ph_member_live(m))\n",
                "\t\tif (ph_member_live(m) && !order->incarnation)\n"),
           unit="test_core_forget"),
    Defect("forget before the fence has passed", ":not_before_its_fence_has_passed:",
           Edit("daemon/core/forget.c", """hub->bus_down ||
		!ph_fenced(hub, name)) {
""", "hub->bus_down) {\n"), unit="test_core_forget"),
    # ---- output of children
    Defect("half a line is written", ":test_whole_lines_are_relayed:",
           Edit("daemon/io/outline.c", "} else if (n && (end || full)) {", "} else if (n) {"),
           unit="test_output"),
    Defect("a line that went in two parts is remembered twice",
           ":test_reader_that_does_not_read:",
           Edit("daemon/io/output.c", "size_t at = fifo->skip < n ? fifo->skip : n;",
                "size_t at = 0;"), unit="test_output"),
    Defect("nothing tells of lines that are missing", ":test_slow_reader:",
           Edit("daemon/io/output_watch.c",
                "gap[n] = memory->ring.dropped > watch->cursor;", "gap[n] = false;"),
           unit="test_output"),
    Defect("a worker that has ended is waited for for ever", ":test_many_that_have_ended:",
           Edit("daemon/io/output.c", "if (memory->fifos <= ENDED_MAX)",
                "if (memory->fifos <= 1000 * ENDED_MAX)"), unit="test_output"),
    Defect("no event, no look", ":test_one_large_write:",
           Edit("daemon/io/output.c", "if (look.n || took)", "if (took)"),
           unit="test_output_file"),
    Defect("a new file begins within a line", ":test_flood:",
           Edit("daemon/io/logfile.c", "return (size_t)(last - bytes) + 1;", "return room;"),
           unit="test_output_file"),
    Defect("another old file takes the place of the compressed one", ":test_compression:",
           Edit("daemon/io/logfile.c", "\t\tfile->compressing++;", "\t\tfile->compressing += 0;"),
           unit="test_output_file"),
    Defect("a line is in the journal and in the FIFO", ":test_fields:|:test_busy:",
           Edit("daemon/io/output_sink.c", "\t\tph_pipe_discard(fifo->fd, piece.taken);\n", ""),
           unit="test_journald"),
    # ---- the order of start, groups
    Defect("a child is started before what it is started after", ":a_chain:|:all_instances:",
           Edit("daemon/core/instance.c", "if (instance->target ||\n", "if (true || instance->target ||\n"),
           unit="test_core_start_order"),
    Defect("what others lean on is stopped with them", ":stopped_the_other_way_round:",
           Edit("daemon/core/shutdown.c", "bool later = in_order && ph_after_needed(i);",
                "bool later = in_order && false;"), unit="test_core_start_order"),
    Defect("one restart of a group more", ":given_up:|:given_up_for_good:",
           Edit("daemon/core/group.c", "if (kept >= spec->intensity) {",
                "if (kept > spec->intensity) {"), unit="test_core_group"),
    Defect("a group starts while it is being stopped", ":the_order:",
           Edit("daemon/core/group.c",
                "return group && group->n_regroup > (instance->regroup == group);",
                "return false;"),
           unit="test_core_group"),
    # ---- restarts, health, reload
    Defect("a back-off longer than its cap", ":jitter_stays_in_bounds:",
           Edit("daemon/core/policy.c", "\t\twait = 2 * policy->backoff_max_ms - wait;\n",
                "\t\twait += 0;\n"), unit="test_core_policy"),
    Defect("restarts that are long past count", ":restarts_that_are_long_past_do_not_count:",
           Edit("daemon/core/policy.c",
                "if (instance->window_ms[i] + policy->within_ms > hub->now_ms)",
                "if (policy->within_ms)"), unit="test_core_policy"),
    Defect("a text that comes during a start is lost", ":another_text_while_it_starts:",
           Edit("daemon/core/instance_event.c",
                "\t\t\tph_child_catch_up(hub, instance->slot);\n", "\t\t\t(void)0;\n"),
           unit="test_core_instance"),
    Defect("an instance too many ends only where it runs undisturbed", ":while_it_moves:",
           Edit("daemon/core/plan.c", "\tif (!ph_child_surplus(slot))\n", "\tif (slot)\n"),
           unit="test_core_surplus"),
    Defect("an instance too many is started with its epoch synced", ":while_its_epoch_is_synced:",
           Edit("daemon/core/hub.c", "\tif (!spec || ph_child_surplus(slot) || overtaken ||",
                "\tif (!spec || overtaken ||"), unit="test_core_surplus"),
    Defect("a text for all is told by entries alone", ":a_text_for_all_of_an_owner:",
           Edit("daemon/core/propose.c", "\tif (child->spec->revision != before)\n",
                "\tif (child->spec->revision != before && !child->own)\n"),
           unit="test_core_surplus"),
    Defect("a swap is given away by another node's release", ":a_release_during_a_swap:",
           Edit("daemon/core/heal.c", "\tif (ph_is_self(hub, &s->peer))\n\t\treturn false;\n",
                "\t(void)hub;\n"), unit="test_core_conflict"),
    Defect("nobody is told that a slot for a migration is free", ":many_in_turn:",
           Edit("daemon/core/move.c", "\tif (hub->moves)\n", "\tif (hub->moves && !hub->now_ms)\n"),
           unit="test_core_swap"),
    Defect("an orderly stop looks at all of it after each event", ":shutdown_of_many:",
           Edit("daemon/core/shutdown.c", "hub->now_ms >= hub->stop_look_ms + LOOK_MS",
                "hub->now_ms >= hub->stop_look_ms"), unit="test_core_instance"),
    Defect("the turn of the next member of a group never comes", ":the_order:",
           Edit("daemon/core/group.c", "\t\thub->group_look = true;\n", "\t\t(void)0;\n"),
           unit="test_core_group"),
    Defect("a long start is health", ":what_ends_no_streak:",
           Edit("daemon/core/policy.c", "instance->ready_ms && instance->ready_ms + healthy",
                "instance->started_ms + healthy"), unit="test_core_policy"),
    Defect("ten seconds of health are enough", ":what_ends_no_streak:",
           Edit("daemon/core/policy.c",
                "policy->backoff_max_ms > HEALTHY_MS ? policy->backoff_max_ms : HEALTHY_MS",
                "HEALTHY_MS"), unit="test_core_policy"),
    Defect("one success in a row of failures does not count", ":unhealthy_is_restarted:",
           Edit("daemon/core/health.c", "event->error ? instance->probe_failures + 1 : 0;",
                "instance->probe_failures + (event->error != 0);"), unit="test_core_health"),
    Defect("an extension shortens", ":an_extension_never_shortens:",
           Edit("daemon/core/instance_event.c",
                " && until_ms > instance->since_ms + timeout_ms)", ")"), unit="test_core_instance"),
    Defect("a reload does otherwise than it tells", ":says_what_it_does:",
           Edit("daemon/shell_conf.c", "\thash_text(&hash, child->ready);\n", ""),
           unit="test_shell_reload"),
    # ---- what goes on when somebody is gone
    Defect("what was asked for ends with who asked", ":a_client_goes_away_before_it_is_done:",
           Edit("daemon/core/order.c", "\t\tif (order->command.verb == PH_VERB_WAIT)\n\t\t\tph_order_finish(hub, order, 0, \"\");",
                "\t\tph_order_finish(hub, order, 0, \"\");"), unit="test_core_order"),
    Defect("others hear of a child before its text is kept", ":synced_before_the_answer:",
           Edit("daemon/core/added.c", "\tif (!order->unsynced)\n\t\tin_force(hub, order);",
                "\tin_force(hub, order);"), unit="test_core_added"),
    Defect("the new worker of a swap is a stray to an old state file", ":a_crash_with_an_old_state_file:",
           Edit("daemon/core/instance_adopt.c", "|| find_target(hub, instance)",
                "|| (0 && find_target(hub, instance))"), unit="test_core_swap"),
    Defect("who has given its child away owns it", ":a_crash_after_all_with_an_old_state_file:",
           Edit("daemon/core/settled.c", "return s && s->given >= epoch;", "return s && s->given > epoch;"),
           unit="test_core_swap"),
    Defect("a worker goes back to the epoch of an old state file", ":a_second_crash_with_an_old_state_file:",
           Edit("daemon/core/settled.c", "epoch < s->to ? s->to : epoch;", "epoch < s->to ? epoch : epoch;"),
           unit="test_core_swap"),
    Defect("a stop is done before anybody is heard of", ":ordered_before_it_is_heard_of:",
           Edit("daemon/core/order.c", "(joined || line->tries >= PH_ORDER_TRIES)", "(true || joined)"),
           unit="test_core_order_end"),
    Defect("what an older wish keeps stopped has ended", ":started_while_its_daemon_comes_back:",
           Edit("daemon/core/order_look.c", "if (slot->wishes > line->wishes) {", "if (true) {"),
           unit="test_core_order_end"),
    Defect("more instances run beside those that are stopped", ":more_of_what_is_stopped:",
           Edit("daemon/core/order_do.c", "if (slot->wish_stopped || ph_slot_owned(slot) || there)",
                "if (true)"), unit="test_core_order_end"),
    Defect("a retention begins anew with each daemon", ":the_daemon_dies_in_the_retention:",
           Edit("daemon/core/instance_adopt.c", "adopted->retained_until_ms < most_ms", "false && most_ms"),
           unit="test_core_retention"),
    Defect("records that belong together are written as they come", ":held_records_are_one_write:",
           Edit("daemon/io/journal_thread.c", "\tif (!t->holding)\n", "\tif (true)\n"),
           unit="test_journal_disk"),
    Defect("a line is interrupted by another writer", ":test_nobody_interrupts_a_line:",
           Edit("daemon/io/output_sink.c", "\tif (sink->owner && sink->owner != fifo)\n\t\treturn -EBUSY;\n", ""),
           unit="test_output_file"),

    # ---- what was not seen by any test until its rule was taken out
    Defect("nobody besides the source hears of active", ":who_hears_of_active:",
           Edit(TARGET, "\ttell_one_more(hub, t);\n\tif (!t->a_dead)",
                "\t(void)tell_one_more;\n\tif (!t->a_dead)"), unit="test_core_target"),
    Defect("an unknown COMMIT for another journal is refused", ":what_an_unknown_id_is_answered:",
           Edit(TARGET_SAY, "bool other_journal =\n", "bool other_journal = false &&\n"),
           unit="test_core_target"),
    Defect("an old worker that dies behind its last word is aborted",
           ":it_ends_behind_its_last_word:",
           Edit(SOURCE_END, "\tif (s->have_end && s->end_final)\n"
                "\t\treturn ph_source_copy_is_all(hub, s);\n", ""), unit="test_core_source"),
    Defect("what lay in the socket while the node was away counts", ":a_commit_that_comes_late:",
           Edit("daemon/core/route.c", "(hub->away && repeated(msg->kind))", "false"),
           unit="test_core_back"),
    Defect("a released copy does not go before an empty one", ":what_goes_before_an_empty_one:",
           Edit(CLAIM_ASKED, "slot->work->target->state == PH_TARGET_RELEASING)",
                "slot->work->target->state == PH_TARGET_STATE_COUNT)"), unit="test_core_claim"),
    Defect("frozen while somebody is silent", ":an_order:|:it_is_back:|:a_drain:",
           Edit(SOURCE, "if (last && hold(hub, s))", "if (last && hold(hub, s) && false)"),
           unit="test_core_silent"),
    Defect("no confirmation finds its way round a cut", ":a_cut_link_keeps_no_old_worker:",
           Edit("daemon/core/exchange_fetch.c", "\tconfirm_by_relay(hub, member);\n", ""),
           unit="test_core_retention"),
    Defect("an echo of another view renews the lease", ":an_echo_of_another_view_renews_nothing:",
           Edit(ECHO, "&& msg->view == hub->view.number &&\n", "&&\n"), unit="test_core_quorum"),
    Defect("what is prepared stays without a lease", ":what_is_prepared_is_given_up:",
           Edit(QUORUM, "\t\tif (t->state < PH_TARGET_ACTIVATING)\n",
                "\t\tif (t->state < PH_TARGET_STARTING)\n"), unit="test_core_quorum"),
    Defect("a slot is held until the old worker is gone", ":a_slot_is_free_from_the_commit_on:",
           Edit("daemon/core/migration.c", "n += s->state < PH_SOURCE_COMMITTED;",
                "n += s->state < PH_SOURCE_ENDED;"), unit="test_core_backoff"),
    Defect("a worker that says never is asked again", ":never_is_asked_once:",
           Edit("daemon/core/move.c", "move->pinned = s->never || given_up",
                "move->pinned = given_up"), unit="test_core_backoff"),
    Defect("a job is done only where it has run", ":it_stays_done:",
           Edit("daemon/core/hub.c", "past.done && spec->revision",
                "past.done && false && spec->revision"), unit="test_core_done"),
    Defect("who claims what is done is not told so", ":who_comes_is_told:",
           Edit(CLAIM, "\t\tph_past_join(&claim->past, &line->past);\n", ""),
           unit="test_core_done"),
    Defect("another policy is not for what has ended", ":another_policy:",
           Edit("daemon/core/policy.c", "if (other && again &&", "if (other && again && false &&"),
           unit="test_core_policy"),
]
