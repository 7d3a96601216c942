/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c: puts the nodes of a YAML document into the configuration, by the table.
 *
 * The table has three levels, so the walk ends whatever the document looks like: an alias is one more way to a node,
 * and a node that contains itself is somewhere of the wrong kind.
 */
#include <stdio.h>
#include <string.h>

#include "config/reader.h"
#include "config/schema.h"

#define PATH_SHOWN_MAX 160

/* The settings that may stand in one mapping. */
struct scope {
	const struct schema_key *keys;
	size_t n;
	void *base;
	const char *section; /* "" or "server" */
	const char *shown;   /* what stands before a key in messages: "", "server.", "limits[0]." */
	uint64_t *seen;      /* bit by bit the keys that were set */
};

static size_t line_of(const yaml_node_t *node)
{
	return node->start_mark.line + 1;
}

static const char *kind_of(const yaml_node_t *node)
{
	switch (node->type) {
	case YAML_SEQUENCE_NODE:
		return "a list";
	case YAML_MAPPING_NODE:
		return "a mapping";
	default:
		return "a text";
	}
}

/* Nothing after the colon, or YAML's spellings of it. */
static bool is_null(const yaml_node_t *node)
{
	const char *value;

	if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	value = (const char *)node->data.scalar.value;
	return *value == '\0' || strcmp(value, "~") == 0 || strcmp(value, "null") == 0;
}

/* The text of a scalar, or NULL after a report. */
static const char *text_of(struct reader *reader, const yaml_node_t *node, const char *key, const char *allowed)
{
	if (node->type != YAML_SCALAR_NODE) {
		reader_report(reader, line_of(node), key, "is %s; allowed: %s", kind_of(node), allowed);
		return NULL;
	}
	if (memchr(node->data.scalar.value, '\0', node->data.scalar.length) != NULL) {
		reader_report(reader, line_of(node), key, "holds a NUL byte");
		return NULL;
	}
	return (const char *)node->data.scalar.value;
}

/* `!tag` asks for a reading that we do not know. */
static bool tag_ok(struct reader *reader, const yaml_node_t *node, const char *key)
{
	char quoted[WHY_QUOTED_MAX];

	if (node->tag == NULL || strncmp((const char *)node->tag, "tag:yaml.org,2002:", 18) == 0)
		return true;
	reader_report(reader, line_of(node), key, "has the tag %s; tags are not supported",
	              why_quote((const char *)node->tag, quoted));
	return false;
}

static const char *last_part(const char *path)
{
	const char *dot = strchr(path, '.');

	return dot != NULL ? dot + 1 : path;
}

static bool in_section(const struct schema_key *key, const char *section)
{
	size_t len = strlen(section);

	if (len == 0)
		return strchr(key->path, '.') == NULL;
	return strncmp(key->path, section, len) == 0 && key->path[len] == '.';
}

/* Collects what may stand in this mapping: its keys and, at the top, the sections. */
static size_t names_in(const struct scope *scope, char sections[][32], const char **names, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < scope->n && n < room; i++) {
		const char *path = scope->keys[i].path, *dot = strchr(path, '.');

		if (in_section(&scope->keys[i], scope->section)) {
			names[n++] = last_part(path);
		} else if (*scope->section == '\0' && dot != NULL) {
			snprintf(sections[n], 32, "%.*s", (int)(dot - path), path);
			names[n] = sections[n];
			n++;
		}
	}
	return n;
}

static void report_unknown(struct reader *reader, const struct scope *scope, size_t line, const char *name)
{
	char shown[PATH_SHOWN_MAX], quoted[WHY_QUOTED_MAX], sections[64][32];
	const char *names[64], *nearest;

	why_quote(name, quoted);
	snprintf(shown, sizeof shown, "%s%.*s", scope->shown, (int)strlen(quoted) - 2, quoted + 1);
	if (strcmp(name, "<<") == 0) {
		reader_report(reader, line, shown, "merge keys are not supported; write the settings out");
		return;
	}
	/* Right name, wrong place. */
	for (size_t i = 0; i < schema_keys_n; i++) {
		if (strcmp(last_part(schema_keys[i].path), name) == 0) {
			reader_report(reader, line, shown, "unknown key; did you mean \"%s\"?", schema_keys[i].path);
			return;
		}
	}
	nearest = why_nearest(name, names, names_in(scope, sections, names, 64));
	if (nearest != NULL)
		reader_report(reader, line, shown, "unknown key; did you mean \"%s\"?", nearest);
	else
		reader_report(reader, line, shown, "unknown key");
}

static void read_mapping(struct reader *reader, const struct scope *scope, const yaml_node_t *node);

static void read_list(struct reader *reader, const struct scope *scope, const struct schema_key *key, const char *shown,
                      const yaml_node_t *node)
{
	struct why why;
	size_t index = 0;

	schema_list_clear(key, scope->base);
	for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		yaml_node_t *child = yaml_document_get_node(&reader->document, *item);
		char shown_item[PATH_SHOWN_MAX + 24];
		const char *text;

		snprintf(shown_item, sizeof shown_item, "%s[%zu]", shown, index++);
		text = text_of(reader, child, shown_item, "one text an item");
		if (text != NULL && tag_ok(reader, child, shown_item) &&
		    schema_list_add(key, scope->base, text, &why) != 0)
			reader_report(reader, line_of(child), shown_item, "%s", why.text);
		if (reader->errors->more)
			return;
	}
}

/* Refuses two limits of one name, which would share their states. */
static bool name_is_new(struct reader *reader, const struct config_limit *limit, size_t index, size_t line)
{
	for (size_t i = 0; i < index; i++) {
		char shown[PATH_SHOWN_MAX];

		if (strcmp(reader->config->limits[i].name, limit->name) != 0)
			continue;
		snprintf(shown, sizeof shown, "limits[%zu].name", index);
		reader_report(reader, line, shown, "\"%s\" is the name of limits[%zu] already; each needs its own",
		              limit->name, i);
		return false;
	}
	return true;
}

static void read_limit(struct reader *reader, const yaml_node_t *node, size_t index)
{
	struct config_limit *limit = &reader->config->limits[index];
	size_t before = reader->errors->n;
	char shown[PATH_SHOWN_MAX];
	struct schema_limit fields;
	uint64_t seen = 0;
	struct scope scope = { schema_limit_keys, schema_limit_keys_n, &fields, "", shown, &seen };
	struct why why;

	schema_limit_defaults(&fields);
	snprintf(shown, sizeof shown, "limits[%zu].", index);
	if (node->type != YAML_MAPPING_NODE) {
		reader_report(reader, line_of(node), shown, "is %s; a mapping with name, limit and window belongs here",
		              kind_of(node));
		return;
	}
	read_mapping(reader, &scope, node);
	for (size_t i = 0; i < schema_limit_keys_n; i++) {
		if (schema_limit_keys[i].initial != NULL || (seen >> i & 1) != 0)
			continue;
		reader_report(reader, line_of(node), shown, "has no %s", schema_limit_keys[i].path);
	}
	if (reader->errors->n > before || reader->errors->more)
		return;
	if (schema_limit_make(&fields, limit, &why) != 0)
		reader_report(reader, line_of(node), shown, "%s", why.text);
	else
		name_is_new(reader, limit, index, line_of(node));
}

static void read_limits(struct reader *reader, const yaml_node_t *node)
{
	size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);

	if (n > CONFIG_LIMITS_MAX) {
		reader_report(reader, line_of(node), "limits", "has %zu items; at most %d are allowed", n,
		              CONFIG_LIMITS_MAX);
		return;
	}
	memset(reader->config->limits, 0, sizeof reader->config->limits);
	reader->config->limits_n = n;
	for (size_t i = 0; i < n; i++)
		read_limit(reader, yaml_document_get_node(&reader->document, node->data.sequence.items.start[i]), i);
}

/* `by` may name one subject: by: [client-ip]. @return the only item of a list, or the node itself. */
static const yaml_node_t *only_item(struct reader *reader, const yaml_node_t *node)
{
	if (node->type != YAML_SEQUENCE_NODE || node->data.sequence.items.top - node->data.sequence.items.start != 1)
		return node;
	return yaml_document_get_node(&reader->document, *node->data.sequence.items.start);
}

static void read_value(struct reader *reader, const struct scope *scope, const struct schema_key *key,
                       const char *shown, size_t key_line, const yaml_node_t *node)
{
	char allowed[192];
	const char *text;
	struct why why;

	schema_allowed(key, allowed, sizeof allowed);
	if (is_null(node)) {
		reader_report(reader, key_line, shown, "has no value; allowed: %s", allowed);
		return;
	}
	if (node->type != YAML_SCALAR_NODE && !tag_ok(reader, node, shown))
		return;
	if (node->type == YAML_SEQUENCE_NODE && key->type == SCHEMA_LIMITS) {
		read_limits(reader, node);
	} else if (node->type == YAML_SEQUENCE_NODE && schema_is_list(key)) {
		read_list(reader, scope, key, shown, node);
	} else if (schema_is_list(key)) {
		reader_report(reader, line_of(node), shown, "is %s; a list belongs here: [a, b]", kind_of(node));
	} else {
		if (key->type == SCHEMA_SUBJECT) {
			const yaml_node_t *item = only_item(reader, node);

			if (item == node && node->type == YAML_SEQUENCE_NODE) {
				reader_report(reader, line_of(node), shown, "has %td items; one belongs here: %s",
				              node->data.sequence.items.top - node->data.sequence.items.start, allowed);
				return;
			}
			node = item;
		}
		text = text_of(reader, node, shown, allowed);
		if (text != NULL && tag_ok(reader, node, shown) && schema_set(key, scope->base, text, &why) != 0)
			reader_report(reader, line_of(node), shown, "%s", why.text);
	}
}

/* One `key: value` of a mapping. */
static void read_pair(struct reader *reader, const struct scope *scope, const yaml_node_t *key_node,
                      const yaml_node_t *value, uint64_t *sections_seen)
{
	char shown[PATH_SHOWN_MAX];
	const char *name;

	snprintf(shown, sizeof shown, "%s(key)", scope->shown);
	name = text_of(reader, key_node, shown, "the name of a setting");
	if (name == NULL || !tag_ok(reader, key_node, shown))
		return;
	for (size_t i = 0; i < scope->n; i++) {
		const struct schema_key *key = &scope->keys[i];
		bool section = *scope->section == '\0' && in_section(key, name);
		uint64_t *seen = section ? sections_seen : scope->seen;

		if (!section && (!in_section(key, scope->section) || strcmp(last_part(key->path), name) != 0))
			continue;
		snprintf(shown, sizeof shown, "%s%s%s", scope->shown, name, section ? "." : "");
		if ((*seen >> i & 1) != 0) {
			reader_report(reader, line_of(key_node), shown, "stands here a second time");
			return;
		}
		*seen |= UINT64_C(1) << i;
		if (!section) {
			read_value(reader, scope, key, shown, line_of(key_node), value);
		} else if (value->type == YAML_MAPPING_NODE) {
			struct scope inner = { scope->keys, scope->n, scope->base, name, shown, scope->seen };

			read_mapping(reader, &inner, value);
		} else if (!is_null(value)) {
			reader_report(reader, line_of(value), shown,
			              "is %s; settings belong here, each on a line of its own, indented",
			              kind_of(value));
		}
		return;
	}
	report_unknown(reader, scope, line_of(key_node), name);
}

static void read_mapping(struct reader *reader, const struct scope *scope, const yaml_node_t *node)
{
	uint64_t sections_seen = 0;

	if (!tag_ok(reader, node, scope->shown))
		return;
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
		read_pair(reader, scope, yaml_document_get_node(&reader->document, pair->key),
		          yaml_document_get_node(&reader->document, pair->value), &sections_seen);
		if (reader->errors->more)
			return;
	}
}

void reader_walk(struct reader *reader)
{
	uint64_t seen = 0;
	struct scope scope = { schema_keys, schema_keys_n, reader->config, "", "", &seen };
	yaml_node_t *root = yaml_document_get_root_node(&reader->document);

	if (root == NULL || !tag_ok(reader, root, "") || is_null(root))
		return; /* nothing but comments */
	if (root->type == YAML_MAPPING_NODE)
		read_mapping(reader, &scope, root);
	else
		reader_report(reader, line_of(root), "",
		              "the top level is %s; settings belong there: listen: 0.0.0.0:5000", kind_of(root));
}
