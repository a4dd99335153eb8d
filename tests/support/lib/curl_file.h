/*
 * tests/support/lib/curl_file.h - the sections of a test file of curl's suite, with its %variables
 * put in place.
 */
#ifndef GAPURA_TESTS_CURL_FILE_H
#define GAPURA_TESTS_CURL_FILE_H

#include "core/buf.h"

struct curl_file {
    struct buf text;
    char number[32]; /* %TESTNUMBER */
};
bool curl_file_load(struct curl_file *f, const char *path);
void curl_file_done(struct curl_file *f);
/* The text between <name attributes> and </name> on lines of their own, expanded and with the line
 * ends that the attributes ask for. `attr`: text the opening tag has to hold, or NULL. */
bool curl_file_section(const struct curl_file *f, const char *name, const char *attr,
                       struct buf *ret);
void curl_expand(const struct curl_file *f, struct str in, struct buf *out);

#endif
