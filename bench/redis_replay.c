/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_replay.c: plays prepared commands to a Redis on loopback over several connections, and tells what they cost it.
 *
 * usage: bench_redis_replay PORT PID CONNECTIONS PASSES FILE
 *
 * The file is a sequence of batches: its length and the number of replies to it (32 bits each, of this machine), then
 * the commands. A batch is one write(); each connection has one under way, so the server finds work whenever it looks,
 * and what its sleeping and waking cost is not measured. The file is played PASSES times.
 *
 * CPU is that of all threads of process PID, from /proc/PID/task/TID/schedstat, in ns, and beside it the ticks of
 * /proc/PID/stat. Printed is one line of JSON. What is a decision is told from its form: five or six integers, or 29
 * bytes of a string (docs/redis-module.md). An error ends the program.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS_MAX = 64,
	INPUT_LEN = 1 << 20,
	ANSWER_LEN = 29,
	DEPTH_MAX = 4,
};

struct connection {
	int fd;
	char *input;
	size_t len;        /* bytes in it */
	size_t at;         /* of these, parsed */
	uint32_t awaiting; /* replies */
};

struct batch {
	const char *bytes;
	uint32_t len;
	uint32_t replies;
};

struct tally {
	uint64_t replies;
	uint64_t decided;
	uint64_t allowed;
};

struct cost {
	uint64_t cpu_ns;
	uint64_t stat_ticks;
	uint64_t wall_ns;
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fputs("bench_redis_replay: ", stderr);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t thread_ns(const char *pid, const char *tid)
{
	char path[96];
	uint64_t ns = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%.20s/task/%.20s/schedstat", pid, tid);
	file = fopen(path, "r");
	if (file == NULL)
		return 0; /* a thread that has ended meanwhile */
	if (fscanf(file, "%" SCNu64, &ns) != 1)
		fail("%s has no time", path);
	fclose(file);
	return ns;
}

static uint64_t process_ns(const char *pid)
{
	char path[64];
	uint64_t ns = 0;
	DIR *folder;

	snprintf(path, sizeof path, "/proc/%.20s/task", pid);
	folder = opendir(path);
	if (folder == NULL)
		fail("no process %s", pid);
	for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
		if (entry->d_name[0] != '.')
			ns += thread_ns(pid, entry->d_name);
	closedir(folder);
	return ns;
}

static uint64_t process_ticks(const char *pid)
{
	char path[64], line[1024];
	unsigned long user = 0, system = 0;
	const char *rest;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	file = fopen(path, "r");
	if (file == NULL || fgets(line, sizeof line, file) == NULL)
		fail("can't read %s", path);
	fclose(file);
	rest = strrchr(line, ')');
	if (rest == NULL ||
	    sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		fail("%s is not understood", path);
	return user + system;
}

static struct cost cost_now(const char *pid)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (struct cost){ .cpu_ns = process_ns(pid),
		              .stat_ticks = process_ticks(pid),
		              .wall_ns = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec };
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		fail("can't connect to port %u: %s", port, strerror(errno));
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
		fail("TCP_NODELAY: %s", strerror(errno));
	return fd;
}

static void send_batch(struct connection *connection, const struct batch *batch)
{
	for (size_t sent = 0; sent < batch->len;) {
		ssize_t n = write(connection->fd, batch->bytes + sent, batch->len - sent);

		if (n < 0 && errno != EINTR)
			fail("write: %s", strerror(errno));
		if (n > 0)
			sent += (size_t)n;
	}
	connection->awaiting = batch->replies;
}

static void receive(struct connection *connection)
{
	ssize_t n;

	if (connection->at > 0) {
		memmove(connection->input, connection->input + connection->at, connection->len - connection->at);
		connection->len -= connection->at;
		connection->at = 0;
	}
	if (connection->len == INPUT_LEN)
		fail("a reply of more than %d bytes", INPUT_LEN);
	do
		n = read(connection->fd, connection->input + connection->len, INPUT_LEN - connection->len);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		fail("read: %s", n < 0 ? strerror(errno) : "the server has closed the connection");
	connection->len += (size_t)n;
}

static const char *parse(const char *at, const char *end, unsigned depth, struct tally *tally);

static const char *parse_array(const char *at, const char *end, long n, unsigned depth, struct tally *tally)
{
	if (depth == DEPTH_MAX)
		fail("arrays in arrays in arrays");
	if (n >= 5 && at < end && at[0] == ':') {
		if (at + 1 == end)
			return NULL;
		tally->decided++;
		tally->allowed += at[1] == '1';
	}
	for (long i = 0; i < n && at != NULL; i++)
		at = parse(at, end, depth + 1, tally);
	return at;
}

static const char *parse_string(const char *at, const char *end, long len, struct tally *tally)
{
	if (len < 0)
		return at;
	if (end - at < len + 2)
		return NULL;
	if (len % ANSWER_LEN == 0) {
		for (long i = 0; i < len; i += ANSWER_LEN)
			tally->allowed += at[i] & 1;
		tally->decided += (uint64_t)len / ANSWER_LEN;
	}
	return at + len + 2;
}

/* @return where the next reply begins, or NULL when this one is not whole. */
static const char *parse(const char *at, const char *end, unsigned depth, struct tally *tally)
{
	const char *line_end = memchr(at, '\n', (size_t)(end - at));

	if (line_end == NULL)
		return NULL;
	switch (at[0]) {
	case ':':
	case '+':
		return line_end + 1;
	case '$':
		return parse_string(line_end + 1, end, strtol(at + 1, NULL, 10), tally);
	case '*':
		return parse_array(line_end + 1, end, strtol(at + 1, NULL, 10), depth, tally);
	default:
		fail("the server answers %.*s", (int)(line_end - at), at);
	}
}

/* Reads until all replies to the batch under way have come. */
static void finish_batch(struct connection *connection, struct tally *tally)
{
	while (connection->awaiting > 0) {
		struct tally with = *tally;
		const char *at = connection->input + connection->at;
		const char *next = parse(at, connection->input + connection->len, 0, &with);

		if (next == NULL) {
			receive(connection);
			continue;
		}
		*tally = with;
		tally->replies++;
		connection->at += (size_t)(next - at);
		connection->awaiting--;
	}
}

static char *read_whole(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	char *bytes;
	long size;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET) != 0)
		fail("can't read %s", path);
	bytes = malloc((size_t)size + 1);
	if (bytes == NULL || fread(bytes, 1, (size_t)size, file) != (size_t)size)
		fail("can't read %s", path);
	fclose(file);
	*len = (size_t)size;
	return bytes;
}

static struct batch *split(const char *bytes, size_t len, size_t *count)
{
	struct batch *batches = NULL;
	size_t n = 0, room = 0;

	for (size_t at = 0; at < len; n++) {
		uint32_t head[2];

		if (n == room) {
			room = room ? 2 * room : 1024;
			batches = realloc(batches, room * sizeof *batches);
			if (batches == NULL)
				fail("out of memory");
		}
		if (len - at < sizeof head)
			fail("the file ends within a batch");
		memcpy(head, bytes + at, sizeof head);
		at += sizeof head;
		if (len - at < head[0])
			fail("the file ends within a batch");
		batches[n] = (struct batch){ .bytes = bytes + at, .len = head[0], .replies = head[1] };
		at += head[0];
	}
	*count = n;
	return batches;
}

static void play(struct connection *connections, unsigned n, const struct batch *batches, size_t count, unsigned passes,
                 struct tally *tally)
{
	unsigned turn = 0;

	for (unsigned pass = 0; pass < passes; pass++) {
		for (size_t i = 0; i < count; i++) {
			finish_batch(&connections[turn], tally);
			send_batch(&connections[turn], &batches[i]);
			turn = (turn + 1) % n;
		}
	}
	for (unsigned i = 0; i < n; i++)
		finish_batch(&connections[(turn + i) % n], tally);
}

int main(int argc, char **argv)
{
	struct connection connections[CONNECTIONS_MAX] = { 0 };
	struct tally tally = { 0 };
	struct batch *batches;
	struct cost before, after;
	unsigned n, passes;
	size_t len, count;
	char *bytes;

	if (argc != 6)
		fail("usage: bench_redis_replay PORT PID CONNECTIONS PASSES FILE");
	n = (unsigned)strtoul(argv[3], NULL, 10);
	passes = (unsigned)strtoul(argv[4], NULL, 10);
	if (n < 1 || n > CONNECTIONS_MAX)
		fail("CONNECTIONS must be from 1 to %d", CONNECTIONS_MAX);
	bytes = read_whole(argv[5], &len);
	batches = split(bytes, len, &count);
	for (unsigned i = 0; i < n; i++) {
		connections[i].fd = connect_to((uint16_t)strtoul(argv[1], NULL, 10));
		connections[i].input = malloc(INPUT_LEN);
		if (connections[i].input == NULL)
			fail("out of memory");
	}
	before = cost_now(argv[2]);
	play(connections, n, batches, count, passes, &tally);
	after = cost_now(argv[2]);
	printf("{\"cpu_ns\": %" PRIu64 ", \"stat_ticks\": %" PRIu64 ", \"wall_ns\": %" PRIu64 ", \"replies\": %" PRIu64
	       ", \"decided\": %" PRIu64 ", \"allowed\": %" PRIu64 "}\n",
	       after.cpu_ns - before.cpu_ns, after.stat_ticks - before.stat_ticks, after.wall_ns - before.wall_ns,
	       tally.replies, tally.decided, tally.allowed);
	for (unsigned i = 0; i < n; i++) {
		close(connections[i].fd);
		free(connections[i].input);
	}
	free(batches);
	free(bytes);
	return 0;
}
