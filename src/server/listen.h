/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.h: one listening socket a thread, all on one port (SO_REUSEPORT).
 */
#ifndef SLUICE_SERVER_LISTEN_H
#define SLUICE_SERVER_LISTEN_H

#include <stddef.h>
#include <sys/socket.h>

/**
 * Opens `n` sockets, bound and listening. A port that anybody else listens on is refused, although the system would
 * let two of ours share it: a second server would take half the clients unnoticed.
 *
 * @param address  in and out: port 0 becomes the port that was got.
 * @param fds      out: non-blocking; the caller closes them.
 * @return 0 or a negative errno; then none is open.
 */
int listen_all(struct sockaddr_storage *address, socklen_t len, int *fds, size_t n);

#endif
