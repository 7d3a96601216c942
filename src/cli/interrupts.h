/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interrupts.h: SIGINT and SIGTERM as something to ask for, so that a command can finish what it is doing.
 */
#ifndef SLUICE_CLI_INTERRUPTS_H
#define SLUICE_CLI_INTERRUPTS_H

struct interrupts {
	int fd;     /* signalfd, or -1 */
	int signal; /* that came, 0: none yet */
};

/** Takes over both signals, from then on until the process ends. Call before threads are started.
 *  @return 0 or a negative errno. */
int interrupts_open(struct interrupts *interrupts);

/** @return the signal that has come, or 0. Doesn't wait. */
int interrupts_check(struct interrupts *interrupts);

/** Waits until `fd` can be read, or a signal comes. @return 0, or -EINTR for the signal, or another negative errno. */
int interrupts_wait_readable(struct interrupts *interrupts, int fd);

void interrupts_close(struct interrupts *interrupts);

#endif
