/*
 * tests/unit/report_rig.h - one report at a time, and what its reader said of it.
 */
#ifndef GAPURA_TESTS_REPORT_RIG_H
#define GAPURA_TESTS_REPORT_RIG_H

#include "mail/report.h"

static struct arena arena;
static struct report report;
static struct why why;

static int
read_with(const struct report_limits *limits, struct str text)
{
    arena_done(&arena);
    arena_init(&arena, 64u << 20);
    why.text[0] = '\0';
    return report_read(text, limits, &arena, &report, &why);
}

static int
read_one(struct str text)
{
    return read_with(&report_limits_default, text);
}

#endif
