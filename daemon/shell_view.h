/*
 * shell_view.h - what the hub knows, as the JSON that INTERFACE.md promises.
 *
 * Decides names, units and order of what people and programs see. It changes nothing, and must not
 * know connections. Always holds: entries that are released or removed are not shown; unknown
 * numbers are null; lists are sorted by name. All results are new references, NULL without memory.
 * Tested by tests/unit/test_view.c.
 */
#ifndef PH_SHELL_VIEW_H
#define PH_SHELL_VIEW_H

#include <jansson.h>

#include "core/hub.h"
#include "shell_view_text.h"

struct ph_shell;

/* ---- one of each, from a plain struct (shell_view.c) */

json_t *ph_view_member(const struct ph_member_view *member);
/* Is it for people to see: neither released nor a tombstone? */
bool ph_view_shown(const struct ph_entry_view *entry);
/* Where a child is declared: "file", or "added" at run time. */
const char *ph_view_origin(bool added);
json_t *ph_view_entry(const struct ph_entry_view *entry);
json_t *ph_view_migration(const struct ph_migration_info *migration);
/* null, {code}, {signal, core} or {unknown} */
json_t *ph_view_exit(const struct ph_exit *ended);
/* Can a client reach it now? Then an element of the `instances` of a lookup. */
bool ph_view_found(const struct ph_entry_view *entry);
json_t *ph_view_instance(const struct ph_entry_view *entry);

/* ---- of the whole hub (shell_view_hub.c) */

/* A child, or one instance of it, as a command names it. */
struct ph_view_filter {
	struct ph_name child;
	bool has_instance;
	uint32_t instance;
};
bool ph_view_match(const struct ph_view_filter *filter, const struct ph_key *key);
/* Has the cluster, or this node's configuration, such a child or instance? */
bool ph_view_known(struct ph_shell *shell, const struct ph_view_filter *filter);

/* {"node","cluster","nodes"}; `status` has "quorum", "children", "migrations" too, those two of
 * the children named by any of `n` filters (0: all). */
json_t *ph_view_nodes(struct ph_shell *shell);
json_t *ph_view_status(struct ph_shell *shell, const struct ph_view_filter *filters, size_t n);
/* How many instances that child has, or null. */
json_t *ph_view_instances(const struct ph_shell *shell, const struct ph_name *child);
/* The list alone, running ones first, then the newest; `id` not NULL: that one only. */
json_t *ph_view_migrations(
	struct ph_shell *shell, const char *id, const struct ph_view_filter *filters, size_t n);
/* {"child","origin","spec","revision","differs","instances","migrations"}; `spec` null: none is
 * known. */
json_t *ph_view_show(struct ph_shell *shell, const struct ph_view_filter *filter);
/* {"child","instances"} and, where the node is isolated, "stale":true. NULL: no such child (or no
 * such instance). */
json_t *ph_view_lookup(
	struct ph_shell *shell, const struct ph_name *child, bool has_instance, uint32_t instance);

#endif
