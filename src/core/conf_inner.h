/*
 * core/conf_inner.h - what the conf files share with each other. Others use core/conf.h.
 */
#ifndef GAPURA_CORE_CONF_INNER_H
#define GAPURA_CORE_CONF_INNER_H

#include "core/conf.h"

#define CONF_FILES_MAX  256
#define CONF_BYTES_MAX  (16u << 20) /* of all files */
#define CONF_DEPTH_MAX  16          /* includes within includes */
#define CONF_ARENA_MAX  (96u << 20)
#define CONF_ERRORS_MAX 1000 /* told at once; people fix and try again */

/* Where a value stands and where its parts go. */
struct conf_scope {
    struct arena *arena;
    struct conf_errors *errs;
    struct str file;
    unsigned line;
};

/* One element of a value: `text` without its quotes and escapes. */
struct conf_item {
    struct str text;
    bool quoted;
};
struct conf_items {
    struct conf_item *items;
    size_t n;
};

/* For "%.*s" in messages: long texts are cut. */
#define CONF_SHOWN(s) (int)MIN((s).n, (size_t)80), (s).p ? (s).p : ""

/* Reports at the scope's place and returns ERR_SYNTAX. */
int conf_scope_fail(const struct conf_scope *scope, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Takes a value apart at its commas; the comment behind it is dropped. 0 or a reported error. */
int conf_items_parse(const struct conf_scope *scope, struct str raw, struct conf_items *ret);
/* Parses a value into the row's field. `data` is the block's struct. 0 or a reported error. */
int conf_value_set(const struct conf_scope *scope, const struct conf_row *row, struct str raw,
                   void *data);
/* Names as in rows, blocks and CONF_NAME. */
bool conf_is_name_char(char c);

/* The line cut off the front of *rest, without its end. */
struct str conf_line(struct str *rest);
/* If the line is an include, its value (a reported error gives an empty one). */
bool conf_is_include(struct str line, struct str *ret_value);
/* A path as seen from the directory of `file`. .p is NULL without memory. */
struct str conf_relative(struct arena *arena, struct str file, struct str path);
/* As above for a glob pattern: the directory is taken literally. */
struct str conf_pattern(struct arena *arena, struct str file, struct str pattern);

#endif
