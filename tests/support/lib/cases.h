/*
 * tests/support/lib/cases.h - what the rows of smtp_cases share: TAP lines, files, a relay.
 *
 * A row says by path (and, for JSON, by what stands in it) whether a file is of its form, and runs
 * it. A new form is a file here and a row in tests/support/smtp_cases.c.
 */
#ifndef GAPURA_TEST_CASES_H
#define GAPURA_TEST_CASES_H

#include <jansson.h>

#include "core/buf.h"
#include "core/str.h"

/* TAP: one line a case, numbered over all files. */
void cases_ok(bool good, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cases_skip(const char *reason, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cases_note(const char *fmt, ...) PRINTF_LIKE(1, 2); /* a "#" line */
int cases_done(void);                                    /* plan line; the exit status */

bool cases_read(const char *path, struct buf *ret);           /* whole file, at most 64 MB */
struct str cases_text(const json_t *object, const char *key); /* .p NULL if there is none */
ssize_t cases_hex(const json_t *object, const char *key, char *dst, size_t cap);

/* JSON suites: each takes the parsed array. */
void cases_isemail(const char *path, const json_t *all);
void cases_eai(const char *path, const json_t *all);
void cases_smuggling(const char *path, const json_t *all);
void cases_proxy(const char *path, const json_t *all);

void cases_robin(const char *path);   /* a JSON5 dialogue */
void cases_message(const char *path); /* a raw message, through the engine byte by byte */
void cases_seed(const char *path);    /* a fuzz seed: surviving it is the test */

/* JSON5 to JSON: comments, bare and single-quoted keys, trailing commas, line continuations. */
void cases_json5(struct str in, struct buf *out);

/* Content goes out through the real client into another real server. NULL if exactly one message
 * with exactly that content arrived and the wire held one CRLF.CRLF; else what was wrong. */
const char *cases_relay(struct str content, bool chunking);

#endif
