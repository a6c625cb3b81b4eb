/* What prochubd -t can find out about the output of children on this machine. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/journald.h"
#include "shell_parts.h"

const char *ph_shell_journal_path(void)
{
	const char *path = getenv("PROCHUB_JOURNAL_SOCKET");
	return path ? path : PH_JOURNALD_SOCKET;
}

/* The folder of its file has to be there; that of the first instance stands for all. */
static void note_file(const struct ph_conf *conf, const struct ph_conf_child *child)
{
	const struct ph_conf_vars vars = {.child = child->name.s, .node = conf->node.name.s};
	char *path = NULL;
	if (ph_conf_expand(child->log.path, &vars, &path))
		return;
	char *slash = strrchr(path, '/');
	slash[slash == path] = '\0'; /* that of "/x" is "/" */
	if (access(path, W_OK | X_OK) < 0)
		printf("note: children.%s.log.path: nothing can be written in '%s' here: %s\n",
			child->name.s, path, strerror(errno));
	free(path);
}

void ph_shell_output_notes(const struct ph_conf *conf)
{
	const char *journal = ph_shell_journal_path();
	bool told = false;
	for (size_t i = 0; i < conf->n_children; i++) {
		const struct ph_conf_child *child = conf->children[i];
		if (child->log.to == PH_CONF_LOG_FILE && child->log.path)
			note_file(conf, child);
		if (child->log.to != PH_CONF_LOG_JOURNAL || told)
			continue;
		int error = ph_journald_there(journal);
		told = true;
		if (error)
			printf("note: children.%s.log.to: no journal at %s here (%s): the daemon's "
			       "own "
			       "output would get it\n",
				child->name.s, journal, strerror(-error));
	}
}
