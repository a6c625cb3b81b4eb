/* shell_bus_got.c - what comes from other daemons: opened, checked, decoded, queued for core. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "proto/bus.h"
#include "shell_bus_int.h"
#include "shell_logs.h"

/* A decoded message with all that it points to. */
struct got {
	struct ph_bmsg message;
	struct ph_doc *doc;
	size_t n_specs;
	const struct ph_spec **specs;
};

static void got_free(void *owned)
{
	struct got *got = owned;
	for (size_t i = 0; i < got->n_specs; i++)
		ph_spec_free(got->specs[i]);
	free(got->specs);
	ph_doc_free(got->doc);
	free(got);
}

bool ph_bus_count_tell(struct ph_bus_count *count, uint64_t every_ms, uint64_t *ret_n)
{
	uint64_t now_ms = ph_clock_now_ms();
	count->n++;
	if (count->told_at_ms && now_ms - count->told_at_ms < every_ms)
		return false;
	*ret_n = count->n;
	count->n = 0;
	count->told_at_ms = now_ms;
	return true;
}

/* ---- refusals */

static void refuse(struct ph_shell_bus *bus, int error, const struct ph_err *err)
{
	bool auth = error == -ENOKEY || error == -EPERM || error == -EBADMSG;
	struct ph_bus_count *count = auth ? &bus->auth : &bus->foreign;
	struct ph_err text;
	uint64_t n;
	if (!ph_bus_count_tell(count, PH_BUS_REPORT_MS, &n))
		return;
	(void)ph_err_set(&text, EBADMSG, "%.400s (%llu messages since the last report)", err->text,
		(unsigned long long)n);
	if (auth)
		ph_shell_tell_people(bus->shell, PH_EMIT_BUS_AUTH_FAILED, NULL, text.text);
	else
		ph_shell_log(bus->shell, PH_LOG_WARNING, "bus message dropped: %s", text.text);
}

static bool rate_ok(struct ph_shell_bus *bus, struct ph_bus_peer *peer)
{
	uint64_t now_ms = ph_clock_now_ms(), n;
	uint64_t more = (now_ms - peer->refilled_at_ms) * PH_BUS_RATE / 1000;
	if (more) {
		peer->tokens =
			more > PH_BUS_BURST - peer->tokens ? PH_BUS_BURST : peer->tokens + more;
		peer->refilled_at_ms = now_ms;
	}
	if (peer->tokens) {
		peer->tokens--;
		return true;
	}
	if (ph_bus_count_tell(&bus->rate, PH_BUS_RATE_REPORT_MS, &n))
		ph_shell_log(bus->shell, PH_LOG_WARNING,
			"%s sends more than %u messages a second: %llu dropped", peer->name.s,
			PH_BUS_RATE, (unsigned long long)n);
	return false;
}

/* ---- checks */

/*
 * Authentic, not our own, for this incarnation, for the first time, not too many: true. A message
 * under our own name from another incarnation is another node's mistake, or an echo of our past.
 */
static bool welcome(struct ph_shell_bus *bus, enum ph_plane plane, const struct ph_envelope *header)
{
	struct ph_shell *shell = bus->shell;
	struct ph_err err = {""};
	if (!strcmp(header->from.s, shell->node)) {
		if (header->from_incarnation != shell->incarnation)
			refuse(bus,
				ph_err_set(&err, EEXIST,
					"it comes from another node with the name of this one, %s",
					shell->node),
				&err);
		return false;
	}
	if (header->plane != plane || !ph_envelope_is_for(header, shell->node, shell->incarnation))
		return false;
	if (ph_windows_check(bus->windows, header, &err))
		return false;
	struct ph_bus_peer *peer = ph_bus_peer(bus, &header->from, true);
	return peer && rate_ok(bus, peer);
}

/* ---- the body */

/* Replaces the lines by copies that have what this node reads out of their texts. */
static int read_specs(struct ph_shell_bus *bus, struct got *got)
{
	size_t n = got->message.n_specs;
	struct ph_err err = {""};
	if (!n)
		return 0;
	struct ph_spec_line *lines = ph_doc_alloc(got->doc, n * sizeof *lines);
	got->specs = calloc(n, sizeof *got->specs);
	if (!lines || !got->specs)
		return -ENOMEM;
	got->n_specs = n;
	for (size_t i = 0; i < n; i++) {
		lines[i] = got->message.specs[i];
		if (!lines[i].text)
			continue;
		got->specs[i] = ph_shell_spec_of_text(
			bus->shell, &lines[i].child, lines[i].text, lines[i].revision, &err);
		lines[i].spec = got->specs[i];
		if (!got->specs[i])
			ph_shell_log(bus->shell, PH_LOG_WARNING,
				"the specification of %s from %s is refused: %s", lines[i].child.s,
				got->message.from.s, err.text);
	}
	got->message.specs = lines;
	return 0;
}

void ph_bus_got(void *arg, enum ph_plane plane, uint8_t *bytes, size_t n)
{
	struct ph_shell_bus *bus = arg;
	struct ph_envelope header;
	struct ph_err err = {""};
	const char *body;
	size_t body_n;
	int error = ph_envelope_open(
		bus->shell->ring, bus->cluster, bytes, n, &header, &body, &body_n, &err);
	if (error) {
		refuse(bus, error, &err);
		return;
	}
	if (!welcome(bus, plane, &header))
		return;
	struct got *got = calloc(1, sizeof *got);
	if (!got)
		return;
	error = ph_bmsg_decode(body, body_n, &got->message, &got->doc, &err);
	got->message.from = header.from;
	got->message.incarnation = header.from_incarnation;
	if (!error)
		error = read_specs(bus, got);
	if (error) {
		/* sealed by a member and still wrong: another version, not an intruder */
		ph_err_prefix(&err, "from %s", header.from.s);
		refuse(bus, -EPROTO, &err);
		got_free(got);
		return;
	}
	if (got->message.kind == PH_B_LOGS || got->message.kind == PH_B_LINES) {
		ph_shell_logs_got(bus->shell, &got->message);
		got_free(got);
		return;
	}
	if (got->message.kind == PH_B_RELAY) {
		ph_bus_relay_got(bus, &got->message);
		got_free(got);
		return;
	}
	struct ph_event event = {.kind = PH_EV_MESSAGE, .message = &got->message};
	ph_shell_push(bus->shell, &event, got_free, got);
}
