/* Lines for systemd's journal: their fields, large ones, a journal that is busy or not there. */
#include "tests/unit/output_help.h"

#include "io/journald.h"
#include "run_tests.h"

#include <sys/socket.h>
#include <sys/un.h>

static int server = -1;

static void bind_journal(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path_of("journal"));
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(server, (struct sockaddr *)&address, sizeof address), 0);
}

static void setup(void)
{
	dir = help_dir();
	out_file = open(path_of("out"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	output_begin(out_file, path_of("journal"));
	bind_journal();
}

static void teardown(void)
{
	if (server >= 0)
		close(server);
	server = -1;
	output_teardown();
}

/* One entry, by its datagram or by the file that came with it; its length, or -1. */
static ssize_t receive(char *bytes, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {bytes, size};
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	ssize_t n = recvmsg(server, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *head = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (head) {
		int fd;
		memcpy(&fd, CMSG_DATA(head), sizeof fd);
		ck_assert_int_eq(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
		n = pread(fd, bytes, size, 0);
		close(fd);
	}
	return n;
}

/* The value of a field of the entry, "" where there is none. */
static const char *field(const char *bytes, size_t n, const char *name)
{
	static char value[256];
	size_t length = strlen(name);
	value[0] = '\0';
	for (size_t at = 0; at < n;) {
		const char *end = memchr(bytes + at, '\n', n - at);
		ck_assert_ptr_nonnull(end);
		size_t size = (size_t)(end - bytes) - at;
		const char *equals = memchr(bytes + at, '=', size);
		const char *text = equals ? equals + 1 : end + 9;
		size_t m = equals ? (size_t)(end - text)
				  : (unsigned char)end[1] + 256u * (unsigned char)end[2];
		bool is = strncmp(bytes + at, name, length) == 0 &&
			  (bytes[at + length] == '=' || bytes[at + length] == '\n');
		if (is)
			(void)snprintf(value, sizeof value, "%.*s", (int)m, text);
		at = (size_t)(text - bytes) + m + 1;
	}
	return value;
}

static int journal_fifo(void)
{
	int end = fifo_open("one", NULL, 0, 0);
	struct ph_output_order *order = ph_output_order_new(PH_OUTPUT_OPEN);
	close(end);
	pump();
	order->fifo = strdup(path_of("fifo"));
	ck_assert_int_eq(mkfifo(order->fifo, 0600), 0);
	order->fd = open(order->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	end = open(order->fifo, O_RDWR | O_CLOEXEC);
	order->key = key_of("web", 17);
	order->to = PH_OUTPUT_JOURNAL;
	ph_output_order(output, order);
	return end;
}

START_TEST(test_fields)
{
	static const struct {
		const char *text, *message, *priority;
	} rows[] = {
		{"hello\n", "hello", "6"},
		{"<3>bad\n", "bad", "3"},
		{"<9>odd\n", "<9>odd", "6"},
		{"a=b\n", "a=b", "6"},
	};
	char bytes[4096];
	int fifo = journal_fifo();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		say(fifo, rows[i].text);
		ssize_t n = receive(bytes, sizeof bytes);
		ck_assert_int_gt(n, 0);
		ck_assert_str_eq(field(bytes, (size_t)n, "MESSAGE"), rows[i].message);
		ck_assert_str_eq(field(bytes, (size_t)n, "PRIORITY"), rows[i].priority);
		ck_assert_str_eq(field(bytes, (size_t)n, "PROCHUB_CHILD"), "web");
		ck_assert_str_eq(field(bytes, (size_t)n, "PROCHUB_INSTANCE"), "17");
		ck_assert_str_eq(field(bytes, (size_t)n, "PROCHUB_NODE"), "a");
		ck_assert_str_eq(field(bytes, (size_t)n, "SYSLOG_IDENTIFIER"), "web");
	}
	say(fifo, "\n"); /* an empty line is none */
	ck_assert_int_lt(receive(bytes, sizeof bytes), 0);
	close(fifo);
}
END_TEST

START_TEST(test_events)
{
	struct ph_journald_event event = {.text = "child_ready web/17",
		.event = "child_ready",
		.node = "a",
		.child = "web",
		.has_instance = true,
		.instance = 17,
		.migration = "ab",
		.priority = 4};
	static const struct {
		const char *field, *value;
	} rows[] = {
		{"MESSAGE", "child_ready web/17"},
		{"PRIORITY", "4"},
		{"SYSLOG_IDENTIFIER", "prochubd"},
		{"PROCHUB_EVENT", "child_ready"},
		{"PROCHUB_NODE", "a"},
		{"PROCHUB_CHILD", "web"},
		{"PROCHUB_INSTANCE", "17"},
		{"PROCHUB_MIGRATION", "ab"},
	};
	char bytes[4096];
	struct ph_journald journal;
	ck_assert_int_eq(ph_journald_open(&journal, path_of("journal")), 0);
	ck_assert_int_eq(ph_journald_send_event(&journal, &event), 0);
	ssize_t n = receive(bytes, sizeof bytes);
	ck_assert_int_gt(n, 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_str_eq(field(bytes, (size_t)n, rows[i].field), rows[i].value);
	event.child = event.migration = NULL;
	ck_assert_int_eq(ph_journald_send_event(&journal, &event), 0);
	n = receive(bytes, sizeof bytes);
	for (size_t i = 5; i < sizeof rows / sizeof *rows; i++)
		ck_assert_str_eq(field(bytes, (size_t)n, rows[i].field), "");
	ph_journald_close(&journal);
}
END_TEST

/* Larger than a datagram may be here. */
START_TEST(test_large)
{
	size_t n = 60000;
	char *text = calloc(1, n + 2), *bytes = malloc(1u << 20);
	int small = 4096, fifo = journal_fifo();
	struct ph_journald journal;
	memset(text, 'x', n);
	ck_assert_int_eq(ph_journald_open(&journal, path_of("journal")), 0);
	ck_assert_int_eq(setsockopt(journal.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
	struct ph_journald_line line = {.text = text, .n = n, .child = "web", .node = "a"};
	ck_assert_int_eq(ph_journald_send(&journal, &line), 0);
	ssize_t got = receive(bytes, 1u << 20);
	ck_assert_int_gt(got, (ssize_t)n);
	ck_assert_str_eq(field(bytes, (size_t)got, "PROCHUB_NODE"), "a");
	ph_journald_close(&journal);
	text[n] = '\n';
	say(fifo, text);
	ck_assert_int_gt(receive(bytes, 1u << 20), (ssize_t)n);
	close(fifo);
	free(text);
	free(bytes);
}
END_TEST

/* A journal that takes nothing for a while: all lines come, in order, each once. */
START_TEST(test_busy)
{
	char bytes[4096], text[32];
	int fifo = journal_fifo(), next = 0;
	for (int i = 0; i < 2000; i++) {
		(void)snprintf(text, sizeof text, "line %d\n", i);
		ck_assert_int_eq(write(fifo, text, strlen(text)), (ssize_t)strlen(text));
	}
	close(fifo);
	for (int idle = 0; idle < 500 && next < 2000; idle++) {
		ph_output_pump(output, 10);
		ssize_t n = receive(bytes, sizeof bytes);
		for (; n > 0; n = receive(bytes, sizeof bytes)) {
			(void)snprintf(text, sizeof text, "line %d", next++);
			ck_assert_str_eq(field(bytes, (size_t)n, "MESSAGE"), text);
		}
	}
	ck_assert_int_eq(next, 2000);
	pump();
	ck_assert_uint_eq(ph_output_open_count(output), 0);
}
END_TEST

/* Without a journal the daemon's output gets it, and one line says so; and back. */
START_TEST(test_nobody_there)
{
	char bytes[4096];
	int fifo = journal_fifo();
	close(server);
	say(fifo, "a\nb\n");
	say(fifo, "c\n");
	expect(path_of("out"), "a\nb\nc\n");
	struct ph_output_news *news = ph_output_news(output);
	ck_assert_ptr_nonnull(strstr(news->text, "no journal at "));
	ck_assert_ptr_null(news->next);
	ph_output_news_free(news);
	ck_assert_int_eq(unlink(path_of("journal")), 0);
	say(fifo, "d\n");
	ck_assert_ptr_null(ph_output_news(output));
	bind_journal();
	say(fifo, "e\n");
	ssize_t n = receive(bytes, sizeof bytes);
	ck_assert_int_gt(n, 0);
	ck_assert_str_eq(field(bytes, (size_t)n, "MESSAGE"), "e");
	expect(path_of("out"), "a\nb\nc\nd\n");
	news = ph_output_news(output);
	ck_assert_ptr_nonnull(news);
	ck_assert(!news->bad);
	ph_output_news_free(news);
	close(fifo);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("journald");
	TCase *t = tcase_create("journald");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_fields);
	tcase_add_test(t, test_events);
	tcase_add_test(t, test_large);
	tcase_add_test(t, test_busy);
	tcase_add_test(t, test_nobody_there);
	suite_add_tcase(s, t);
	return run_tests(s);
}
