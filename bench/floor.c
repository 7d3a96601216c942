/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor.c: what the kernel alone costs: a server that reads whatever comes and sends one fixed answer.
 *
 * It parses nothing, decides nothing and formats nothing, so no HTTP server that makes one recv() and one send()
 * a request can spend less. Its figure beside nginx's and ours says how much is left to win.
 *
 * usage: bench_floor PORT (on 127.0.0.1). Leaves out everything else.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 302 Found\r\n"
			     "Date: Sat, 31 Jan 2026 12:00:00 GMT\r\n"
			     "Location: https://example.com/some/long/path/to/a/page?with=query\r\n"
			     "RateLimit-Policy: \"per-client\";q=10;w=60\r\n"
			     "RateLimit: \"per-client\";r=9;t=60\r\n"
			     "Content-Length: 0\r\n\r\n";

static int open_listener(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons((uint16_t)port),
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1024) != 0) {
		perror("bench_floor");
		exit(1);
	}
	return fd;
}

static void accept_one(int epoll, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.fd = fd };

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void answer_one(int fd)
{
	char buffer[8192];
	ssize_t got = recv(fd, buffer, sizeof buffer, 0);

	if (got == 0)
		close(fd);
	else if (got > 0 && send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0)
		close(fd);
}

int main(int argc, char **argv)
{
	int listener = open_listener(argc > 1 ? atoi(argv[1]) : 0), epoll = epoll_create1(0);
	struct epoll_event events[128], event = { .events = EPOLLIN, .data.fd = listener };

	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(epoll, events, 128, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_one(epoll, listener);
			else
				answer_one(events[i].data.fd);
		}
	}
}
