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
	char head[PH_ERR_MAX], rest[PH_ERR_MAX];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(head, sizeof head, format, args);
	va_end(args);
	memcpy(rest, err->text, sizeof rest);
	if (n < 0 || (size_t)n >= sizeof head)
		n = (int)sizeof head - 1;
	memcpy(err->text, head, (size_t)n + 1);
	(void)snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", rest);
}
