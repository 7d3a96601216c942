/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of systemd.h: sockets as a service manager passes them, and what it hears. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/systemd.h"

#define THREADS 4

/* A TCP socket on a free port of 127.0.0.1, as descriptor `as`. @return the port. */
static in_port_t pass_socket(int as, int type, int listening)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, type, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	if (listening)
		assert_int_equal(listen(fd, 8), 0);
	if (fd != as) {
		assert_int_equal(dup2(fd, as), as);
		close(fd);
	}
	return ntohs(address.sin_port);
}

static void environment(const char *fds)
{
	char pid[16];

	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDNAMES", "web", 1);
	if (fds != NULL)
		setenv("LISTEN_FDS", fds, 1);
	else
		unsetenv("LISTEN_FDS");
}

static in_port_t port_of(int fd)
{
	struct sockaddr_in address;
	socklen_t len = sizeof address;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	return ntohs(address.sin_port);
}

static void one_socket_serves_all_threads(void **state)
{
	in_port_t port = pass_socket(3, SOCK_STREAM, 1);
	struct sockaddr_storage address;
	const char *why = NULL;
	int fds[THREADS];

	environment("1");
	assert_int_equal(systemd_sockets(&address, fds, THREADS, &why), 1);
	assert_int_equal(address.ss_family, AF_INET);
	assert_int_equal(ntohs(((struct sockaddr_in *)&address)->sin_port), port);
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(port_of(fds[i]), port);
		assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		close(fds[i]);
	}
	assert_int_equal(fcntl(3, F_GETFD), -1);
	assert_null(getenv("LISTEN_FDS"));
	assert_null(getenv("LISTEN_PID"));
	assert_null(getenv("LISTEN_FDNAMES"));
}

static void several_sockets_are_dealt_out(void **state)
{
	in_port_t ports[2] = { pass_socket(3, SOCK_STREAM, 1), pass_socket(4, SOCK_STREAM, 1) };
	struct sockaddr_storage address;
	const char *why = NULL;
	int fds[THREADS];

	environment("2");
	assert_int_equal(systemd_sockets(&address, fds, THREADS, &why), 2);
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(port_of(fds[i]), ports[i % 2]);
		close(fds[i]);
	}
}

static void what_is_not_for_us_is_left_alone(void **state)
{
	struct sockaddr_storage address;
	const char *why = NULL;
	int fds[THREADS];

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	assert_int_equal(systemd_sockets(&address, fds, THREADS, &why), 0);
	environment("1");
	setenv("LISTEN_PID", "1", 1);
	assert_int_equal(systemd_sockets(&address, fds, THREADS, &why), 0);
	assert_string_equal(getenv("LISTEN_FDS"), "1");
	setenv("LISTEN_PID", "", 1);
	assert_int_equal(systemd_sockets(&address, fds, THREADS, &why), 0);
	environment("0");
	assert_int_equal(systemd_sockets(&address, fds, THREADS, &why), 0);
	assert_null(why);
}

static void what_can_not_be_served_is_refused(void **state)
{
	static const struct {
		const char *fds;
		int type, listening;
		const char *why;
	} cases[] = {
		{ NULL, SOCK_STREAM, 1, "LISTEN_FDS is not a number" },
		{ "", SOCK_STREAM, 1, "LISTEN_FDS is not a number" },
		{ "-1", SOCK_STREAM, 1, "LISTEN_FDS is not a number" },
		{ "1x", SOCK_STREAM, 1, "LISTEN_FDS is not a number" },
		{ "99999999999999999999", SOCK_STREAM, 1, "LISTEN_FDS is not a number" },
		{ "5", SOCK_STREAM, 1, "more sockets are passed than server.threads" },
		{ "1", SOCK_STREAM, 0, "not a listening TCP socket" },
		{ "1", SOCK_DGRAM, 0, "not a listening TCP socket" },
		{ "2", SOCK_STREAM, 1, "not a listening TCP socket" }, /* the second one is closed */
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sockaddr_storage address;
		const char *why = NULL;
		int fds[THREADS];

		pass_socket(3, cases[i].type, cases[i].listening);
		close(4);
		environment(cases[i].fds);
		assert_int_equal(systemd_sockets(&address, fds, THREADS, &why), -1);
		assert_non_null(why);
		if (strstr(why, cases[i].why) == NULL)
			fail_msg("case %zu: %s", i, why);
		close(3);
	}
}

/* A service manager's end. @param name  with @ for a name without a file. */
static int open_manager(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void the_manager_hears(void **state)
{
	char folder[] = "/tmp/test-systemd-XXXXXX", path[64], abstract[64], heard[64];

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/notify", folder);
	snprintf(abstract, sizeof abstract, "@%s", folder);
	for (int i = 0; i < 2; i++) {
		int fd = open_manager(i == 0 ? path : abstract);

		assert_int_equal(systemd_notify("READY=1\nSTATUS=well"), 0);
		assert_int_equal(recv(fd, heard, sizeof heard, MSG_DONTWAIT), 19);
		assert_memory_equal(heard, "READY=1\nSTATUS=well", 19);
		close(fd);
	}
	assert_int_equal(systemd_notify("READY=1"), -ECONNREFUSED);
	unlink(path);
	rmdir(folder);
}

/* It has stopped reading, and its queue is full: we go on. */
static void the_manager_is_deaf(void **state)
{
	char name[64];
	int sent = 0, fd, err;

	snprintf(name, sizeof name, "@test-systemd-deaf-%d", (int)getpid());
	fd = open_manager(name);
	while ((err = systemd_notify("STATUS=again")) == 0 && sent < 10000)
		sent++;
	assert_int_equal(err, -EAGAIN);
	assert_true(sent > 0);
	close(fd);
	unsetenv("NOTIFY_SOCKET");
}

static void nobody_hears(void **state)
{
	char long_path[200];

	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(systemd_notify("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(systemd_notify("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(systemd_notify("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "/nowhere/notify", 1);
	assert_int_equal(systemd_notify("READY=1"), -ENOENT);
	memset(long_path, '/', sizeof long_path - 1);
	long_path[sizeof long_path - 1] = '\0';
	setenv("NOTIFY_SOCKET", long_path, 1);
	assert_int_equal(systemd_notify("READY=1"), -EINVAL);
	unsetenv("NOTIFY_SOCKET");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_socket_serves_all_threads),
		cmocka_unit_test(several_sockets_are_dealt_out),
		cmocka_unit_test(what_is_not_for_us_is_left_alone),
		cmocka_unit_test(what_can_not_be_served_is_refused),
		cmocka_unit_test(the_manager_hears),
		cmocka_unit_test(the_manager_is_deaf),
		cmocka_unit_test(nobody_hears),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
