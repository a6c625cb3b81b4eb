/* STREAM_*: core's orders to io/stream, and what io/stream tells core. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "io/keep.h"
#include "io/stream.h"
#include "proto/seal.h"
#include "shell_parts.h"

#define KEEP_DIR "conflicts"

static const struct timeval bind_again = {1, 0};
/* of the states of those that lost a conflict */
static const struct ph_keep_limits keep_limits = {
	.total_bytes = UINT64_C(64) << 30,
	.free_bytes = UINT64_C(256) << 20,
	.files = 10000,
};

struct flow {
	struct ph_id id; /* in io/stream: of the new worker's end of a swap it is another one */
	struct ph_id migration;
	struct ph_name peer;
	uint64_t wid;
	bool incoming;
	bool keep; /* to a file of this node */
	UT_hash_handle hh;
};

struct ph_shell_flows {
	struct ph_streams *streams;
	struct ph_keeps *keeps;
	struct flow *all;
	struct event *bind_timer;
	char address[PH_ADDRESS_SIZE]; /* own stream address; empty: a single node */
	bool told;		       /* that it cannot be bound */
	uint8_t key[PH_SEAL_KEY_SIZE]; /* of the tickets of this daemon's life */
};

static enum ph_stream_seal seal_of(const struct ph_conf *conf)
{
	static const enum ph_stream_seal seals[] = {
		[PH_CONF_SEAL_ENCRYPT] = PH_STREAM_ENCRYPT,
		[PH_CONF_SEAL_AUTH] = PH_STREAM_AUTH,
		[PH_CONF_SEAL_NONE] = PH_STREAM_NONE,
	};
	return seals[conf->cluster.stream_seal];
}

/* ---- what io/stream tells */

static struct flow *find(struct ph_shell *shell, const struct ph_id *id)
{
	struct flow *flow;
	HASH_FIND(hh, shell->flows->all, id, sizeof *id, flow);
	return flow;
}

/* The name that the new worker's end has where both ends of a stream are here. */
static struct ph_id far_end(const struct ph_id *id)
{
	struct ph_id other = *id;
	other.b[sizeof other.b - 1] ^= 1;
	return other;
}

static void report(struct ph_shell *shell, enum ph_event_kind kind,
	const struct ph_stream_report *what, int code, const char *text)
{
	struct ph_event event = {.kind = kind, .error = code, .text = text};
	const struct flow *flow = find(shell, &what->id);
	struct ph_stream_report flat = *what;
	if (flow) {
		flat.id = flow->migration;
		flat.incoming = flow->incoming;
	}
	ph_shell_push_flat(shell, &event, &flat, sizeof flat);
}

static void on_round(
	void *arg, const struct ph_id *id, uint32_t round, uint64_t bytes, uint64_t digest)
{
	struct ph_stream_report flat = {
		.id = *id, .round = round, .bytes = bytes, .digest = digest};
	report(arg, PH_EV_STREAM_ROUND, &flat, 0, NULL);
}

static void on_read(void *arg, const struct ph_id *id, uint32_t round, uint64_t bytes)
{
	struct ph_stream_report flat = {.id = *id, .round = round, .bytes = bytes};
	report(arg, PH_EV_STREAM_READ, &flat, 0, NULL);
}

static void on_progress(void *arg, const struct ph_id *id, uint64_t bytes)
{
	struct ph_stream_report flat = {.id = *id, .bytes = bytes};
	report(arg, PH_EV_STREAM_PROGRESS, &flat, 0, NULL);
}

static void on_dial_failed(void *arg, const struct ph_id *id)
{
	struct ph_stream_report flat = {.id = *id};
	report(arg, PH_EV_STREAM_NO_DIAL, &flat, 0, NULL);
}

static void on_failed(void *arg, const struct ph_id *id, int code, const char *text)
{
	struct ph_stream_report flat = {.id = *id};
	report(arg, PH_EV_STREAM_FAILED, &flat, code, text);
}

static const struct ph_stream_ops ops = {
	.source_read = on_read,
	.source_round = on_round,
	.target_round = on_round,
	.progress = on_progress,
	.dial_failed = on_dial_failed,
	.failed = on_failed,
};

/* ---- what io/keep tells */

static void on_kept(void *arg, const struct ph_id *id, uint64_t bytes, const char *name)
{
	struct ph_stream_report flat = {.id = *id, .bytes = bytes};
	char text[PH_REASON_SIZE];
	(void)snprintf(text, sizeof text, KEEP_DIR "/%s", name);
	report(arg, PH_EV_STREAM_READ, &flat, 0, text);
}

static const struct ph_keep_ops keep_ops = {
	.kept = on_kept,
	.progress = on_progress,
	.failed = on_failed,
};

/* ---- the own address */

static void try_bind(struct ph_shell *shell)
{
	struct ph_shell_flows *flows = shell->flows;
	struct ph_err err;
	char text[PH_ERR_MAX];
	int error = ph_streams_listen(flows->streams, flows->address, &err);
	(void)snprintf(text, sizeof text, "%s: %s; tried again every second", flows->address,
		strerror(-error));
	if (error && !flows->told)
		ph_shell_tell_people(shell, PH_EMIT_BIND_FAILED, NULL, text);
	else if (!error && flows->told)
		ph_shell_log(shell, PH_LOG_INFO, "%s is bound", flows->address);
	flows->told = error != 0;
	if (error)
		evtimer_add(flows->bind_timer, &bind_again);
}

static void on_bind_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	try_bind(arg);
}

int ph_shell_flows_new(struct ph_shell *shell)
{
	struct ph_shell_flows *flows = shell->flows = ph_shell_alloc(sizeof *flows);
	flows->streams =
		ph_streams_new(shell->base, shell->ring, seal_of(shell->conf), &ops, shell);
	flows->bind_timer = evtimer_new(shell->base, on_bind_timer, shell);
	ph_random_bytes(flows->key, sizeof flows->key);
	char *dir = ph_shell_path(shell->state_dir, KEEP_DIR);
	struct ph_keep_limits limits = keep_limits;
	limits.age_ms = shell->conf->cluster.conflict_keep_ms;
	flows->keeps = ph_keeps_new(shell->base, dir, &limits, &keep_ops, shell);
	free(dir);
	if (!flows->streams || !flows->bind_timer || !flows->keeps)
		return -ENOMEM;
	if (!shell->conf->cluster.listen)
		return 0;
	int error = ph_stream_address(shell->conf->cluster.listen, flows->address);
	if (!error)
		try_bind(shell);
	return error;
}

void ph_shell_flows_configure(struct ph_shell *shell, const struct ph_conf *conf)
{
	ph_keeps_set_age(shell->flows->keeps, conf->cluster.conflict_keep_ms);
}

void ph_shell_flows_free(struct ph_shell *shell)
{
	struct ph_shell_flows *flows = shell->flows;
	struct flow *flow, *next;
	if (!flows)
		return;
	HASH_ITER (hh, flows->all, flow, next) {
		HASH_DEL(flows->all, flow);
		free(flow);
	}
	ph_streams_free(flows->streams);
	ph_keeps_free(flows->keeps);
	if (flows->bind_timer)
		event_free(flows->bind_timer);
	ph_seal_wipe(flows->key, sizeof flows->key);
	free(flows);
	shell->flows = NULL;
}

/* ---- orders */

struct peer_search {
	const struct ph_name *name;
	char address[PH_ADDRESS_SIZE];
};

static bool match_peer(void *arg, const struct ph_member_view *member)
{
	struct peer_search *search = arg;
	if (!ph_name_equal(&member->info.name, search->name))
		return true;
	if (ph_stream_address(member->info.address, search->address))
		search->address[0] = 0;
	return false;
}

/* The stream address of a member, "" where it has none. */
static void peer_address(
	struct ph_shell *shell, const struct ph_name *peer, char ret[PH_ADDRESS_SIZE])
{
	struct peer_search search = {.name = peer};
	ph_hub_members(shell->hub, shell->now_ms, match_peer, &search);
	memcpy(ret, search.address, PH_ADDRESS_SIZE);
}

void ph_shell_flow_ticket(struct ph_shell *shell, const struct ph_id *id,
	const struct ph_name *peer, uint8_t ret_ticket[PH_SECRET_SIZE])
{
	ph_seal_ticket(shell->flows->key, id, peer, ret_ticket);
}

static bool is_here(const struct ph_shell *shell, const struct ph_stream_order *order)
{
	return strcmp(order->peer.s, shell->node) == 0;
}

static int send_flow(
	struct ph_shell *shell, const struct ph_stream_order *order, const char *address)
{
	struct ph_streams *streams = shell->flows->streams;
	struct ph_id other = far_end(&order->id);
	uint8_t ticket[PH_SECRET_SIZE];
	ph_shell_flow_ticket(shell, &order->id, &order->peer, ticket);
	int error = is_here(shell, order) ? ph_stream_send_here(streams, &order->id, ticket, &other)
					  : ph_stream_send(streams, &order->id, ticket, address);
	ph_seal_wipe(ticket, sizeof ticket);
	return error;
}

/* The ticket came with PREPARE; where that never left this daemon it is its own. */
static int expect_flow(
	struct ph_shell *shell, const struct ph_stream_order *order, const struct ph_id *id)
{
	uint8_t ticket[PH_SECRET_SIZE];
	memcpy(ticket, order->ticket, sizeof ticket);
	if (is_here(shell, order))
		ph_shell_flow_ticket(shell, &order->id, &order->peer, ticket);
	int error = ph_stream_expect(shell->flows->streams, id, ticket, order->max_bytes);
	ph_seal_wipe(ticket, sizeof ticket);
	return error;
}

static void add_flow(struct ph_shell *shell, const struct flow *what)
{
	struct flow *flow = ph_shell_alloc(sizeof *flow);
	*flow = *what;
	HASH_ADD(hh, shell->flows->all, id, sizeof flow->id, flow);
	ph_shell_conns_unpark(shell, &flow->migration);
}

/* The state of a worker that lost a conflict: CHILD-INSTANCE-EPOCH-ID. */
static void keep_flow(struct ph_shell *shell, const struct ph_stream_order *order)
{
	struct ph_stream_report flat = {.id = order->id};
	struct ph_shell_worker *worker = ph_shell_worker_by_wid(shell, order->wid);
	char id[PH_ID_TEXT_SIZE], name[PH_REASON_SIZE];
	(void)snprintf(name, sizeof name, "%s-%u-%llu-%.8s", order->key.child.s,
		order->key.instance, (unsigned long long)order->epoch, ph_id_text(&order->id, id));
	if (worker)
		worker->stream_id = order->id;
	int error = ph_keeps_open(shell->flows->keeps, &order->id, name, order->max_bytes);
	if (error)
		report(shell, PH_EV_STREAM_FAILED, &flat, -error, strerror(-error));
	else
		add_flow(shell, &(struct flow){.id = order->id,
					.migration = order->id,
					.wid = order->wid,
					.keep = true});
}

static void open_flow(struct ph_shell *shell, const struct ph_stream_order *order, bool incoming)
{
	bool here = is_here(shell, order);
	struct ph_id id = here && incoming ? far_end(&order->id) : order->id;
	struct ph_stream_report flat = {.id = order->id, .incoming = incoming};
	struct ph_shell_worker *worker = ph_shell_worker_by_wid(shell, order->wid);
	char address[PH_ADDRESS_SIZE];
	int error;
	if (worker)
		worker->stream_id = order->id;
	peer_address(shell, &order->peer, address);
	if (incoming)
		error = expect_flow(shell, order, &id);
	else
		error = send_flow(shell, order, address[0] ? address : NULL);
	if (error) {
		report(shell, PH_EV_STREAM_FAILED, &flat, -error, strerror(-error));
		return;
	}
	if (!incoming && !address[0] && !here)
		report(shell, PH_EV_STREAM_NO_DIAL, &flat, 0, NULL);
	add_flow(shell, &(struct flow){.id = id,
				.migration = order->id,
				.peer = order->peer,
				.wid = order->wid,
				.incoming = incoming});
}

static void dial_flow(struct ph_shell *shell, const struct ph_stream_order *order)
{
	struct ph_stream_report flat = {.id = order->id};
	const struct flow *flow = find(shell, &order->id);
	char address[PH_ADDRESS_SIZE];
	if (!flow)
		return;
	peer_address(shell, &flow->peer, address);
	int error = ph_stream_dial_back(shell->flows->streams, &order->id, address);
	if (error && error != -ECANCELED)
		report(shell, PH_EV_STREAM_NO_DIAL, &flat, -error, NULL);
}

static void close_flow(struct ph_shell *shell, const struct ph_stream_order *order, bool stays)
{
	struct ph_id other = far_end(&order->id);
	struct flow *flow = order->incoming ? find(shell, &other) : NULL;
	const struct ph_id *id = flow ? &other : &order->id;
	if (!flow)
		flow = find(shell, id);
	ph_stream_close(shell->flows->streams, id);
	if (!flow)
		return;
	if (flow->keep)
		ph_keeps_close(shell->flows->keeps, id, stays);
	HASH_DEL(shell->flows->all, flow);
	free(flow);
}

void ph_shell_flow_act(struct ph_shell *shell, const struct ph_action *action)
{
	switch ((int)action->kind) {
	case PH_ACT_STREAM_SEND:
		open_flow(shell, action->stream, false);
		break;
	case PH_ACT_STREAM_EXPECT:
		open_flow(shell, action->stream, true);
		break;
	case PH_ACT_STREAM_DIAL:
		dial_flow(shell, action->stream);
		break;
	case PH_ACT_STREAM_KEEP:
		keep_flow(shell, action->stream);
		break;
	default:
		close_flow(shell, action->stream, action->on);
	}
}

/* ---- data connections */

int ph_shell_flow_find(
	struct ph_shell *shell, const struct ph_id *id, uint64_t wid, bool *ret_incoming)
{
	struct ph_id other = far_end(id);
	const struct flow *flow = find(shell, id);
	if (!flow || flow->wid != wid)
		flow = find(shell, &other);
	if (!flow || flow->wid != wid || !ph_id_equal(&flow->migration, id))
		return -ENOENT;
	*ret_incoming = flow->incoming;
	return 0;
}

int ph_shell_flow_take(struct ph_shell *shell, const struct ph_id *id, uint32_t round,
	bool incoming, int fd, const char *bytes, size_t n)
{
	struct ph_streams *streams = shell->flows->streams;
	const struct flow *flow = find(shell, id);
	struct ph_id other = far_end(id);
	if (flow && flow->keep)
		return ph_keeps_feed(shell->flows->keeps, id, fd, bytes, n);
	if (incoming)
		return ph_stream_drain(streams, flow && flow->incoming ? id : &other, round, fd);
	return ph_stream_feed(streams, id, round, fd, bytes, n);
}
