#include "conf/errors.h"

#include <stdarg.h>
#include <string.h>

#define SHOWN_MAX 80

const char *ph_conf_shown(const char *text, char ret[PH_CONF_SHOWN_SIZE])
{
	size_t n = strnlen(text, SHOWN_MAX + 1);
	bool cut = n > SHOWN_MAX;
	if (cut) {
		n = SHOWN_MAX;
		while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--;
	}
	memcpy(ret, text, n);
	memcpy(ret + n, cut ? "..." : "", cut ? 4 : 1);
	return ret;
}

static void clean(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

void ph_conf_errors_add(
	struct ph_conf_errors *errors, struct ph_conf_place at, const char *format, ...)
{
	if (errors->n == PH_CONF_ERRORS_MAX) {
		errors->more++;
		return;
	}
	struct ph_conf_error *e = &errors->v[errors->n++];
	*e = (struct ph_conf_error){.file = at.file, .line = at.line, .column = at.column};
	char *text = e->text.text;
	int n = 0;
	if (at.file && at.line)
		n = snprintf(text, PH_ERR_MAX, "%.255s:%u:%u: ", at.file, at.line, at.column);
	else if (at.file)
		n = snprintf(text, PH_ERR_MAX, "%.255s: ", at.file);
	va_list args;
	va_start(args, format);
	if (n >= 0)
		(void)vsnprintf(text + n, PH_ERR_MAX - (size_t)n, format, args);
	va_end(args);
	clean(text);
}

/* Files are in the order of their first mistake, which is that in which they were read. */
static size_t file_rank(const struct ph_conf_errors *errors, const char *file)
{
	size_t i = 0;
	while (i < errors->n && errors->v[i].file != file)
		i++;
	return file ? i : errors->n;
}

static bool before(const struct ph_conf_errors *errors, const struct ph_conf_error *a,
	const struct ph_conf_error *b)
{
	size_t ra = file_rank(errors, a->file), rb = file_rank(errors, b->file);
	if (ra != rb)
		return ra < rb;
	return a->line != b->line ? a->line < b->line : a->column < b->column;
}

void ph_conf_errors_finish(struct ph_conf_errors *errors)
{
	struct ph_conf_errors sorted = {.more = errors->more};
	for (size_t i = 0; i < errors->n; i++) { /* stable insertion, 20 at most */
		size_t to = sorted.n++;
		while (to > 0 && before(errors, &errors->v[i], &sorted.v[to - 1])) {
			sorted.v[to] = sorted.v[to - 1];
			to--;
		}
		sorted.v[to] = errors->v[i];
	}
	for (size_t i = 0; i < sorted.n; i++)
		sorted.v[i].file = NULL;
	*errors = sorted;
}
