/* spec.c - specs that are kept: one copy for many who keep it, and texts that many copies share. */
#include "core/state.h"

#include <stdlib.h>
#include <string.h>

static char *copy_text(const char *text)
{
	return text ? ph_must(strdup(text)) : NULL;
}

static struct ph_spec *writable(const struct ph_spec *clone)
{
	return (struct ph_spec *)(uintptr_t)clone;
}

static struct ph_spec *copy_of(const struct ph_spec *spec)
{
	struct ph_spec *copy = ph_must(malloc(sizeof *copy));
	*copy = *spec;
	copy->keepers = 1;
	if (copy->copies) {
		++*copy->copies;
		return copy;
	}
	copy->copies = ph_must(malloc(sizeof *copy->copies));
	*copy->copies = 1;
	copy->text = copy_text(spec->text);
	copy->nodes = copy_text(spec->nodes);
	copy->labels = copy_text(spec->labels);
	copy->after = copy_text(spec->after);
	copy->group.members = copy_text(spec->group.members);
	return copy;
}

const struct ph_spec *ph_spec_clone(const struct ph_spec *spec)
{
	if (!spec->keepers)
		return copy_of(spec);
	writable(spec)->keepers++;
	return spec;
}

const struct ph_spec *ph_spec_revise(const struct ph_spec *spec, uint64_t revision)
{
	if (spec->keepers && spec->revision == revision)
		return ph_spec_clone(spec);
	struct ph_spec *copy = copy_of(spec);
	copy->revision = revision;
	return copy;
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text);
}

void ph_spec_free(const struct ph_spec *spec)
{
	if (!spec || --writable(spec)->keepers)
		return;
	if (--*spec->copies == 0) {
		free_text(spec->text);
		free_text(spec->nodes);
		free_text(spec->labels);
		free_text(spec->after);
		free_text(spec->group.members);
		free(spec->copies);
	}
	free(writable(spec));
}
