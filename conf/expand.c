#include "conf/expand.h"
#include "conf/errors.h"
#include "conf/load.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

static uint64_t read_number(const char *path, const char *label, int base)
{
	char line[256];
	uint64_t v = 0;
	FILE *in = fopen(path, "re");
	while (in && fgets(line, sizeof line, in)) {
		if (strncmp(line, label, strlen(label)) == 0) {
			v = strtoull(line + strlen(label), NULL, base);
			break;
		}
	}
	if (in)
		(void)fclose(in);
	return v;
}

/* Ports below it are for who has CAP_NET_BIND_SERVICE. */
static uint16_t lowest_port(void)
{
	const uint64_t net_bind_service = UINT64_C(1) << 10;
	if (read_number("/proc/self/status", "CapEff:", 16) & net_bind_service)
		return 0;
	uint64_t port = read_number("/proc/sys/net/ipv4/ip_unprivileged_port_start", "", 10);
	return port < UINT16_MAX ? (uint16_t)port : UINT16_MAX;
}

/* Who may raise the hard limit may do so as far as the kernel goes. */
static uint64_t highest_nofile(void)
{
	const uint64_t sys_resource = UINT64_C(1) << 24;
	struct rlimit limit;
	if (read_number("/proc/self/status", "CapEff:", 16) & sys_resource)
		return read_number("/proc/sys/fs/nr_open", "", 10);
	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : 0;
}

void ph_conf_env_system(struct ph_conf_env *ret)
{
	*ret = (struct ph_conf_env){.environ = (const char *const *)environ,
		.etc = PH_CONF_ETC,
		.uid = geteuid(),
		.check_users = true,
		.port_min = lowest_port(),
		.nofile_max = highest_nofile()};
	if (gethostname(ret->hostname, sizeof ret->hostname - 1) < 0)
		ret->hostname[0] = '\0';
}

const char *ph_conf_env_get(const struct ph_conf_env *env, const char *name)
{
	size_t n = strlen(name);
	for (const char *const *e = env->environ; e && *e; e++)
		if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
			return (*e)[n + 1] ? *e + n + 1 : NULL;
	return NULL;
}

/* A text that grows up to PH_CONF_VALUE_MAX. */
struct text {
	char *s;
	size_t n, room;
};

static int put(struct text *to, const char *s, size_t n)
{
	if (n > PH_CONF_VALUE_MAX - to->n)
		return -E2BIG;
	if (to->n + n + 1 > to->room) {
		size_t room = (to->n + n + 1) * 2;
		char *more = realloc(to->s, room);
		if (!more)
			return -ENOMEM;
		to->s = more;
		to->room = room;
	}
	memcpy(to->s + to->n, s, n);
	to->n += n;
	to->s[to->n] = '\0';
	return 0;
}

/* The value of a variable as a slice, or NULL where it is not set. */
static const char *variable(
	const struct ph_conf_env *env, const char *name, size_t n, size_t *ret_n)
{
	bool host = n == 8 && memcmp(name, "HOSTNAME", 8) == 0;
	const char *value = NULL;
	for (const char *const *e = env->environ; e && *e && !value; e++)
		if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
			value = *e + n + 1;
	if (!value && host && env->hostname[0])
		value = env->hostname;
	if (value)
		*ret_n = host ? strcspn(value, ".") : strlen(value);
	return value;
}

static size_t name_length(const char *s)
{
	size_t n = 0;
	while (isalpha((unsigned char)s[n]) || s[n] == '_' ||
		(n > 0 && isdigit((unsigned char)s[n])))
		n++;
	return n;
}

/* One ${...} at `at`; *ret_end is what follows it. */
static int put_variable(struct text *to, const char *at, const struct ph_conf_env *env,
	const char **ret_end, struct ph_err *err)
{
	const char *name = at + 2, *close = strchr(name, '}');
	char shown[PH_CONF_SHOWN_SIZE];
	if (!close)
		return ph_err_set(err, EINVAL, "'%s' has no closing '}' ('$${' is a literal '${')",
			ph_conf_shown(at, shown));
	size_t n = name_length(name), value_n = 0;
	bool otherwise = strncmp(name + n, ":-", 2) == 0;
	if (n == 0 || (name + n != close && !otherwise))
		return ph_err_set(err, EINVAL,
			"'%.*s' is neither ${NAME} nor ${NAME:-text} ('$${' is a literal '${')",
			close - at < 80 ? (int)(close - at) + 1 : 80, at);
	const char *value = variable(env, name, n, &value_n);
	/* as in a shell: with ":-" an empty one counts as unset */
	if (otherwise && (!value || value_n == 0)) {
		value = name + n + 2;
		value_n = (size_t)(close - value);
	}
	if (!value)
		return ph_err_set(err, EINVAL, "'${%.*s}' is not set", n < 80 ? (int)n : 80, name);
	*ret_end = close + 1;
	return put(to, value, value_n);
}

static size_t utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char lead, mask, first_min, first_max;
		size_t n;
	} rows[] = {{0x00, 0x80, 0, 0, 1}, {0xc0, 0xe0, 0x80, 0xbf, 2}, {0xe0, 0xf0, 0x80, 0xbf, 3},
		{0xf0, 0xf8, 0x80, 0xbf, 4}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if ((*s & rows[i].mask) != rows[i].lead)
			continue;
		for (size_t k = 1; k < rows[i].n; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		/* overlong forms, surrogates, beyond U+10FFFF */
		if (*s == 0xc0 || *s == 0xc1 || (*s == 0xe0 && s[1] < 0xa0) ||
			(*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) || *s > 0xf4 ||
			(*s == 0xf4 && s[1] > 0x8f))
			return 0;
		return rows[i].n;
	}
	return 0;
}

static bool utf8_valid(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	while (*s) {
		size_t n = utf8_length(s);
		if (n == 0)
			return false;
		s += n;
	}
	return true;
}

static int substitute(
	struct text *to, const char *text, const struct ph_conf_env *env, struct ph_err *err)
{
	int rc = put(to, "", 0);
	while (rc == 0 && *text) {
		size_t n = strcspn(text, "$");
		if (n > 0) {
			rc = put(to, text, n);
			text += n;
		} else if (strncmp(text, "$${", 3) == 0) {
			rc = put(to, "${", 2);
			text += 3;
		} else if (text[1] == '{') {
			rc = put_variable(to, text, env, &text, err);
		} else {
			rc = put(to, text++, 1);
		}
	}
	return rc;
}

int ph_conf_substitute(
	const char *text, const struct ph_conf_env *env, char **ret, struct ph_err *err)
{
	struct text to = {0};
	int rc = substitute(&to, text, env, err);
	if (rc == 0 && !utf8_valid(to.s))
		rc = ph_err_set(err, EINVAL, "not UTF-8 after its variables are expanded");
	if (rc == -E2BIG)
		rc = ph_err_set(err, EINVAL, "longer than 128 KiB");
	if (rc < 0)
		free(to.s);
	else
		*ret = to.s;
	return rc;
}

int ph_conf_template_check(const char *text, struct ph_err *err)
{
	for (const char *p = strchr(text, '%'); p; p = strchr(p + 2, '%')) {
		if (p[1] == '\0')
			return ph_err_set(err, EINVAL, "'%%' at the end ('%%%%' is a literal one)");
		if (!strchr("irnc%", p[1]))
			return ph_err_set(err, EINVAL,
				"'%%%c' is not %%i, %%r, %%n or %%c ('%%%%' is a literal '%%')",
				(unsigned char)p[1] < 0x80 ? p[1] : '?');
	}
	return 0;
}

static int put_number(struct text *to, uint32_t v)
{
	char digits[12];
	int n = snprintf(digits, sizeof digits, "%u", v);
	return put(to, digits, (size_t)n);
}

static int put_letter(struct text *to, char letter, const struct ph_conf_vars *vars)
{
	switch (letter) {
	case 'i':
		return put_number(to, vars->instance);
	case 'r':
		return put_number(to, vars->replica);
	case 'n':
		return put(to, vars->node, strlen(vars->node));
	case 'c':
		return put(to, vars->child, strlen(vars->child));
	case '%':
		return put(to, "%", 1);
	default:
		return -EINVAL;
	}
}

int ph_conf_expand(const char *text, const struct ph_conf_vars *vars, char **ret)
{
	struct text to = {0};
	int rc = put(&to, "", 0);
	while (rc == 0 && *text) {
		size_t n = strcspn(text, "%");
		rc = put(&to, text, n);
		text += n;
		if (rc == 0 && *text) {
			rc = put_letter(&to, text[1], vars);
			text += 2;
		}
	}
	if (rc < 0)
		free(to.s);
	else
		*ret = to.s;
	return rc == -E2BIG ? -EINVAL : rc;
}
