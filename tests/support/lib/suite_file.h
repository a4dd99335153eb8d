/*
 * tests/support/lib/suite_file.h - what the runners of the authentication suites share: files,
 * messages with CRLF line ends, YAML and walking of folders.
 */
#ifndef GAPURA_SUITE_FILE_H
#define GAPURA_SUITE_FILE_H

#include <yaml.h>

#include "core/buf.h"

#define SUITE_FILE_MAX (64u << 20)

/* The whole file; false if it cannot be read. Free with buf_done. */
bool suite_read(const char *path, struct buf *ret);
/* The text with each line end as CRLF. */
void suite_crlf(struct str text, struct buf *ret);
/* Header block (with the blank line) and body of a message. */
struct str suite_header(struct str message, struct str *ret_body);
/* Calls fn for the path, or for each file under it in order. */
void suite_walk(const char *path, void (*fn)(void *ctx, const char *path), void *ctx);
struct str suite_base(const char *path); /* its last part */

/* YAML: the value of a key of a mapping, or NULL; the text of a scalar (empty for others). */
yaml_node_t *suite_yaml_get(yaml_document_t *, yaml_node_t *map, const char *key);
struct str suite_yaml_text(const yaml_node_t *);
/* Calls fn for each document of the file; false with the reason printed if it is no YAML. */
bool suite_yaml_each(const char *path, void (*fn)(void *ctx, yaml_document_t *), void *ctx);

#endif
