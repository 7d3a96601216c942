/* SPDX-License-Identifier: Apache-2.0 */
/* interrupts.c: see interrupts.h. */
#include "cli/interrupts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

int interrupts_open(struct interrupts *interrupts)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	interrupts->signal = 0;
	interrupts->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (interrupts->fd < 0)
		return -errno;
	sigprocmask(SIG_BLOCK, &set, NULL);
	return 0;
}

int interrupts_check(struct interrupts *interrupts)
{
	struct signalfd_siginfo info;

	if (interrupts->signal == 0 && read(interrupts->fd, &info, sizeof info) == (ssize_t)sizeof info)
		interrupts->signal = (int)info.ssi_signo;
	return interrupts->signal;
}

int interrupts_wait_readable(struct interrupts *interrupts, int fd)
{
	struct pollfd fds[] = { { .fd = interrupts->fd, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

	while (poll(fds, 2, -1) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return interrupts_check(interrupts) != 0 ? -EINTR : 0;
}

void interrupts_close(struct interrupts *interrupts)
{
	if (interrupts->fd >= 0)
		close(interrupts->fd);
}
