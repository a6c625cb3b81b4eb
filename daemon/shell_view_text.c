#include "shell_view_text.h"

#include <stdlib.h>
#include <string.h>

json_t *ph_view_text(const char *text)
{
	if (!text)
		return json_null();
	json_t *value = json_string(text);
	if (value)
		return value;
	char *copy = strdup(text); /* what is not UTF-8 came from a worker or a file name */
	for (char *c = copy; c && *c; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	value = copy ? json_string(copy) : NULL;
	free(copy);
	return value;
}
