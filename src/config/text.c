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
	const char *problem = parser->problem;
	size_t line = parser->problem_mark.line + 1;
	char context[160] = "";

	/* libyaml leaves a failure without words when memory is short. */
	switch (problem != NULL ? parser->error : YAML_MEMORY_ERROR) {
	case YAML_READER_ERROR:
		line = count_lines(reader->text,
		                   parser->problem_offset < reader->len ? parser->problem_offset : reader->len);
		reader_report(reader, line, "", "%s; the file must be text in UTF-8", problem);
		break;
	case YAML_MEMORY_ERROR:
		reader_report(reader, 0, "", "out of memory");
		break;
	default:
		if (parser->context != NULL && parser->context_mark.line + 1 < line)
			snprintf(context, sizeof context, " %s that begins in line %zu", parser->context,
			         parser->context_mark.line + 1);
		else if (parser->context != NULL)
			snprintf(context, sizeof context, " %s", parser->context);
		reader_report(reader, line, "", "%s%s%s", problem, context, cure_for(reader, line));
	}
}

/* libyaml's work grows with the square of nesting, anchors and directives. A configuration has little of each; a
 * file with more is refused before it can keep us busy. */
#define DEPTH_MAX 8
#define ANCHORS_MAX 64
#define EVENTS_MAX 20000
#define DIRECTIVES_MAX 8

struct shape {
	unsigned depth, anchors, events, documents;
};

/* Counts one event. @return what there is too much of, or NULL. */
static const char *count_event(struct shape *shape, const yaml_event_t *event)
{
	const void *anchor = NULL;

	shape->events++;
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		shape->documents++;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		shape->depth++;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		shape->depth++;
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		shape->depth--;
		break;
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		break;
	default:
		break;
	}
	shape->anchors += anchor != NULL;
	return shape->documents > 1           ? "a second document begins here; a file holds one"
	       : shape->depth > DEPTH_MAX     ? "is nested more deeply than any setting"
	       : shape->anchors > ANCHORS_MAX ? "has too many anchors for a configuration"
	       : shape->events > EVENTS_MAX   ? "has too many entries for a configuration"
	                                      : NULL;
}

/* Reads the text once for its syntax and its shape. */
static void check_shape(struct reader *reader, yaml_parser_t *parser)
{
	struct shape shape = { 0 };
	bool more = true;

	while (more) {
		yaml_event_t event;
		const char *excess;

		if (!yaml_parser_parse(parser, &event)) {
			report_syntax(reader, parser);
			return;
		}
		excess = count_event(&shape, &event);
		if (excess != NULL)
			reader_report(reader, event.start_mark.line + 1, "", "%s", excess);
		more = excess == NULL && event.type != YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
}

/* Looks at the bytes alone. @return false after a report. */
static bool check_bytes(struct reader *reader)
{
	const char *nul = reader->len > 0 ? memchr(reader->text, '\0', reader->len) : NULL;
	size_t directives = 0;

	if (nul != NULL) {
		reader_report(reader, count_lines(reader->text, (size_t)(nul - reader->text)), "",
		              "holds a NUL byte; the file must be text in UTF-8");
		return false;
	}
	for (size_t i = 0; i < reader->len; i++)
		directives += reader->text[i] == '%' && (i == 0 || reader->text[i - 1] == '\n');
	if (directives > DIRECTIVES_MAX)
		reader_report(reader, 0, "", "has too many directives (lines that begin with %%)");
	return directives <= DIRECTIVES_MAX;
}

/* Runs `step` with a parser at the beginning of the text. */
static void with_parser(struct reader *reader, void (*step)(struct reader *reader, yaml_parser_t *parser))
{
	yaml_parser_t parser;

	if (!yaml_parser_initialize(&parser)) {
		reader_report(reader, 0, "", "out of memory");
		return;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)reader->text, reader->len);
	step(reader, &parser);
	yaml_parser_delete(&parser);
}

static void read_tree(struct reader *reader, yaml_parser_t *parser)
{
	if (!yaml_parser_load(parser, &reader->document)) {
		report_syntax(reader, parser);
		return;
	}
	reader_walk(reader);
	yaml_document_delete(&reader->document);
}

int config_load_text(struct config *config, const char *name, const char *text, size_t len,
                     struct config_errors *errors)
{
	struct reader reader = { .name = name, .text = text, .len = len, .config = config, .errors = errors };

	errors->n = 0;
	errors->more = false;
	if (check_bytes(&reader))
		with_parser(&reader, check_shape);
	if (errors->n == 0)
		with_parser(&reader, read_tree);
	return errors->n == 0 ? 0 : -1;
}
