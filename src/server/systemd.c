/* SPDX-License-Identifier: Apache-2.0 */
#include "server/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_S 2   /* for a manager whose queue is full: longer than systemd takes to load itself anew */
#define FIRST_FD 3 /* sockets are passed as 3, 4, 5, … */

/* @return a decimal number without sign or blanks, or -1. */
static long number_in(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long value;

	if (text == NULL || *text < '0' || *text > '9')
		return -1;
	errno = 0;
	value = strtol(text, &end, 10);
	return *end == '\0' && errno == 0 ? value : -1;
}

static bool is_tcp_listener(int fd)
{
	int type = 0, listening = 0;
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t type_len = sizeof type, listening_len = sizeof listening, address_len = sizeof address;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_len) == 0 && listening != 0 &&
	       getsockname(fd, (struct sockaddr *)&address, &address_len) == 0 &&
	       (address.ss_family == AF_INET || address.ss_family == AF_INET6);
}

/* What is wrong with the sockets, or NULL. */
static const char *look_at(long given, size_t threads)
{
	if (given < 0)
		return "LISTEN_FDS is not a number";
	if ((unsigned long)given > threads)
		return "more sockets are passed than server.threads, so some would have nobody who accepts";
	for (int fd = FIRST_FD; fd < FIRST_FD + (int)given; fd++) {
		int flags = fcntl(fd, F_GETFL);

		if (!is_tcp_listener(fd))
			return "a socket that was passed is not a listening TCP socket; the socket unit needs "
			       "ListenStream=PORT and "
			       "Accept=no";
		/* The status flags belong to the socket, not to the descriptor: all copies have them. */
		if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
			return strerror(errno);
	}
	return NULL;
}

/* @return NULL, or why not; then none of `fds` is open. */
static const char *spread(int given, int *fds, size_t n)
{
	size_t open = 0;

	for (; open < n; open++) {
		fds[open] = fcntl(FIRST_FD + (int)(open % (size_t)given), F_DUPFD_CLOEXEC, FIRST_FD + given);
		if (fds[open] < 0) {
			const char *why = strerror(errno);

			while (open > 0)
				close(fds[--open]);
			return why;
		}
	}
	return NULL;
}

int systemd_sockets(struct sockaddr_storage *address, int *fds, size_t n, const char **why)
{
	socklen_t len = sizeof *address;
	long given;

	if (number_in("LISTEN_PID") != (long)getpid())
		return 0; /* meant for somebody else, who forgot to take it out of the environment */
	given = number_in("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (given == 0)
		return 0;
	*why = look_at(given, n);
	if (*why == NULL && getsockname(FIRST_FD, (struct sockaddr *)address, &len) != 0)
		*why = strerror(errno);
	if (*why == NULL)
		*why = spread((int)given, fds, n);
	if (*why != NULL)
		return -1;
	for (int fd = FIRST_FD; fd < FIRST_FD + (int)given; fd++)
		close(fd);
	return (int)given;
}

int systemd_notify(const char *state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval wait = { .tv_sec = WAIT_S };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path != NULL ? strlen(path) : 0;
	ssize_t sent;
	int fd, err;

	if (len == 0)
		return 0;
	if (len >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
		return -EINVAL;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@') /* a name without a file */
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	do {
		sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	} while (sent < 0 && errno == EINTR);
	err = sent < 0 ? -errno : 0;
	close(fd);
	return err;
}
