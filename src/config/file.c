/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c: gets the bytes of a configuration file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/reader.h"

/* Reads up to `room` bytes. @return how many, or -1 with errno. */
static ssize_t read_all(int fd, char *to, size_t room)
{
	size_t used = 0;

	while (used < room) {
		ssize_t n = read(fd, to + used, room - used);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -1;
		used += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)used;
}

int config_load_file_all(struct config *config, const char *path, struct config_errors *errors)
{
	struct reader reader = { .name = path, .errors = errors };
	int fd = open(path, O_RDONLY | O_CLOEXEC), result = -1;
	char *text = fd >= 0 ? malloc(CONFIG_FILE_MAX + 1) : NULL;
	ssize_t len = text != NULL ? read_all(fd, text, CONFIG_FILE_MAX + 1) : -1;

	errors->n = 0;
	errors->more = false;
	if (len < 0)
		reader_report(&reader, 0, "", "can't be read: %s", strerror(errno));
	else if (len > CONFIG_FILE_MAX)
		reader_report(&reader, 0, "", "is larger than 1 MiB: not a configuration file");
	else
		result = config_load_text(config, path, text, (size_t)len, errors);
	free(text);
	if (fd >= 0)
		close(fd);
	return result;
}

int config_load_file(struct config *config, const char *path, struct config_error *error)
{
	struct config_errors *errors = malloc(sizeof *errors);
	int result;

	if (errors == NULL) {
		snprintf(error->text, sizeof error->text, "%.150s: out of memory", path);
		return -1;
	}
	result = config_load_file_all(config, path, errors);
	if (result != 0)
		*error = errors->list[0];
	free(errors);
	return result;
}
