#include "shell_view.h"

#include <stdlib.h>
#include <string.h>

#include "proto/bus.h"

/* Takes `value`; NULL instead of an object that misses one. */
static json_t *with(json_t *object, const char *name, json_t *value)
{
	if (!object || !value) {
		json_decref(object);
		json_decref(value);
		return NULL;
	}
	if (json_object_set_new(object, name, value)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *whole(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *whole_or_null(bool known, uint64_t value)
{
	return known && value <= (uint64_t)INT64_MAX ? whole(value) : json_null();
}

static json_t *name_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *word_or_null(const char *const *words, size_t n, size_t i)
{
	return i < n ? name_or_null(words[i]) : json_null();
}

/* "a,b" into ["a","b"] */
static json_t *list_of(const char *joined)
{
	json_t *list = json_array();
	while (list && joined && *joined) {
		size_t n = strcspn(joined, ",");
		json_t *item = n ? json_stringn(joined, n) : NULL;
		if (item)
			(void)json_array_append_new(list, item);
		joined += n + (joined[n] == ',');
	}
	return list;
}

/* An object that is carried as text; null where it is none. */
static json_t *object_of(const char *text)
{
	json_t *object = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	return object ? object : json_null();
}

json_t *ph_view_exit(const struct ph_exit *ended)
{
	switch (ended->kind) {
	case PH_EXIT_CODE:
		return json_pack("{s:I}", "code", (json_int_t)ended->value);
	case PH_EXIT_SIGNAL:
	case PH_EXIT_CORE:
		return json_pack("{s:I,s:b}", "signal", (json_int_t)ended->value, "core",
			ended->kind == PH_EXIT_CORE);
	case PH_EXIT_OOM:
		return json_pack(
			"{s:I,s:b,s:b}", "signal", (json_int_t)ended->value, "core", 0, "oom", 1);
	case PH_EXIT_UNKNOWN:
		return json_pack("{s:b}", "unknown", 1);
	case PH_EXIT_NONE:
		break;
	}
	return json_null();
}

json_t *ph_view_member(const struct ph_member_view *member)
{
	const struct ph_member_info *info = &member->info;
	json_t *o = json_pack("{s:s}", "name", info->name.s);
	o = with(o, "state",
		word_or_null(ph_words_member_state, PH_MEMBER_STATE_COUNT, info->state));
	o = with(o, "draining", json_boolean(info->draining));
	o = with(o, "incarnation", whole_or_null(info->incarnation != 0, info->incarnation));
	o = with(o, "address", name_or_null(info->address));
	o = with(o, "weight", json_real(info->weight));
	o = with(o, "labels", list_of(info->labels));
	o = with(o, "children", whole(member->children));
	return with(o, "version", name_or_null(info->version));
}

bool ph_view_shown(const struct ph_entry_view *entry)
{
	return entry->entry.state != PH_CHILD_RELEASED && entry->entry.state != PH_CHILD_REMOVED;
}

static json_t *view_key(const struct ph_key *key)
{
	return json_pack("{s:s,s:I,s:I}", "child", key->child.s, "instance",
		(json_int_t)key->instance, "replica", (json_int_t)key->replica);
}

const char *ph_view_origin(bool added)
{
	return added ? "added" : "file";
}

json_t *ph_view_entry(const struct ph_entry_view *entry)
{
	const struct ph_entry *e = &entry->entry;
	json_t *o = view_key(&e->key);
	o = with(o, "node", name_or_null(e->node.s));
	o = with(o, "state", word_or_null(ph_words_child_state, PH_CHILD_STATE_COUNT, e->state));
	o = with(o, "ready", json_boolean(e->ready));
	o = with(o, "role", word_or_null(ph_words_role, 3, (size_t)e->role));
	o = with(o, "epoch", whole_or_null(e->epoch != 0, e->epoch));
	o = with(o, "pid", whole_or_null(e->pid != 0, e->pid));
	o = with(o, "since_ms", whole_or_null(true, e->age_ms));
	o = with(o, "restarts", whole(e->restarts));
	o = with(o, "exit", ph_view_exit(&e->exit));
	o = with(o, "differs", json_boolean(entry->differs));
	o = with(o, "origin", json_string(ph_view_origin(entry->added)));
	o = with(o, "wanted", json_boolean(entry->wanted));
	o = with(o, "reason", name_or_null(entry->reason));
	return with(o, "meta", object_of(e->meta));
}

json_t *ph_view_migration(const struct ph_migration_info *m)
{
	char id[PH_ID_TEXT_SIZE];
	json_t *o = json_pack("{s:s}", "id", ph_id_text(&m->id, id));
	o = with(o, "child", json_string(m->key.child.s));
	o = with(o, "instance", whole(m->key.instance));
	o = with(o, "from", name_or_null(m->from.s));
	o = with(o, "to", name_or_null(m->to.s));
	o = with(o, "phase", word_or_null(ph_words_phase, PH_PHASE_COUNT, m->phase));
	o = with(o, "round", whole(m->round));
	o = with(o, "bytes", whole(m->bytes));
	o = with(o, "total", whole_or_null(m->has_total, m->total));
	o = with(o, "elapsed_ms", whole_or_null(true, m->elapsed_ms));
	o = with(o, "downtime_ms",
		m->has_downtime ? json_real((double)m->downtime_us / 1000.0) : json_null());
	o = with(o, "result", word_or_null(ph_words_result, PH_RESULT_COUNT, m->result));
	return with(o, "reason", m->reason[0] ? ph_view_text(m->reason) : json_null());
}

bool ph_view_found(const struct ph_entry_view *entry)
{
	bool serves =
		entry->entry.state == PH_CHILD_RUNNING || entry->entry.state == PH_CHILD_FROZEN;
	return entry->owned && entry->reachable && serves;
}

json_t *ph_view_instance(const struct ph_entry_view *entry)
{
	const struct ph_entry *e = &entry->entry;
	json_t *o = json_pack("{s:I,s:I,s:s}", "instance", (json_int_t)e->key.instance, "replica",
		(json_int_t)e->key.replica, "node", e->node.s);
	o = with(o, "epoch", whole(e->epoch));
	o = with(o, "state", word_or_null(ph_words_child_state, PH_CHILD_STATE_COUNT, e->state));
	o = with(o, "ready", json_boolean(e->ready));
	o = with(o, "role", word_or_null(ph_words_role, 3, (size_t)e->role));
	return with(o, "meta", object_of(e->meta));
}
