#include "io/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"

#define HEADERS_MAX 16384
#define BODY_MAX 65536 /* more of it is not waited for */

struct ph_probe {
	ph_probe_done *done;
	void *arg;
	struct event *end; /* the deadline; made active when there is an answer */
	uint64_t timeout_ms;
	struct bufferevent *tcp;
	struct evhttp_connection *http;
	bool over, serves;
	char why[PH_REASON_SIZE];
};

void ph_probe_free(struct ph_probe *probe)
{
	if (!probe)
		return;
	if (probe->end)
		event_free(probe->end);
	if (probe->tcp)
		bufferevent_free(probe->tcp);
	if (probe->http)
		evhttp_connection_free(probe->http);
	free(probe);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct ph_probe *probe = arg;
	(void)fd, (void)what;
	if (!probe->over)
		(void)snprintf(probe->why, sizeof probe->why, "no answer within %llu ms",
			(unsigned long long)probe->timeout_ms);
	probe->done(probe->arg, probe->serves ? NULL : probe->why);
	ph_probe_free(probe);
}

/* libevent's objects must not be freed in their own callbacks, so the end comes a moment later. */
static void finish(struct ph_probe *probe, bool serves, const char *why)
{
	if (probe->over)
		return;
	probe->over = true;
	probe->serves = serves;
	(void)snprintf(probe->why, sizeof probe->why, "%s", why);
	event_active(probe->end, EV_TIMEOUT, 0);
}

/* ---- a port */

/*
 * A port of this machine at which nobody listens may be the one that the kernel gives to this end
 * of the connection, which then leads to itself.
 */
static bool leads_to_itself(int fd)
{
	struct sockaddr_in6 here = {0}, there = {0}; /* takes an IPv4 one too */
	socklen_t n_here = sizeof here, n_there = sizeof there;
	return getsockname(fd, (struct sockaddr *)&here, &n_here) == 0 &&
	       getpeername(fd, (struct sockaddr *)&there, &n_there) == 0 && n_here == n_there &&
	       memcmp(&here, &there, n_here) == 0;
}

static void on_tcp(struct bufferevent *tcp, short what, void *arg)
{
	struct ph_probe *probe = arg;
	if ((what & BEV_EVENT_CONNECTED) && leads_to_itself(bufferevent_getfd(tcp)))
		finish(probe, false, strerror(ECONNREFUSED));
	else if (what & BEV_EVENT_CONNECTED)
		finish(probe, true, "");
	else
		finish(probe, false, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
}

static int start_tcp(
	struct ph_probe *probe, struct event_base *base, const char *host, uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr *address = (struct sockaddr *)&v4;
	int n = sizeof v4;
	if (inet_pton(AF_INET, host, &v4.sin_addr) != 1) {
		if (inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
			return -EINVAL;
		address = (struct sockaddr *)&v6;
		n = sizeof v6;
	}
	probe->tcp = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!probe->tcp)
		return -ENOMEM;
	bufferevent_setcb(probe->tcp, NULL, NULL, on_tcp, probe);
	/* a failure at once comes by the callback too, or is told here */
	if (bufferevent_socket_connect(probe->tcp, address, n) < 0)
		finish(probe, false, strerror(errno));
	return 0;
}

/* ---- an address */

/* The status is enough: the body is not waited for. */
static int on_headers(struct evhttp_request *request, void *arg)
{
	int status = evhttp_request_get_response_code(request);
	char why[64];
	(void)snprintf(why, sizeof why, "answered with status %d", status);
	finish(arg, status >= 200 && status <= 399, why);
	return 0;
}

static void on_http_error(enum evhttp_request_error error, void *arg)
{
	finish(arg, false,
		error == EVREQ_HTTP_INVALID_HEADER ? "the answer is no HTTP"
		: error == EVREQ_HTTP_EOF	   ? "the connection was closed without an answer"
						   : "the answer cannot be read");
}

/* The end of the connection; with an answer, or an error above, that has been told already. */
static void on_http(struct evhttp_request *request, void *arg)
{
	if (request && evhttp_request_get_response_code(request))
		(void)on_headers(request, arg);
	else
		finish(arg, false, "cannot connect");
}

static int start_http(struct ph_probe *probe, struct event_base *base, const char *host,
	uint16_t port, const char *path)
{
	char named[128];
	struct in6_addr numeric; /* a name would be looked up, and waited for */
	if (inet_pton(strchr(host, ':') ? AF_INET6 : AF_INET, host, &numeric) != 1)
		return -EINVAL;
	struct evhttp_request *request = evhttp_request_new(on_http, probe);
	probe->http = request ? evhttp_connection_base_new(base, NULL, host, port) : NULL;
	if (!probe->http) {
		if (request)
			evhttp_request_free(request);
		return -ENOMEM;
	}
	evhttp_connection_set_max_headers_size(probe->http, HEADERS_MAX);
	evhttp_connection_set_max_body_size(probe->http, BODY_MAX);
	evhttp_request_set_header_cb(request, on_headers);
	evhttp_request_set_error_cb(request, on_http_error);
	(void)snprintf(named, sizeof named, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	if (evhttp_add_header(headers, "Host", named) < 0 ||
		evhttp_add_header(headers, "User-Agent", "prochubd") < 0 ||
		evhttp_add_header(headers, "Connection", "close") < 0) {
		evhttp_request_free(request);
		return -ENOMEM;
	}
	/* takes the request, on failure too */
	if (evhttp_make_request(probe->http, request, EVHTTP_REQ_GET, path) < 0)
		finish(probe, false, "the request cannot be made");
	return 0;
}

int ph_probe_net(struct event_base *base, const char *host, uint16_t port, const char *path,
	uint64_t timeout_ms, ph_probe_done *done, void *arg, struct ph_probe **ret)
{
	struct ph_probe *probe = calloc(1, sizeof *probe);
	if (!probe)
		return -ENOMEM;
	*probe = (struct ph_probe){.done = done, .arg = arg, .timeout_ms = timeout_ms};
	const struct timeval by = {
		(time_t)(timeout_ms / 1000), (suseconds_t)(timeout_ms % 1000 * 1000)};
	probe->end = evtimer_new(base, on_end, probe);
	int error = probe->end && evtimer_add(probe->end, &by) == 0 ? 0 : -ENOMEM;
	if (!error)
		error = path ? start_http(probe, base, host, port, path)
			     : start_tcp(probe, base, host, port);
	if (error)
		ph_probe_free(probe);
	else
		*ret = probe;
	return error;
}
