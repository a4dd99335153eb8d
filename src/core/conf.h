/*
 * core/conf.h - settings: tables of rows (core/conf_row.h) become a parser, a checker and a manual
 * page.
 *
 * Grammar (docs/configuration.md is generated from the rows):
 *
 *     hostname = mx.example.com            # a row of the main block
 *     listen smtp {                        # block, label
 *         address = 0.0.0.0:25, [::]:25    # lists are separated by commas
 *         kind    = inbound
 *     }
 *     include "conf.d/[0-9]*.conf"         # relative to the including file, sorted
 *
 * A value ends at the end of its line; "quoted text" may hold commas, # and \" \\ \n. A list is
 * empty when its value is "" (or none, where that is not a word of its own). An include stands
 * outside of blocks, and its files are parsed where it stands. The rows of an unlabelled block may
 * come from several places. Every error of all files is gathered: file:line, what is wrong, what
 * would be right, the nearest known name.
 *
 * One message's way: roles read the files into text (conf_load_files or a bundle handed over by
 * the supervisor), conf_parse() fills typed structs in one arena, and each room finds its sections
 * with conf_first/conf_next. The result is immutable: a snapshot that is passed in, never fetched.
 */
#ifndef GAPURA_CORE_CONF_H
#define GAPURA_CORE_CONF_H

#include "core/addr.h"
#include "core/arena.h"
#include "core/buf.h"
#include "core/conf_row.h"

struct conf_section {
    const struct conf_block *block;
    struct str label;
    void *data; /* the block's struct */
    struct str file;
    unsigned line;
    bool flawed;               /* a draft's: something in it was wrong */
    uint64_t set;              /* bit i: rows[i] was given in the file (first 64 rows) */
    unsigned *lines;           /* of each row, 0: not given */
    struct str *files;         /* of each row; NULL in a labelled block: all stands in `file` */
    struct conf_section *next; /* in order of appearance */
};

struct conf {
    struct arena arena;
    struct conf_section *sections;
    uint64_t generation; /* given by the caller of conf_parse */
    uint32_t digest;     /* CRC-32C of all text, for `explain` */
};

struct conf_place {
    struct str file;
    unsigned line;
};
struct conf_error {
    struct str file;
    unsigned line;
    struct str text;
};
struct conf_errors {
    struct arena arena;
    struct conf_error *items;
    size_t n, cap;
};

/* One file's text; several make a settings tree (includes already read). */
struct conf_text {
    struct str path;
    struct str text;
};
struct conf_texts {
    struct arena arena;
    struct conf_text items[256];
    size_t n;
};

/* Reads `path` and all that it includes. Failures (missing file, include ring, over 256 files or
 * 16 MB) are added to errs with file and line of the include. items[0] is `path` itself. */
void conf_load(struct conf_texts *ret, const char *path, struct conf_errors *errs);
void conf_texts_done(struct conf_texts *t);

/* Parses texts against blocks. On any error *ret is NULL and errs tells all of them. Sections of
 * unlabelled blocks exist always (defaults), even when no file names them. */
void conf_parse(struct conf **ret, const struct conf_texts *texts,
                const struct conf_block *const *blocks, size_t nblocks, uint64_t generation,
                struct conf_errors *errs);
/* As conf_parse, but gives what could be read in spite of errors: only to look on for more of them,
 * never to run with. NULL without memory. */
void conf_draft(struct conf **ret, const struct conf_texts *texts,
                const struct conf_block *const *blocks, size_t nblocks, uint64_t generation,
                struct conf_errors *errs);
void conf_free(struct conf *c); /* NULL is fine */

/* First section of that block name or NULL; _next gives the following one of the same name. */
const struct conf_section *conf_first(const struct conf *c, const char *block);
const struct conf_section *conf_next(const struct conf_section *s);
const struct conf_section *conf_find(const struct conf *c, const char *block, struct str label);
/* The struct of an unlabelled block: always there. */
const void *conf_get(const struct conf *c, const char *block);

void conf_fail(struct conf_errors *errs, struct str file, unsigned line, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Where the row was given, else where its block begins. */
struct conf_place conf_row_place(const struct conf_section *s, const char *row);
/* An error at that place. Says nothing if that line has an error already, or if something else is
 * wrong in the block and the row does not stand there: it may be what was misspelled. */
void conf_fail_row(struct conf_errors *errs, const struct conf_section *s, const char *row,
                   const char *fmt, ...) PRINTF_LIKE(4, 5);
/* All of them, sorted by the lines of each file: FILE:LINE: WORD TEXT, or an object a line, for
 * editors and programs, with "note":true if that is what they are. */
void conf_errors_text(struct conf_errors *errs, const char *word, struct buf *out);
void conf_errors_json(struct conf_errors *errs, bool notes, struct buf *out);
void conf_errors_done(struct conf_errors *errs);

/* The candidate that a slip of the fingers turns into `text`, or an empty view. */
struct str conf_nearest(struct str text, const char *(*name)(const void *ctx, size_t i),
                        const void *ctx, size_t n);
/* "; did you mean `X`?" or "". */
const char *conf_hint(struct str near, char dst[96]);

/* Prints the rows as the settings part of gapura.conf(5) (mdoc) or as docs/configuration.md. */
void conf_print_man(struct buf *out, const struct conf_block *const *blocks, size_t nblocks);
void conf_print_markdown(struct buf *out, const struct conf_block *const *blocks, size_t nblocks);

#endif
