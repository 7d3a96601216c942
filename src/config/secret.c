/* SPDX-License-Identifier: Apache-2.0 */
#include "config/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ROOM (CONFIG_SECRET_MAX + 2) /* for \r\n behind the longest one, and to see that there is more */

/* @return bytes read, at most `room`, or -1 with errno. No buffer of the C library keeps a copy. */
static ssize_t read_file(const char *path, char *to, size_t room)
{
	FILE *file = fopen(path, "rbe");
	size_t len;
	int err;

	if (file == NULL)
		return -1;
	setvbuf(file, NULL, _IONBF, 0);
	len = fread(to, 1, room, file);
	err = ferror(file) ? errno : 0;
	fclose(file);
	errno = err;
	return err == 0 ? (ssize_t)len : -1;
}

/* @return NULL when `*len` bytes are left of it that are a secret, or the reason why they are none. */
static const char *trim(const char *bytes, ssize_t *len)
{
	if (*len < 0)
		return strerror(errno);
	if (memchr(bytes, '\0', (size_t)*len) != NULL)
		return "holds a NUL byte, which no password can";
	if (*len > 0 && bytes[*len - 1] == '\n')
		*len -= *len > 1 && bytes[*len - 2] == '\r' ? 2 : 1;
	if (*len == 0)
		return "is empty";
	return *len < CONFIG_SECRET_MAX ? NULL : "is too long; a password has at most 511 bytes";
}

int config_read_secret(const char *setting, const char *path, char secret[CONFIG_SECRET_MAX], char *why,
                       size_t why_size)
{
	char bytes[ROOM];
	ssize_t len = read_file(path, bytes, sizeof bytes);
	const char *reason = trim(bytes, &len);

	explicit_bzero(secret, CONFIG_SECRET_MAX);
	if (reason == NULL)
		memcpy(secret, bytes, (size_t)len);
	else
		snprintf(why, why_size, "%s: %s: %s", setting, path, reason);
	explicit_bzero(bytes, sizeof bytes);
	return reason == NULL ? 0 : -1;
}
