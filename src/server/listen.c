/* SPDX-License-Identifier: Apache-2.0 */
#include "server/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <unistd.h>

#define BACKLOG 4096 /* the system cuts it to net.core.somaxconn */

/* @return a bound socket or a negative errno. */
static int open_bound(const struct sockaddr_storage *address, socklen_t len, bool shared)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0, err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (address->ss_family == AF_INET6) /* [::] means everybody, IPv4 too, whatever the system's default */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, (const struct sockaddr *)address, len) != 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* @return 0 when nobody has the port; also finds the port when it is 0. */
static int probe(struct sockaddr_storage *address, socklen_t len)
{
	int fd = open_bound(address, len, false), err = 0;

	if (fd < 0)
		return fd;
	if (getsockname(fd, (struct sockaddr *)address, &len) != 0)
		err = -errno;
	close(fd);
	return err;
}

int listen_all(struct sockaddr_storage *address, socklen_t len, int *fds, size_t n)
{
	int err = probe(address, len);
	size_t open = 0;

	while (err == 0 && open < n) {
		fds[open] = open_bound(address, len, true);
		if (fds[open] < 0)
			err = fds[open];
		else if (listen(fds[open++], BACKLOG) != 0)
			err = -errno;
	}
	while (err != 0 && open > 0)
		close(fds[--open]);
	return err;
}
