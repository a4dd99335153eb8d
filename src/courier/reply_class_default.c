/*
 * courier/reply_class_default.c - the data files of share/replies as they were at the build.
 *
 * Called by the parser when no other data is given. Nothing but a table.
 */
#include "courier/reply_class_inner.h"

const struct reply_file reply_files[] = {
#include "courier/replies.inc"
};
const size_t reply_nfiles = ARRAY_LEN(reply_files);
