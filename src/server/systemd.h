/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd.h: what a service manager hands us and is told: sockets that it listens on, and how we are.
 *
 * The two protocols that systemd promises to keep (sd_listen_fds(3), sd_notify(3)); others speak them too. Without a
 * service manager every function does nothing. Leaves out: the watchdog, file descriptor stores, socket names.
 */
#ifndef SLUICE_SERVER_SYSTEMD_H
#define SLUICE_SERVER_SYSTEMD_H

#include <stddef.h>
#include <sys/socket.h>

/**
 * Takes over the listening TCP sockets that this process was started with, and spreads them over `n` threads: each
 * gets a descriptor of its own; where there are fewer sockets than threads, several share one queue. Afterwards the
 * environment no longer names them. Call once, before threads exist that read the environment.
 *
 * @param address  out: where the first of them listens.
 * @param fds      out, when the result is positive: `n` descriptors, non-blocking; the caller closes them.
 * @param why      out, when the result is negative: what is wrong, a text that lives for ever.
 * @return how many sockets were passed; 0 when none was (then nothing is changed); -1 with `why`.
 */
int systemd_sockets(struct sockaddr_storage *address, int *fds, size_t n, const char **why);

/**
 * Tells the service manager. Any thread; waits two seconds at most, for a manager that does not read what it is told.
 *
 * @param state  lines of NAME=VALUE: "READY=1", "STOPPING=1", "STATUS=…".
 * @return 0 when it was sent, or when nobody wants to know (NOTIFY_SOCKET is not set); else a negative errno.
 */
int systemd_notify(const char *state);

#endif
