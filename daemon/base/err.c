#include "base/err.h"

#include <stdio.h>
#include <string.h>

int ph_err_set(struct ph_err *err, int code, const char *format, ...)
{
	if (err) {
		va_list args;
		va_start(args, format);
		(void)vsnprintf(err->text, sizeof err->text, format, args);
		va_end(args);
	}
	return -code;
}

void ph_err_prefix(struct ph_err *err, const char *format, ...)
{
	if (!err)
		return;
	char head[PH_ERR_MAX];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(head, sizeof head - 2, format, args);
	va_end(args);
	strcat(head, ": ");
	size_t n = strlen(head), rest = strlen(err->text);
	if (n + rest >= sizeof err->text)
		rest = sizeof err->text - n - 1;
	memmove(err->text + n, err->text, rest);
	memcpy(err->text, head, n);
	err->text[n + rest] = '\0';
}
