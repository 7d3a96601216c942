/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c: the text of a file as a tree of nodes that know their lines. libyaml does it; here its complaints are put
 * into words that help.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/reader.h"

void reader_report(struct reader *reader, size_t line, const char *key, const char *format, ...)
{
	struct config_errors *errors = reader->errors;
	size_t key_len = strlen(key);
	char place[32] = " ", why[640], *text;
	va_list args;

	if (errors->n == CONFIG_ERRORS_MAX) {
		errors->more = true;
		return;
	}
	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	if (key_len > 0 && key[key_len - 1] == '.')
		key_len--;
	if (line > 0)
		snprintf(place, sizeof place, "%zu: ", line);
	text = errors->list[errors->n++].text;
	snprintf(text, sizeof errors->list[0].text, "%.150s:%s%.*s%s%s", reader->name, place, (int)key_len, key,
	         key_len > 0 ? ": " : "", why);
	/* A file's name or text must not forge a second line. */
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

static size_t count_lines(const char *text, size_t len)
{
	size_t lines = 1;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	return lines;
}

/* What libyaml's words leave out: the two mistakes that everybody makes once. */
static const char *cure_for(const struct reader *reader, size_t line)
{
	const char *at = reader->text, *end = reader->text + reader->len, *stop;

	for (; line > 1 && at < end; line--) {
		stop = memchr(at, '\n', (size_t)(end - at));
		at = stop != NULL ? stop + 1 : end;
	}
	stop = memchr(at, '\n', (size_t)(end - at));
	stop = stop != NULL ? stop : end;
	for (const char *c = at; c < stop && (*c == ' ' || *c == '\t'); c++) {
		if (*c == '\t')
			return "; indent with spaces, not with tabs";
	}
	while (stop > at && (stop[-1] == ' ' || stop[-1] == '\r'))
		stop--;
	if (stop > at && stop[-1] == ':' && memchr(at, ':', (size_t)(stop - at - 1)) != NULL)
		return "; a value that ends in a colon needs quotes: \"memory:\"";
	return "";
}

static void report_syntax(struct reader *reader, const yaml_parser_t *parser)
{
	const char *problem = parser->problem != NULL ? parser->problem : "out of memory";
	size_t line = parser->problem_mark.line + 1;

	switch (parser->error) {
	case YAML_READER_ERROR:
		line = count_lines(reader->text,
		                   parser->problem_offset < reader->len ? parser->problem_offset : reader->len);
		reader_report(reader, line, "", "%s; the file must be text in UTF-8", problem);
		break;
	case YAML_MEMORY_ERROR:
		reader_report(reader, 0, "", "out of memory");
		break;
	default:
		reader_report(reader, line, "", "%s%s%s", problem, parser->context != NULL ? " " : "",
		              parser->context != NULL ? parser->context : "");
		strncat(reader->errors->list[reader->errors->n - 1].text, cure_for(reader, line),
		        sizeof reader->errors->list[0].text - strlen(reader->errors->list[reader->errors->n - 1].text) -
		                1);
	}
}

static void refuse_second_document(struct reader *reader, yaml_parser_t *parser)
{
	yaml_document_t second;

	if (!yaml_parser_load(parser, &second)) {
		report_syntax(reader, parser);
		return;
	}
	if (yaml_document_get_root_node(&second) != NULL)
		reader_report(reader, second.start_mark.line + 1, "",
		              "a second document begins here; a file holds one");
	yaml_document_delete(&second);
}

int config_load_text(struct config *config, const char *name, const char *text, size_t len,
                     struct config_errors *errors)
{
	struct reader reader = { .name = name, .text = text, .len = len, .config = config, .errors = errors };
	const char *nul = len > 0 ? memchr(text, '\0', len) : NULL;
	yaml_parser_t parser;

	errors->n = 0;
	errors->more = false;
	if (nul != NULL) {
		reader_report(&reader, count_lines(text, (size_t)(nul - text)), "",
		              "holds a NUL byte; the file must be text in UTF-8");
		return -1;
	}
	if (!yaml_parser_initialize(&parser)) {
		reader_report(&reader, 0, "", "out of memory");
		return -1;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (yaml_parser_load(&parser, &reader.document)) {
		reader_walk(&reader);
		if (!errors->more)
			refuse_second_document(&reader, &parser);
		yaml_document_delete(&reader.document);
	} else {
		report_syntax(&reader, &parser);
	}
	yaml_parser_delete(&parser);
	return errors->n == 0 ? 0 : -1;
}
