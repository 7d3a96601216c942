/* SPDX-License-Identifier: Apache-2.0 */
/*
 * form.h: one field out of a body of type application/x-www-form-urlencoded.
 *
 * Source: WHATWG URL standard, section 5.1.
 */
#ifndef SLUICE_HTTP_FORM_H
#define SLUICE_HTTP_FORM_H

#include <stddef.h>

enum form_result {
	FORM_OK,
	FORM_MISSING,    /* no field of that name */
	FORM_TWICE,      /* more than one */
	FORM_BAD_ESCAPE, /* a % without two hexadecimal digits */
	FORM_NO_ROOM,    /* decoded, it is longer than the room */
};

/**
 * @param name   of the field, NUL-terminated, compared after decoding.
 * @param value  out: the decoded bytes, any byte may be among them; not NUL-terminated.
 * @param len    out: how many.
 */
enum form_result form_field(const char *body, size_t body_len, const char *name, char *value, size_t room, size_t *len);

#endif
