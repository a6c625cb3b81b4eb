/* Bodies of bus messages: every kind with every field there and back; hostile ones are refused. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/places.h"
#include "proto/bus.h"
#include "run_tests.h"

static const struct ph_key key = {.child = {"room"}, .instance = 17, .replica = 2};
static const struct ph_id id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}};
static const struct ph_id journal = {{9, 9, 9}};

static const struct ph_member_info members[] = {
	{.name = {"a"},
		.incarnation = 1764000000123,
		.slot = 0xabcdef,
		.address = "tcp://[::1]:7400",
		.weight = 0.1,
		.labels = "zone=a,ssd",
		.version = "0.1.0",
		.state = PH_MEMBER_SUSPECT,
		.draining = true,
		.failure_ms = 5000,
		.fence_ms = 4000,
		.quorate = true},
	{.name = {"b"}, .incarnation = 1, .weight = 1.0, .state = PH_MEMBER_LEFT},
};

static const struct ph_echo echoes[] = {
	{.name = {"a"},
		.incarnation = 5,
		.sequence = 77,
		.age_ms = UINT64_MAX,
		.have = UINT64_MAX - 1,
		.flags = PH_ECHO_SUSPECT | PH_ECHO_DRAINED},
	{.name = {"b"}},
};

static const struct ph_age ages[] = {{250}, {1}};

static const struct ph_part parts[] = {
	{.name = {"a"},
		.incarnation = 5,
		.have = UINT64_MAX,
		.have_migrations = 7,
		.digest = 0x8000000000000001u},
	{.name = {"b"}},
};

static const struct ph_entry entries[] = {
	{.key = {.child = {"room"}, .instance = 3, .replica = 1},
		.local = true,
		.node = {"a"},
		.epoch = PH_EPOCH_LIMIT - 1,
		.version = UINT64_MAX,
		.revision = 12,
		.state = PH_CHILD_FROZEN,
		.ready = true,
		.stopped_by_wish = true,
		.done = true,
		.wishes = UINT16_MAX,
		.role = PH_ROLE_STANDBY,
		.lineage = PH_LINEAGE_COLD,
		.born_ms = PH_EPOCH_LIMIT - 1,
		.copied_ms = 99,
		.pid = UINT32_MAX,
		.restarts = 9,
		.exit = {PH_EXIT_CORE, 11},
		.age_ms = UINT64_MAX,
		.meta = "{\"addr\":\"10.0.0.1:80\"}"},
	{.key = {.child = {"web"}}, .state = PH_CHILD_REMOVED},
};

static const struct ph_migration_info migrations[] = {
	{.id = {{7}},
		.key = {.child = {"room"}, .instance = 1, .replica = 1},
		.from = {"a"},
		.to = {"b"},
		.version = 3,
		.phase = PH_PHASE_RETENTION,
		.result = PH_RESULT_TARGET_DEAD,
		.round = 4,
		.bytes = 1u << 30,
		.has_total = true,
		.total = 0,
		.elapsed_ms = 99,
		.has_downtime = true,
		.downtime_us = 1234,
		.reason = "because \"so\"\n"},
	{.id = {{8}}, .key = {.child = {"web"}}},
};

static const struct ph_spec_line specs[] = {
	{.child = {"web"}, .revision = 5, .text = "{\"command\":[\"/bin/\xc3\xa4\"],\"w\":1.0}"},
};

static const struct ph_claim_line claims[] = {
	{.key = {.child = {"room"}, .instance = 1, .replica = 3},
		.epoch = 7,
		.basis = PH_CLAIM_TAKEBACK,
		.node = {"b"},
		.id = {{1}},
		.rests_on = {"a"},
		.lineage = PH_LINEAGE_FROM_COPY,
		.born_ms = 17,
		.copied_ms = 18,
		.verdict = PH_VERDICT_REFUSED,
		.seen = 8,
		.stopped_by_wish = true,
		.past = {.epoch = 6,
			.version = UINT64_MAX,
			.revision = 5,
			.restarts = 4,
			.exit = {PH_EXIT_CODE, 3},
			.done = true}},
	{.key = {.child = {"web"}}},
};

static const struct ph_log_line log_lines[] = {
	{.has_age = true, .stream = 2, .cut = true, .gap = true, .text = "a \"line\"\x1b\xff"},
	{.instance = 7, .text = ""},
};

/* Every field set; a kind's table takes those that are its own. */
static struct ph_bmsg full(enum ph_bkind kind)
{
	struct ph_bmsg m = {
		.kind = kind,
		.n_members = 2,
		.members = members,
		.known_incarnation = 17,
		.nonce = id,
		.previous = 16,
		.refused = true,
		.brief = true,
		.sequence = 1234567,
		.drained = true,
		.registry_version = UINT64_MAX,
		.registry_digest = 0x8000000000000001u,
		.migrations_version = 1,
		.children = 12,
		.n_echoes = 2,
		.echoes = echoes,
		.list = 19,
		.base = UINT64_MAX,
		.n_ages = 2,
		.ages = ages,
		.places = "AAE_",
		.node = {"c"},
		.fetched = true,
		.hops = PH_HOPS_MAX,
		.n_parts = 2,
		.parts = parts,
		.ask = true,
		.since = 3,
		.until = UINT64_MAX,
		.whole = true,
		.last = true,
		.n_entries = 2,
		.entries = entries,
		.n_migrations = 2,
		.migrations = migrations,
		.n_specs = 1,
		.specs = specs,
		.claim = UINT64_MAX,
		.n_claims = 2,
		.claims = claims,
		.id = id,
		.key = key,
		.epoch = (UINT64_C(3) << 24) + 5,
		.overlap = true,
		.format = "json",
		.format_version = 3,
		.age_ms = 1234,
		.view = 41,
		.ballot = PH_EPOCH_LIMIT - 1,
		.accepted = 42,
		.value = "3 a,b",
		.born_ms = 1764000000000,
		.copied_ms = 5,
		.frame = "00ff",
		.n_last = 10,
		.since_ms = UINT64_MAX,
		.follow = true,
		.n_lines = 2,
		.lines = log_lines,
		.passed_on = true,
		.bytes_estimate = 4096,
		.round = 2,
		.bytes = 64u << 20,
		.digest = UINT64_MAX,
		.final = true,
		.journal = journal,
		.seen = 9,
		.ok = true,
		.merged = true,
		.busy = true,
		.reason = "not now",
		.meta = "{\"a\":1}",
		.order = 0xffffffffffffff00u,
		.verb = PH_VERB_MOVE,
		.all_instances = true,
		.target = {"c"},
		.force = true,
	};
	m.self = members[0];
	for (size_t i = 0; i < PH_SECRET_SIZE; i++)
		m.ticket[i] = (uint8_t)(i * 7 + 250);
	return m;
}

static struct ph_bmsg parse(const char *body, size_t n, struct ph_doc **ret_doc)
{
	struct ph_bmsg m;
	struct ph_err err = {""};
	int error = ph_bmsg_decode(body, n, &m, ret_doc, &err);
	ck_assert_msg(error == 0, "%s: %s", err.text, body);
	return m;
}

/* Twice through gives the same text, so nothing that a table has is lost or changed. */
START_TEST(test_round_trip)
{
	enum ph_bkind kind = (enum ph_bkind)(_i + 1);
	struct ph_bmsg m = full(kind);
	struct ph_doc *doc = NULL;
	size_t n, n_again;
	char *body = ph_bmsg_encode(&m, &n);
	ck_assert_ptr_nonnull(body);
	struct ph_bmsg back = parse(body, n, &doc);
	ck_assert_int_eq(back.kind, kind);
	char *again = ph_bmsg_encode(&back, &n_again);
	ck_assert_ptr_nonnull(again);
	ck_assert_str_eq(body, again);
	free(body);
	free(again);
	ph_doc_free(doc);
}
END_TEST

static struct ph_bmsg through(enum ph_bkind kind, struct ph_doc **ret_doc)
{
	struct ph_bmsg m = full(kind);
	size_t n;
	char *body = ph_bmsg_encode(&m, &n);
	ck_assert_ptr_nonnull(body);
	m = parse(body, n, ret_doc);
	free(body);
	return m;
}

START_TEST(test_membership)
{
	struct ph_doc *doc = NULL;
	struct ph_bmsg m = through(PH_B_HELLO, &doc);
	ck_assert(m.brief);
	ph_doc_free(doc);

	m = through(PH_B_WELCOME, &doc);
	ck_assert_str_eq(m.self.address, "tcp://[::1]:7400");
	ck_assert_str_eq(m.self.labels, "zone=a,ssd");
	ck_assert(m.self.slot == 0xabcdef && m.self.draining && m.known_incarnation == 17);
	ck_assert(m.self.weight >= 0.1 && m.self.weight <= 0.1);
	ck_assert(m.self.failure_ms == 5000 && m.self.fence_ms == 4000 && m.self.quorate);
	ck_assert_uint_eq(m.n_members, 2);
	ck_assert_int_eq(m.members[1].state, PH_MEMBER_LEFT);
	ph_doc_free(doc);

	m = through(PH_B_CHALLENGE, &doc);
	ck_assert(ph_id_equal(&m.nonce, &id) && m.known_incarnation == 17);
	ck_assert_str_eq(m.self.address, "tcp://[::1]:7400");
	ph_doc_free(doc);

	m = through(PH_B_REFUSED, &doc);
	ck_assert(m.refused && m.known_incarnation == 17);
	ph_doc_free(doc);

	m = through(PH_B_PROOF, &doc);
	ck_assert(ph_id_equal(&m.nonce, &id) && m.previous == 16 && m.refused);
	ck_assert(m.brief);
	ck_assert_str_eq(m.self.labels, "zone=a,ssd");
	ph_doc_free(doc);

	m = through(PH_B_PROBE, &doc);
	ck_assert(m.sequence == 1234567 && !strcmp(m.target.s, "c"));
	ph_doc_free(doc);

	m = through(PH_B_HEARTBEAT, &doc);
	ck_assert_uint_eq(m.n_echoes, 2);
	ck_assert(m.echoes[0].age_ms == UINT64_MAX && m.echoes[0].have == UINT64_MAX - 1);
	ck_assert_uint_eq(m.echoes[0].flags, PH_ECHO_SUSPECT | PH_ECHO_DRAINED);
	ck_assert_uint_eq(m.echoes[1].flags, 0);
	ck_assert(m.list == 19 && m.base == UINT64_MAX);
	ck_assert(m.n_ages == 2 && m.ages[0].ms == 250 && m.ages[1].ms == 1);
	ck_assert_str_eq(m.places, "AAE_");
	ck_assert(m.registry_digest == 0x8000000000000001u && m.registry_version == UINT64_MAX);
	ck_assert(m.drained && m.children == 12 && m.sequence == 1234567);
	ph_doc_free(doc);
}
END_TEST

START_TEST(test_registry)
{
	struct ph_doc *doc = NULL;
	struct ph_bmsg m = through(PH_B_REGISTRY, &doc);
	const struct ph_entry *e = &m.entries[0];
	ck_assert(m.whole && m.last && m.since == 3 && m.until == UINT64_MAX);
	ck_assert(m.fetched && m.hops == PH_HOPS_MAX && m.known_incarnation == 17);
	ck_assert_str_eq(m.node.s, "c");
	ck_assert(m.sequence == 1234567 && m.n_entries == 2 && m.n_migrations == 2);
	ck_assert(e->local && e->ready && e->stopped_by_wish && e->done);
	ck_assert(e->epoch == PH_EPOCH_LIMIT - 1);
	ck_assert(e->state == PH_CHILD_FROZEN && e->role == PH_ROLE_STANDBY);
	ck_assert(e->lineage == PH_LINEAGE_COLD && e->pid == UINT32_MAX && e->restarts == 9);
	ck_assert(e->born_ms == PH_EPOCH_LIMIT - 1 && e->copied_ms == 99);
	ck_assert(e->exit.kind == PH_EXIT_CORE && e->exit.value == 11 && e->age_ms == UINT64_MAX);
	ck_assert_str_eq(e->meta, "{\"addr\":\"10.0.0.1:80\"}");
	ck_assert_ptr_null(m.entries[1].meta);
	ck_assert_str_eq(m.entries[1].node.s, "");
	ck_assert(m.migrations[0].has_total && m.migrations[0].total == 0);
	ck_assert(m.migrations[0].has_downtime && m.migrations[0].downtime_us == 1234);
	ck_assert(!m.migrations[1].has_total && !m.migrations[1].has_downtime);
	ck_assert_str_eq(m.migrations[0].reason, "because \"so\"\n");
	ph_doc_free(doc);

	m = through(PH_B_DIGEST, &doc);
	ck_assert(m.ask && m.n_parts == 2 && m.parts[0].have == UINT64_MAX);
	ck_assert(m.parts[0].incarnation == 5 && m.parts[0].have_migrations == 7);
	ck_assert(m.parts[0].digest == parts[0].digest && !m.parts[1].digest);
	ck_assert_str_eq(m.parts[1].name.s, "b");
	ph_doc_free(doc);
}
END_TEST

START_TEST(test_migration)
{
	struct ph_doc *doc = NULL;
	struct ph_bmsg m = through(PH_B_PREPARE, &doc), want = full(PH_B_PREPARE);
	ck_assert(!memcmp(m.ticket, want.ticket, sizeof m.ticket));
	ck_assert(ph_id_equal(&m.id, &id) && ph_key_equal(&m.key, &key) && m.overlap);
	ck_assert_str_eq(m.format, "json");
	ck_assert_uint_eq(m.age_ms, 1234);
	ck_assert(m.born_ms == 1764000000000 && m.copied_ms == 5);
	/* byte for byte: its hash is compared */
	ck_assert_str_eq(m.specs[0].text, specs[0].text);
	ck_assert_ptr_null(m.specs[0].spec);
	ph_doc_free(doc);

	m = through(PH_B_ROUND, &doc);
	ck_assert_uint_eq(m.bytes_estimate, 4096);
	ph_doc_free(doc);

	m = through(PH_B_PREPARED, &doc);
	ck_assert(ph_id_equal(&m.journal, &journal) && m.digest == UINT64_MAX && m.seen == 9);
	ck_assert(m.final && m.round == 2 && m.bytes == 64u << 20);
	ph_doc_free(doc);

	m = through(PH_B_ORDER, &doc);
	ck_assert(m.order == 0xffffffffffffff00u && m.verb == PH_VERB_MOVE && m.all_instances);
	ck_assert(m.ask && m.known_incarnation == full(PH_B_ORDER).known_incarnation);
	ck_assert_str_eq(m.target.s, "c");
	ph_doc_free(doc);

	m = through(PH_B_LOGS, &doc);
	ck_assert(m.n_last == 10 && m.since_ms == UINT64_MAX && m.follow && m.all_instances);
	ck_assert(!m.n_lines);
	ph_doc_free(doc);

	m = through(PH_B_LINES, &doc);
	ck_assert(m.n_lines == 2 && m.lines[0].has_age && m.lines[0].age_ms == 0);
	ck_assert(m.lines[0].cut && m.lines[0].gap && m.lines[0].stream == 2);
	ck_assert_str_eq(m.lines[0].text, "a \"line\"\x1b\xef\xbf\xbd");
	ck_assert(!m.lines[1].has_age && m.lines[1].instance == 7);
	ck_assert_str_eq(m.lines[1].text, "");
	ph_doc_free(doc);

	m = through(PH_B_CLAIM_ANSWER, &doc);
	ck_assert(m.claim == UINT64_MAX && m.n_claims == 2);
	ck_assert(m.claims[0].verdict == PH_VERDICT_REFUSED && m.claims[0].seen == 8);
	const struct ph_past *past = &m.claims[0].past;
	ck_assert(past->done && past->epoch == 6 && past->version == UINT64_MAX);
	ck_assert(past->revision == 5 && past->restarts == 4);
	ck_assert(past->exit.kind == PH_EXIT_CODE && past->exit.value == 3);
	ck_assert(!m.claims[1].past.done && !m.claims[1].past.epoch);
	ck_assert_int_eq(m.claims[0].basis, PH_CLAIM_TAKEBACK);
	ck_assert_int_eq(m.claims[0].lineage, PH_LINEAGE_FROM_COPY);
	ck_assert(m.claims[0].born_ms == 17 && m.claims[0].copied_ms == 18);
	ph_doc_free(doc);
}
END_TEST

/* A reason that was cut in the middle of a character must not make the message unreadable. */
START_TEST(test_cut_text)
{
	struct ph_bmsg m = full(PH_B_NACK), back;
	struct ph_doc *doc = NULL;
	size_t n;
	memset(m.reason, 'x', sizeof m.reason - 2);
	m.reason[sizeof m.reason - 2] = '\xc3';
	m.reason[sizeof m.reason - 1] = '\0';
	char *body = ph_bmsg_encode(&m, &n);
	ck_assert_ptr_nonnull(body);
	back = parse(body, n, &doc);
	ck_assert_uint_eq(strlen(back.reason), sizeof m.reason - 2);
	free(body);
	ph_doc_free(doc);
}
END_TEST

#define SELF "\"self\":{\"name\":\"a\"}"
#define BEAT "{\"op\":\"heartbeat\"," SELF ",\"seq\":1,"
#define BASE "\"base\":\"0000000000000001\""
#define PREPARE_HEAD \
	"{\"op\":\"prepare\",\"id\":\"000102030405060708090a0b0c0d0e0f\",\"c\":\"web\",\"e\":1," \
	"\"ticket\":\"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\""

static const struct {
	const char *body, *says;
} refused[] = {
	{"", "not valid JSON"},
	{"[]", "expected a JSON object"},
	{"{}", "no kind of message"},
	{"{\"op\":\"\"}", "unknown kind"},
	{"{\"op\":\"none\"}", "unknown kind"},
	{"{\"op\":\"hello\"}", "hello: self: missing"},
	{"{\"op\":\"hello\",\"self\":{}}", "hello: self.name: missing"},
	{"{\"op\":\"proof\"," SELF "}", "proof: nonce: missing"},
	{"{\"op\":\"proof\"," SELF ",\"nonce\":\"00\"}", "nonce"},
	{"{\"op\":\"challenge\"}", "challenge: self: missing"},
	{"{\"op\":\"probe\"}", "probe: seq: missing"},
	{"{\"op\":\"probe_ack\"}", "probe_ack: seq: missing"},
	{"{\"op\":\"hello\",\"self\":{\"name\":\"../a\"}}", "self.name"},
	{"{\"op\":\"hello\",\"self\":{\"name\":\"a\",\"weight\":-1}}", "self.weight"},
	{"{\"op\":\"hello\",\"self\":{\"name\":\"a\",\"weight\":1e99}}", "self.weight"},
	{"{\"op\":\"hello\",\"self\":{\"name\":\"a\",\"slot\":16777216}}", "self.slot"},
	{"{\"op\":\"hello\",\"self\":{\"name\":\"a\",\"state\":\"undead\"}}", "self.state"},
	{"{\"op\":\"heartbeat\"," SELF "}", "heartbeat: seq: missing"},
	{"{\"op\":\"heartbeat\"," SELF ",\"seq\":1,\"echo\":[[\"a\"]]}", "echo[0]"},
	{BEAT "\"echo\":[[\"a\",1,2,\"00000000000000ff\",\"0000000000000001\",-1]]}",
		"echo[0].flags"},
	{BEAT "\"ages\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "ages: expected a list of at most 15"},
	{BEAT "\"ages\":[\"1\"]}", "ages[0]"},
	{BEAT BASE ",\"ages\":[1],\"places\":\"AAA\"}",
		"expected 2 characters for each member, found 3"},
	{BEAT BASE ",\"ages\":[1],\"places\":\"AAA+\"}", "expected characters of A-Z"},
	{BEAT BASE ",\"ages\":[1],\"places\":\"AA\\u00e9\"}", "found others at 2"},
	{BEAT BASE ",\"ages\":[1],\"places\":\"AAIA\"}",
		"expected one of 1 ages, found number 2 at 2"},
	{BEAT BASE ",\"places\":\"EA\"}", "expected one of 0 ages"},
	{BEAT "\"ages\":[1],\"places\":\"EA\"}", "base: expected whose places"},
	{"{\"op\":\"heartbeat\"," SELF ",\"seq\":1,\"digest\":17}", "digest"},
	{"{\"op\":\"heartbeat\"," SELF ",\"seq\":9007199254740992}", "seq"},
	{"{\"op\":\"registry\",\"entries\":[{}]}", "entries[0].c: missing"},
	{"{\"op\":\"registry\",\"hops\":17}", "hops"},
	{"{\"op\":\"digest\",\"parts\":[[\"a\",1]]}", "parts[0]"},
	{"{\"op\":\"registry\",\"entries\":{}}", "entries: expected a list"},
	{"{\"op\":\"registry\",\"entries\":[{\"c\":\"a\",\"meta\":[]}]}", "entries[0].meta"},
	{"{\"op\":\"commit\"}", "commit: id: missing"},
	{"{\"op\":\"commit\",\"id\":\"00\"}", "commit: id"},
	{"{\"op\":\"order\"}", "order: order: missing"},
	{"{\"op\":\"order\",\"order\":\"0000000000000001\",\"verb\":\"\"}", "verb"},
	{PREPARE_HEAD "}", "specs: expected exactly one, found 0"},
	{PREPARE_HEAD ",\"ticket\":\"\"}", "duplicate"},
	{"{\"op\":\"claim\",\"claim\":\"0000000000000001\",\"claims\":[{\"c\":\"a\",\"v\":\"x\"}]}",
		"claims[0].v"},
};

START_TEST(test_refused)
{
	struct ph_bmsg m = {.kind = PH_B_ABORT};
	struct ph_doc *doc = NULL;
	struct ph_err err = {""};
	const char *body = refused[_i].body;
	ck_assert_int_eq(ph_bmsg_decode(body, strlen(body), &m, &doc, &err), -EBADMSG);
	ck_assert_msg(strstr(err.text, refused[_i].says), "%s: %s", body, err.text);
	ck_assert_int_eq(m.kind, PH_B_ABORT);
	ck_assert_ptr_null(doc);
}
END_TEST

/* As many places as a cluster may have members, and all that a place can say. */
START_TEST(test_places)
{
	static char places[PH_PLACE_CHARS * PH_BMSG_MEMBERS_MAX + PH_PLACE_CHARS + 1];
	struct ph_bmsg m = full(PH_B_HEARTBEAT);
	struct ph_age many[PH_PLACE_AGES] = {{0}};
	struct ph_doc *doc = NULL;
	struct ph_place place;
	size_t n;
	m.ages = many;
	m.n_ages = PH_PLACE_AGES;
	m.places = places;
	for (unsigned i = 0; i < PH_BMSG_MEMBERS_MAX; i++) {
		place = (struct ph_place){.number = (uint8_t)i, .age = (uint8_t)(i / 61 % 16)};
		ph_place_put(places + (size_t)PH_PLACE_CHARS * i, &place);
	}
	char *body = ph_bmsg_encode(&m, &n);
	ck_assert_ptr_nonnull(body);
	const char *got = parse(body, n, &doc).places;
	ck_assert_str_eq(got, places);
	for (unsigned i = 0; i < PH_BMSG_MEMBERS_MAX; i++) {
		ck_assert(ph_place_get(got + (size_t)PH_PLACE_CHARS * i, &place));
		ck_assert(place.number == (uint8_t)i && place.age == i / 61 % 16);
	}
	ph_doc_free(doc);
	free(body);
	m.n_ages--; /* one fewer than is named */
	ck_assert_ptr_null(ph_bmsg_encode(&m, &n));
	for (unsigned c = 0; c < 256; c++) {
		char text[] = {'A', (char)c, '\0'};
		ck_assert(ph_place_get(text, &place) ==
			  (c && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				       "0123456789-_",
					(int)c)));
	}
}
END_TEST

/* One more than a list may have. */
START_TEST(test_long_lists)
{
	static struct ph_entry many[PH_BMSG_LINES_MAX + 1];
	for (size_t i = 0; i <= PH_BMSG_LINES_MAX; i++)
		many[i].key.child = ph_name_of("x");
	struct ph_bmsg m = {.kind = PH_B_REGISTRY, .entries = many, .n_entries = PH_BMSG_LINES_MAX};
	struct ph_doc *doc = NULL;
	struct ph_err err;
	size_t n;
	char *body = ph_bmsg_encode(&m, &n);
	ck_assert_ptr_nonnull(body);
	ck_assert_uint_eq(parse(body, n, &doc).n_entries, PH_BMSG_LINES_MAX);
	ph_doc_free(doc);
	doc = NULL;
	char *longer = malloc(n + 16);
	ck_assert_ptr_nonnull(longer);
	memcpy(longer, body, n - 2); /* without "]}" */
	memcpy(longer + n - 2, ",{\"c\":\"x\"}]}", 12);
	ck_assert_int_eq(ph_bmsg_decode(longer, n + 10, &m, &doc, &err), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err.text, "entries: expected a list of at most 4096"));
	free(body);
	free(longer);
	m.n_entries++;
	ck_assert_ptr_null(ph_bmsg_encode(&m, &n));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(test_encode_refuses)
{
	size_t n;
	struct ph_bmsg m = {.kind = PH_B_NONE};
	ck_assert_ptr_null(ph_bmsg_encode(&m, &n));
	m = full(PH_B_PREPARE);
	m.n_specs = 0;
	ck_assert_ptr_null(ph_bmsg_encode(&m, &n));
	m = full(PH_B_HELLO);
	m.self.name.s[0] = '\0';
	ck_assert_ptr_null(ph_bmsg_encode(&m, &n));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_str_eq(ph_bkind_word(PH_B_HEARTBEAT), "heartbeat");
	char *long_body = calloc(1, PH_BMSG_MAX + 2);
	ck_assert_ptr_nonnull(long_body);
	struct ph_doc *doc = NULL;
	memset(long_body, ' ', PH_BMSG_MAX + 1);
	ck_assert_int_eq(ph_bmsg_decode(long_body, PH_BMSG_MAX + 1, &m, &doc, NULL), -EMSGSIZE);
	free(long_body);
}
END_TEST

/* Changed and cut bytes: an error or a message that can be written again, never harm. */
START_TEST(test_mutations)
{
	struct ph_bmsg m = full((enum ph_bkind)(_i + 1));
	static const char bytes[] = "\"\\{}[],:0-9.eE\x80\xff\0tnu";
	uint64_t seed = (uint64_t)_i + 1;
	size_t n;
	char *body = ph_bmsg_encode(&m, &n);
	ck_assert_ptr_nonnull(body);
	char *copy = malloc(n + 1);
	ck_assert_ptr_nonnull(copy);
	for (int round = 0; round < 400; round++) {
		struct ph_doc *doc = NULL;
		struct ph_bmsg back;
		size_t length = n;
		memcpy(copy, body, n + 1);
		for (int change = 0; change < 1 + round % 3; change++) {
			seed = ph_mix64(seed + 0x9e3779b97f4a7c15u);
			copy[seed % n] = bytes[(seed >> 32) % (sizeof bytes - 1)];
		}
		if (round % 7 == 0)
			length = (size_t)(seed % n);
		if (ph_bmsg_decode(copy, length, &back, &doc, NULL))
			continue;
		size_t n_again;
		char *again = ph_bmsg_encode(&back, &n_again);
		ck_assert_ptr_nonnull(again);
		free(again);
		ph_doc_free(doc);
	}
	free(copy);
	free(body);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bus_msg");
	TCase *t = tcase_create("bus_msg");
	tcase_add_loop_test(t, test_round_trip, 0, PH_BKIND_COUNT - 1);
	tcase_add_test(t, test_membership);
	tcase_add_test(t, test_registry);
	tcase_add_test(t, test_migration);
	tcase_add_test(t, test_cut_text);
	tcase_add_loop_test(t, test_refused, 0, sizeof refused / sizeof *refused);
	tcase_add_test(t, test_long_lists);
	tcase_add_test(t, test_places);
	tcase_add_test(t, test_encode_refuses);
	tcase_add_loop_test(t, test_mutations, 0, PH_BKIND_COUNT - 1);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return run_tests(s);
}
