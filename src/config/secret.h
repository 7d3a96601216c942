/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.h: a password out of a file, where a service manager or an orchestrator puts it.
 *
 * Leaves out: keeping it from being read by others; that is the file's mode.
 */
#ifndef SLUICE_CONFIG_SECRET_H
#define SLUICE_CONFIG_SECRET_H

#include <stddef.h>

#define CONFIG_SECRET_MAX 512 /* bytes, with a NUL */

/** Reads a secret. One newline at its end (\n or \r\n) is cut off: editors put it there.
 *  @param setting   the name of the setting that names the file, for the message.
 *  @param secret    out: NUL-terminated; emptied on failure.
 *  @param why       out, on failure: names setting, file and reason, nothing of what is in the file.
 *  @return 0, or -1: the file can't be read, is empty, too long or holds a NUL byte. */
int config_read_secret(const char *setting, const char *path, char secret[CONFIG_SECRET_MAX], char *why,
                       size_t why_size);

#endif
