#include "proto/bus.h"

#include "base/places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT_MAX 1e6
#define LABELS_MAX 4096

/* ---- words */

#define X(name, word) word,
static const char *const kind_words[] = {PH_BKINDS(X) NULL};
const char *const ph_words_member_state[] = {PH_MEMBER_STATES(X) NULL};
const char *const ph_words_child_state[] = {PH_CHILD_STATES(X) NULL};
const char *const ph_words_phase[] = {PH_PHASES(X) NULL};
const char *const ph_words_result[] = {PH_RESULTS(X) NULL};
const char *const ph_words_verb[] = {PH_VERBS(X) NULL};
static const char *const lineage_words[] = {PH_LINEAGES(X) NULL};
static const char *const basis_words[] = {PH_CLAIM_BASES(X) NULL};
static const char *const verdict_words[] = {PH_VERDICTS(X) NULL};
#undef X
const char *const ph_words_role[] = {"", "active", "standby", NULL};
static const char *const exit_words[] = {"", "code", "signal", "core", "unknown", "oom", NULL};

/* A message on its way: the codec has no type for bytes. */
struct wire {
	struct ph_bmsg m;
	char ticket[2 * PH_SECRET_SIZE + 1];
};

/*
 * ---- lists: short words, there are many of each
 *
 * HEX64 where a value may be any 64 bits: digests, versions, numbers drawn at random, and ages,
 * which may be UINT64_MAX for "never". A STR has a `max` so that what grows while it is written (a
 * character that was cut in the middle becomes U+FFFD) is cut, and not refused by its reader.
 */

static const struct ph_field member_rows[] = {
	{PH_FIELD("name", NAME, ph_member_info, name), .required = true},
	{PH_FIELD("inc", U64, ph_member_info, incarnation)},
	{PH_FIELD("slot", U32, ph_member_info, slot), .max = 0xffffff},
	{PH_FIELD("addr", STR, ph_member_info, address), .max = PH_ADDRESS_SIZE - 1},
	{PH_FIELD("weight", NUM, ph_member_info, weight)},
	{PH_FIELD("labels", TEXT, ph_member_info, labels), .max = LABELS_MAX},
	{PH_FIELD("ver", STR, ph_member_info, version), .max = PH_VERSION_SIZE - 1},
	{PH_FIELD("state", ENUM, ph_member_info, state), .words = ph_words_member_state},
	{PH_FIELD("draining", BOOL, ph_member_info, draining)},
	{PH_FIELD("failure", U32, ph_member_info, failure_ms)},
	{PH_FIELD("fence", U32, ph_member_info, fence_ms)},
	{PH_FIELD("quorate", BOOL, ph_member_info, quorate)},
	{0},
};

static const struct ph_field echo_rows[] = {
	{PH_FIELD("name", NAME, ph_echo, name), .required = true},
	{PH_FIELD("inc", U64, ph_echo, incarnation)},
	{PH_FIELD("seq", U64, ph_echo, sequence)},
	{PH_FIELD("age", HEX64, ph_echo, age_ms)},
	{PH_FIELD("have", HEX64, ph_echo, have)},
	{PH_FIELD("flags", U32, ph_echo, flags)},
	{0},
};

static const struct ph_field age_rows[] = {{PH_FIELD("age", U64, ph_age, ms)}, {0}};

static const struct ph_field part_rows[] = {
	{PH_FIELD("name", NAME, ph_part, name), .required = true},
	{PH_FIELD("inc", U64, ph_part, incarnation)},
	{PH_FIELD("have", HEX64, ph_part, have)},
	{PH_FIELD("mig", HEX64, ph_part, have_migrations)},
	{PH_FIELD("digest", HEX64, ph_part, digest)},
	{0},
};

#define KEY_ROWS(st) \
	{PH_FIELD("c", NAME, st, key.child), .required = true}, \
		{PH_FIELD("i", U32, st, key.instance)}, \
	{ \
		PH_FIELD("r", U32, st, key.replica) \
	}

static const struct ph_field entry_rows[] = {
	KEY_ROWS(ph_entry),
	{PH_FIELD("local", BOOL, ph_entry, local)},
	{PH_FIELD("n", NAME, ph_entry, node)},
	{PH_FIELD("e", U64, ph_entry, epoch)},
	{PH_FIELD("v", HEX64, ph_entry, version)},
	{PH_FIELD("rev", U64, ph_entry, revision)},
	{PH_FIELD("s", ENUM, ph_entry, state), .words = ph_words_child_state},
	{PH_FIELD("ready", BOOL, ph_entry, ready)},
	{PH_FIELD("wish", BOOL, ph_entry, stopped_by_wish)},
	{PH_FIELD("wishes", U32, ph_entry, wishes)},
	{PH_FIELD("unfit", BOOL, ph_entry, unfit)},
	{PH_FIELD("done", BOOL, ph_entry, done)},
	{PH_FIELD("role", ENUM, ph_entry, role), .words = ph_words_role},
	{PH_FIELD("lin", ENUM, ph_entry, lineage), .words = lineage_words},
	{PH_FIELD("born", U64, ph_entry, born_ms)},
	{PH_FIELD("copied", U64, ph_entry, copied_ms)},
	{PH_FIELD("pid", U32, ph_entry, pid)},
	{PH_FIELD("res", U32, ph_entry, restarts)},
	{PH_FIELD("x", ENUM, ph_entry, exit.kind), .words = exit_words},
	{PH_FIELD("xv", U32, ph_entry, exit.value)},
	{PH_FIELD("age", HEX64, ph_entry, age_ms)},
	{PH_FIELD("meta", JSON_OBJ, ph_entry, meta), .max = PH_META_MAX},
	{0},
};

static const struct ph_field migration_rows[] = {
	{PH_FIELD("id", ID, ph_migration_info, id), .required = true},
	KEY_ROWS(ph_migration_info),
	{PH_FIELD("from", NAME, ph_migration_info, from)},
	{PH_FIELD("to", NAME, ph_migration_info, to)},
	{PH_FIELD("v", HEX64, ph_migration_info, version)},
	{PH_FIELD("p", ENUM, ph_migration_info, phase), .words = ph_words_phase},
	{PH_FIELD("res", ENUM, ph_migration_info, result), .words = ph_words_result},
	{PH_FIELD("round", U32, ph_migration_info, round)},
	{PH_FIELD("b", U64, ph_migration_info, bytes)},
	{PH_FIELD("t", U64, ph_migration_info, total), PH_HAS(ph_migration_info, has_total)},
	{PH_FIELD("ms", U64, ph_migration_info, elapsed_ms)},
	{PH_FIELD("down", U64, ph_migration_info, downtime_us),
		PH_HAS(ph_migration_info, has_downtime)},
	{PH_FIELD("why", STR, ph_migration_info, reason), .max = PH_REASON_SIZE - 1},
	{0},
};

static const struct ph_field claim_rows[] = {
	KEY_ROWS(ph_claim_line),
	{PH_FIELD("e", U64, ph_claim_line, epoch)},
	{PH_FIELD("basis", ENUM, ph_claim_line, basis), .words = basis_words},
	{PH_FIELD("n", NAME, ph_claim_line, node)},
	{PH_FIELD("id", ID, ph_claim_line, id)},
	{PH_FIELD("dead", NAME, ph_claim_line, rests_on)},
	{PH_FIELD("lin", ENUM, ph_claim_line, lineage), .words = lineage_words},
	{PH_FIELD("born", U64, ph_claim_line, born_ms)},
	{PH_FIELD("copied", U64, ph_claim_line, copied_ms)},
	{PH_FIELD("v", ENUM, ph_claim_line, verdict), .words = verdict_words},
	{PH_FIELD("seen", U64, ph_claim_line, seen)},
	{PH_FIELD("wish", BOOL, ph_claim_line, stopped_by_wish)},
	{PH_FIELD("last", U64, ph_claim_line, past.epoch)},
	{PH_FIELD("lv", HEX64, ph_claim_line, past.version)},
	{PH_FIELD("rev", U64, ph_claim_line, past.revision)},
	{PH_FIELD("res", U32, ph_claim_line, past.restarts)},
	{PH_FIELD("x", ENUM, ph_claim_line, past.exit.kind), .words = exit_words},
	{PH_FIELD("xv", U32, ph_claim_line, past.exit.value)},
	{PH_FIELD("done", BOOL, ph_claim_line, past.done)},
	{0},
};

static const struct ph_field spec_rows[] = {
	{PH_FIELD("c", NAME, ph_spec_line, child), .required = true},
	{PH_FIELD("rev", U64, ph_spec_line, revision)},
	{PH_FIELD("text", TEXT, ph_spec_line, text), .max = PH_BMSG_SPEC_MAX},
	{0},
};

#define LIST(word, member, count, limit, rows, st) \
	{ \
		PH_FIELD(word, LIST, wire, m.member), PH_COUNT(wire, m.count), \
			.max = (limit), .sub = (rows), .element_size = sizeof(struct st) \
	}

#define SPECS LIST("specs", specs, n_specs, PH_BMSG_LINES_MAX, spec_rows, ph_spec_line)

/* ---- kinds */

#define SELF(must) \
	{PH_FIELD("self", OBJ, wire, m.self), .sub = member_rows, .required = (must)}, \
		{PH_FIELD("known", U64, wire, m.known_incarnation)}, \
		{PH_FIELD("reg", HEX64, wire, m.registry_version)}, \
		{PH_FIELD("digest", HEX64, wire, m.registry_digest)}, \
		{PH_FIELD("mig", HEX64, wire, m.migrations_version)}, \
		{PH_FIELD("children", U32, wire, m.children)}, \
	{ \
		PH_FIELD("why", STR, wire, m.reason), .max = PH_REASON_SIZE - 1 \
	}

static const struct ph_field hello_rows[] = {
	SELF(true),
	{PH_FIELD("brief", BOOL, wire, m.brief)},
	LIST("members", members, n_members, PH_BMSG_MEMBERS_MAX, member_rows, ph_member_info),
	{0},
};

static const struct ph_field challenge_rows[] = {
	SELF(true),
	{PH_FIELD("nonce", ID, wire, m.nonce)},
	{PH_FIELD("name", BOOL, wire, m.refused)},
	{0},
};

static const struct ph_field proof_rows[] = {
	SELF(true),
	{PH_FIELD("nonce", ID, wire, m.nonce), .required = true},
	{PH_FIELD("prev", U64, wire, m.previous)},
	{PH_FIELD("refused", BOOL, wire, m.refused)},
	{PH_FIELD("brief", BOOL, wire, m.brief)},
	{PH_FIELD("view", U64, wire, m.view)},
	{0},
};

static const struct ph_field leave_rows[] = {SELF(false), {0}};

static const struct ph_field refused_rows[] = {
	SELF(false),
	{PH_FIELD("name", BOOL, wire, m.refused)},
	{PH_FIELD("e", U64, wire, m.epoch)},
	{0},
};

static const struct ph_field probe_rows[] = {
	{PH_FIELD("seq", U64, wire, m.sequence), .required = true},
	{PH_FIELD("target", NAME, wire, m.target)},
	{0},
};

static const struct ph_field heartbeat_rows[] = {
	SELF(true),
	{PH_FIELD("seq", U64, wire, m.sequence), .required = true},
	{PH_FIELD("view", U64, wire, m.view)},
	{PH_FIELD("drained", BOOL, wire, m.drained)},
	{PH_FIELD("echo", LIST, wire, m.echoes), PH_COUNT(wire, m.n_echoes),
		.max = PH_BMSG_MEMBERS_MAX, .shape = PH_SHAPE_TUPLE, .sub = echo_rows,
		.element_size = sizeof(struct ph_echo)},
	{PH_FIELD("list", HEX64, wire, m.list)},
	{PH_FIELD("base", HEX64, wire, m.base)},
	{PH_FIELD("ages", LIST, wire, m.ages), PH_COUNT(wire, m.n_ages), .max = PH_PLACE_AGES,
		.shape = PH_SHAPE_BARE, .sub = age_rows, .element_size = sizeof(struct ph_age)},
	{PH_FIELD("places", TEXT, wire, m.places), .max = PH_PLACE_CHARS * PH_BMSG_MEMBERS_MAX},
	{0},
};

static const struct ph_field registry_rows[] = {
	{PH_FIELD("node", NAME, wire, m.node)},
	{PH_FIELD("known", U64, wire, m.known_incarnation)},
	{PH_FIELD("fetched", BOOL, wire, m.fetched)},
	{PH_FIELD("hops", U32, wire, m.hops), .max = PH_HOPS_MAX},
	{PH_FIELD("seq", HEX64, wire, m.sequence)},
	{PH_FIELD("since", HEX64, wire, m.since)},
	{PH_FIELD("until", HEX64, wire, m.until)},
	{PH_FIELD("reg", HEX64, wire, m.registry_version)},
	{PH_FIELD("digest", HEX64, wire, m.registry_digest)},
	{PH_FIELD("mig", HEX64, wire, m.migrations_version)},
	{PH_FIELD("whole", BOOL, wire, m.whole)},
	{PH_FIELD("last", BOOL, wire, m.last)},
	LIST("entries", entries, n_entries, PH_BMSG_LINES_MAX, entry_rows, ph_entry),
	LIST("migrations", migrations, n_migrations, PH_BMSG_LINES_MAX, migration_rows,
		ph_migration_info),
	{0},
};

static const struct ph_field digest_rows[] = {
	{PH_FIELD("ask", BOOL, wire, m.ask)},
	{PH_FIELD("parts", LIST, wire, m.parts), PH_COUNT(wire, m.n_parts),
		.max = PH_BMSG_MEMBERS_MAX, .shape = PH_SHAPE_TUPLE, .sub = part_rows,
		.element_size = sizeof(struct ph_part)},
	{0},
};

static const struct ph_field specs_rows[] = {SPECS, {0}};

static const struct ph_field claims_rows[] = {
	{PH_FIELD("claim", HEX64, wire, m.claim), .required = true},
	{PH_FIELD("view", U64, wire, m.view)},
	{PH_FIELD("last", BOOL, wire, m.last)},
	{PH_FIELD("seq", HEX64, wire, m.sequence)},
	{PH_FIELD("vote", HEX64, wire, m.until)},
	{PH_FIELD("ballot", U64, wire, m.ballot)},
	{PH_FIELD("accepted", U64, wire, m.accepted)},
	{PH_FIELD("value", TEXT, wire, m.value), .max = PH_BMSG_VIEW_MAX},
	LIST("claims", claims, n_claims, PH_BMSG_LINES_MAX, claim_rows, ph_claim_line),
	{0},
};

static const struct ph_field view_rows[] = {
	{PH_FIELD("view", U64, wire, m.view), .required = true},
	{PH_FIELD("ballot", U64, wire, m.ballot)},
	{PH_FIELD("accepted", U64, wire, m.accepted)},
	{PH_FIELD("ok", BOOL, wire, m.ok)},
	{PH_FIELD("value", TEXT, wire, m.value), .max = PH_BMSG_VIEW_MAX},
	{0},
};

#define MIGRATION(with_key) \
	{PH_FIELD("id", ID, wire, m.id), .required = true}, \
		{PH_FIELD("c", NAME, wire, m.key.child), .required = (with_key)}, \
		{PH_FIELD("i", U32, wire, m.key.instance)}, \
		{PH_FIELD("r", U32, wire, m.key.replica)}, \
		{PH_FIELD("e", U64, wire, m.epoch), .required = (with_key)}, \
		{PH_FIELD("ok", BOOL, wire, m.ok)}, {PH_FIELD("busy", BOOL, wire, m.busy)}, \
		{PH_FIELD("seen", U64, wire, m.seen)}, {PH_FIELD("journal", ID, wire, m.journal)}, \
		{PH_FIELD("round", U32, wire, m.round)}, {PH_FIELD("bytes", U64, wire, m.bytes)}, \
		{PH_FIELD("estimate", U64, wire, m.bytes_estimate)}, \
		{PH_FIELD("digest", HEX64, wire, m.digest)}, \
		{PH_FIELD("final", BOOL, wire, m.final)}, \
		{PH_FIELD("why", STR, wire, m.reason), .max = PH_REASON_SIZE - 1}, \
	{ \
		PH_FIELD("meta", JSON_OBJ, wire, m.meta), .max = PH_META_MAX \
	}

static const struct ph_field prepare_rows[] = {
	MIGRATION(true),
	{PH_FIELD("overlap", BOOL, wire, m.overlap)},
	{PH_FIELD("format", STR, wire, m.format), .max = PH_VERSION_SIZE - 1},
	{PH_FIELD("format_version", U64, wire, m.format_version)},
	{PH_FIELD("age", U64, wire, m.age_ms)},
	{PH_FIELD("born", U64, wire, m.born_ms)},
	{PH_FIELD("copied", U64, wire, m.copied_ms)},
	{PH_FIELD("ticket", HEX, wire, ticket), .required = true},
	SPECS,
	{0},
};

static const struct ph_field step_rows[] = {
	MIGRATION(false),
	{PH_FIELD("format", STR, wire, m.format), .max = PH_VERSION_SIZE - 1}, /* ROUND */
	{PH_FIELD("format_version", U64, wire, m.format_version)},
	{PH_FIELD("merged", BOOL, wire, m.merged)}, /* CONFLICT */
	{0},
};

static const struct ph_field order_rows[] = {
	{PH_FIELD("order", HEX64, wire, m.order), .required = true},
	{PH_FIELD("verb", ENUM, wire, m.verb), .words = ph_words_verb},
	{PH_FIELD("c", NAME, wire, m.key.child)},
	{PH_FIELD("i", U32, wire, m.key.instance)},
	{PH_FIELD("r", U32, wire, m.key.replica)},
	{PH_FIELD("all", BOOL, wire, m.all_instances)},
	{PH_FIELD("target", NAME, wire, m.target)},
	{PH_FIELD("known", U64, wire, m.known_incarnation)},
	{PH_FIELD("ask", BOOL, wire, m.ask)},
	{PH_FIELD("force", BOOL, wire, m.force)},
	{PH_FIELD("sig", U32, wire, m.signal)},
	{PH_FIELD("ok", BOOL, wire, m.ok)},
	{PH_FIELD("busy", BOOL, wire, m.busy)},
	{PH_FIELD("id", ID, wire, m.id)},
	{PH_FIELD("why", STR, wire, m.reason), .max = PH_REASON_SIZE - 1},
	{0},
};

static const struct ph_field logs_rows[] = {
	{PH_FIELD("id", ID, wire, m.id), .required = true},
	{PH_FIELD("c", NAME, wire, m.key.child), .required = true},
	{PH_FIELD("i", U32, wire, m.key.instance)},
	{PH_FIELD("all", BOOL, wire, m.all_instances)},
	{PH_FIELD("last", U32, wire, m.n_last)},
	{PH_FIELD("since", HEX64, wire, m.since_ms)},
	{PH_FIELD("follow", BOOL, wire, m.follow)},
	{PH_FIELD("sequence", U64, wire, m.sequence)},
	{PH_FIELD("final", BOOL, wire, m.final)},
	{0},
};

static const struct ph_field line_rows[] = {
	{PH_FIELD("i", U32, ph_log_line, instance)},
	{PH_FIELD("r", U32, ph_log_line, replica)},
	{PH_FIELD("age", HEX64, ph_log_line, age_ms), PH_HAS(ph_log_line, has_age)},
	{PH_FIELD("s", U32, ph_log_line, stream), .max = 2},
	{PH_FIELD("cut", BOOL, ph_log_line, cut)},
	{PH_FIELD("gap", BOOL, ph_log_line, gap)},
	{PH_FIELD("t", TEXT, ph_log_line, text), .required = true, .max = PH_BMSG_TEXT_MAX},
	{0},
};

static const struct ph_field lines_rows[] = {
	{PH_FIELD("id", ID, wire, m.id), .required = true},
	{PH_FIELD("sequence", U64, wire, m.sequence), .required = true},
	{PH_FIELD("final", BOOL, wire, m.final)},
	{PH_FIELD("why", STR, wire, m.reason), .max = PH_REASON_SIZE - 1},
	{PH_FIELD("lines", LIST, wire, m.lines), PH_COUNT(wire, m.n_lines),
		.max = PH_BMSG_LINES_MAX, .sub = line_rows,
		.element_size = sizeof(struct ph_log_line)},
	{0},
};

static const struct ph_field relay_rows[] = {
	{PH_FIELD("target", NAME, wire, m.target), .required = true},
	{PH_FIELD("on", BOOL, wire, m.passed_on)},
	{PH_FIELD("frame", TEXT, wire, m.frame), .required = true, .max = PH_BMSG_FRAME_MAX},
	{0},
};

static const struct ph_field *const tables[PH_BKIND_COUNT] = {
	[PH_B_HELLO] = hello_rows,
	[PH_B_CHALLENGE] = challenge_rows,
	[PH_B_PROOF] = proof_rows,
	[PH_B_WELCOME] = hello_rows,
	[PH_B_REFUSED] = refused_rows,
	[PH_B_HEARTBEAT] = heartbeat_rows,
	[PH_B_LEAVE] = leave_rows,
	[PH_B_PROBE] = probe_rows,
	[PH_B_PROBE_ACK] = probe_rows,
	[PH_B_REGISTRY] = registry_rows,
	[PH_B_FETCH] = registry_rows,
	[PH_B_DIGEST] = digest_rows,
	[PH_B_HAVE] = digest_rows,
	[PH_B_SPEC_FETCH] = specs_rows,
	[PH_B_SPEC] = specs_rows,
	[PH_B_CLAIM] = claims_rows,
	[PH_B_CLAIM_ANSWER] = claims_rows,
	[PH_B_PREPARE] = prepare_rows,
	[PH_B_READY] = step_rows,
	[PH_B_REJECT] = step_rows,
	[PH_B_DIAL_BACK] = step_rows,
	[PH_B_ROUND] = step_rows,
	[PH_B_ROUND_END] = step_rows,
	[PH_B_LOADED] = step_rows,
	[PH_B_PREPARED] = step_rows,
	[PH_B_COMMIT] = step_rows,
	[PH_B_ACTIVE] = step_rows,
	[PH_B_NACK] = step_rows,
	[PH_B_LOST] = step_rows,
	[PH_B_ABORT] = step_rows,
	[PH_B_ABORTED] = step_rows,
	[PH_B_VOID] = step_rows,
	[PH_B_VOID_ACK] = step_rows,
	[PH_B_QUERY] = step_rows,
	[PH_B_RELEASE] = step_rows,
	[PH_B_RELEASED] = step_rows,
	[PH_B_FORGET] = step_rows,
	[PH_B_FORGOTTEN] = step_rows,
	[PH_B_PROPOSED] = specs_rows,
	[PH_B_DROPPED] = specs_rows,
	[PH_B_DECLARED] = specs_rows,
	[PH_B_ORDER] = order_rows,
	[PH_B_ORDER_ACK] = order_rows,
	[PH_B_VIEW_FETCH] = view_rows,
	[PH_B_VIEW] = view_rows,
	[PH_B_VIEW_ASK] = view_rows,
	[PH_B_VIEW_PROMISE] = view_rows,
	[PH_B_VIEW_PROPOSE] = view_rows,
	[PH_B_VIEW_ACCEPTED] = view_rows,
	[PH_B_GRANTS_FETCH] = view_rows,
	[PH_B_GRANTS] = claims_rows,
	[PH_B_GRANT_CHECK] = claims_rows,
	[PH_B_UNCLAIM] = claims_rows,
	[PH_B_GRANTED] = claims_rows,
	[PH_B_CONFLICT] = step_rows,
	[PH_B_CONFLICT_ACK] = step_rows,
	[PH_B_LOGS] = logs_rows,
	[PH_B_LINES] = lines_rows,
	[PH_B_RELAY] = relay_rows,
};

const char *ph_bkind_word(enum ph_bkind kind)
{
	return (unsigned)kind < PH_BKIND_COUNT ? kind_words[kind] : "";
}

/* ---- tickets */

static void ticket_write(const uint8_t *bytes, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < PH_SECRET_SIZE; i++) {
		ret[2 * i] = digits[bytes[i] >> 4];
		ret[2 * i + 1] = digits[bytes[i] & 15];
	}
	ret[2 * (size_t)PH_SECRET_SIZE] = '\0';
}

static unsigned digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The codec has seen to it that there are digits only. */
static void ticket_read(const char *text, uint8_t *ret)
{
	for (size_t i = 0; text[0] && i < PH_SECRET_SIZE; i++)
		ret[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
}

/* ---- what a table cannot say */

static bool weight_ok(const struct ph_member_info *member)
{
	return member->weight >= 0 && member->weight <= WEIGHT_MAX;
}

static int check_places(const struct ph_bmsg *m, struct ph_err *err)
{
	size_t n = strlen(m->places);
	if (n % PH_PLACE_CHARS)
		return ph_err_set(err, EBADMSG,
			"places: expected %d characters for each member, found %zu in all",
			PH_PLACE_CHARS, n);
	for (size_t i = 0; i < n; i += PH_PLACE_CHARS) {
		struct ph_place place;
		if (!ph_place_get(m->places + i, &place))
			return ph_err_set(err, EBADMSG,
				"places: expected characters of " PH_PLACE_DIGITS
				", found others at %zu",
				i);
		if (place.age > m->n_ages)
			return ph_err_set(err, EBADMSG,
				"places: expected one of %zu ages, found number %d at %zu",
				m->n_ages, place.age, i);
	}
	if (!m->base)
		return ph_err_set(err, EBADMSG, "base: expected whose places there are");
	return 0;
}

static int check(const struct ph_bmsg *m, struct ph_err *err)
{
	if (!weight_ok(&m->self))
		return ph_err_set(err, EBADMSG, "self.weight: out of range");
	for (size_t i = 0; i < m->n_members; i++) {
		if (!weight_ok(&m->members[i]))
			return ph_err_set(err, EBADMSG, "members[%zu].weight: out of range", i);
	}
	if (m->kind == PH_B_PREPARE && m->n_specs != 1)
		return ph_err_set(
			err, EBADMSG, "specs: expected exactly one, found %zu", m->n_specs);
	return m->kind == PH_B_HEARTBEAT && m->places ? check_places(m, err) : 0;
}

static int decode(struct ph_doc *doc, struct wire *wire, struct ph_err *err)
{
	const char *word = ph_doc_text(doc, "op");
	int kind = word ? ph_codec_word(kind_words, word) : -1;
	if (kind < 0 || !tables[kind])
		return ph_err_set(err, EBADMSG, "%s kind of message", word ? "unknown" : "no");
	int error = ph_codec_decode(doc, tables[kind], wire, err);
	wire->m.kind = (enum ph_bkind)kind;
	if (!error)
		error = check(&wire->m, err);
	if (error)
		ph_err_prefix(err, "%s", kind_words[kind]);
	return error;
}

int ph_bmsg_decode(const char *body, size_t n, struct ph_bmsg *ret, struct ph_doc **ret_doc,
	struct ph_err *err)
{
	struct ph_doc *doc = NULL;
	struct wire wire;
	if (n > PH_BMSG_MAX)
		return ph_err_set(err, EMSGSIZE, "a message of %zu bytes is too long", n);
	int error = ph_doc_parse(body, n, &doc, err);
	if (error)
		return error;
	memset(&wire, 0, sizeof wire);
	error = decode(doc, &wire, err);
	if (error) {
		ph_doc_free(doc);
		return error;
	}
	ticket_read(wire.ticket, wire.m.ticket);
	*ret = wire.m;
	*ret_doc = doc;
	return 0;
}

char *ph_bmsg_encode(const struct ph_bmsg *message, size_t *ret_n)
{
	struct wire wire = {.m = *message};
	if ((unsigned)message->kind >= PH_BKIND_COUNT || !tables[message->kind] ||
		check(message, NULL)) {
		errno = EINVAL;
		return NULL;
	}
	ticket_write(message->ticket, wire.ticket);
	return ph_codec_write(
		tables[message->kind], &wire, kind_words[message->kind], 0, PH_BMSG_MAX, ret_n);
}
