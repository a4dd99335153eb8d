/*
 * core/conf_row.h - how a setting is declared: a row of its block's table.
 *
 * Each folder that has settings keeps a struct for each of its blocks in settings.h, and the rows
 * that fill it in settings.c. Parser, checker and manual read the same row (core/conf.h).
 */
#ifndef GAPURA_CORE_CONF_ROW_H
#define GAPURA_CORE_CONF_ROW_H

#include "core/addr.h"
#include "core/rate.h"

enum conf_type {
    CONF_BOOL,      /* bool: yes no on off true false */
    CONF_U64,       /* uint64_t in [min, max] */
    CONF_SIZE,      /* uint64_t bytes */
    CONF_DURATION,  /* uint64_t ns */
    CONF_RATE,      /* struct rate: "100/s", "100/s burst 20", "none" */
    CONF_WORD,      /* int: index into words[] */
    CONF_FLAGS,     /* uint64_t: bit i set for words[i]; a list */
    CONF_TEXT,      /* struct str */
    CONF_NAME,      /* struct str: letters, digits, - _ . only */
    CONF_DOMAIN,    /* struct str: a domain name, lower-cased */
    CONF_PATH,      /* struct str: relative ones are taken from the file that names them */
    CONF_TEXTS,     /* struct conf_list of struct str */
    CONF_ENDPOINT,  /* struct endpoint (min = default port) */
    CONF_ENDPOINTS, /* struct conf_list of struct endpoint */
    CONF_ADDR,      /* struct addr */
    CONF_PREFIXES,  /* struct conf_list of struct prefix */
    CONF_DURATIONS, /* struct conf_list of uint64_t ns */
    CONF_POINTS,    /* int64_t hundredths: "1.5", "-2"; CONF_POINTS_NONE: "none" */
    CONF_LINES,     /* struct conf_list of struct conf_line; the row may be given many times */
};
#define CONF_POINTS_NONE INT64_MAX
struct conf_line { /* one element with its place, for errors that only its reader can see */
    struct str text, file;
    unsigned line;
};

struct conf_list {
    void *items; /* array of the element type */
    size_t n;
};

#define CONF_REQUIRED 1u /* the block is refused without it (an unlabelled one always exists) */
#define CONF_RESTART  2u /* takes effect at the next start, not at reload */

struct conf_row {
    const char *name;
    enum conf_type type;
    size_t offset;            /* of the field in the block's struct */
    const char *def;          /* default as text; NULL or "" leaves the zeroed field */
    uint64_t min, max;        /* max 0 means no bound */
    const char *const *words; /* for WORD and FLAGS, NULL-terminated */
    unsigned flags;
    const char *doc; /* one sentence or more, for people */
};

/* The field's C type is checked against the row's type at compile time. */
#define CONF_CTYPE_BOOL      bool
#define CONF_CTYPE_U64       uint64_t
#define CONF_CTYPE_SIZE      uint64_t
#define CONF_CTYPE_DURATION  uint64_t
#define CONF_CTYPE_RATE      struct rate
#define CONF_CTYPE_WORD      int
#define CONF_CTYPE_FLAGS     uint64_t
#define CONF_CTYPE_TEXT      struct str
#define CONF_CTYPE_NAME      struct str
#define CONF_CTYPE_DOMAIN    struct str
#define CONF_CTYPE_PATH      struct str
#define CONF_CTYPE_TEXTS     struct conf_list
#define CONF_CTYPE_ENDPOINT  struct endpoint
#define CONF_CTYPE_ENDPOINTS struct conf_list
#define CONF_CTYPE_ADDR      struct addr
#define CONF_CTYPE_PREFIXES  struct conf_list
#define CONF_CTYPE_DURATIONS struct conf_list
#define CONF_CTYPE_POINTS    int64_t
#define CONF_CTYPE_LINES     struct conf_list
#define CONF_ROW(kind, type_, field, ...)                                                          \
    .type = CONF_##kind,                                                                           \
    .offset = offsetof(type_, field) +                                                             \
              0 * sizeof(char[_Generic(((type_ *)0)->field, CONF_CTYPE_##kind : 1)]),              \
    ##__VA_ARGS__

struct conf_section;
struct conf_errors;

struct conf_block {
    const char *name; /* "" is the main block */
    bool labelled;    /* `name LABEL {`; labels are unique per block name */
    size_t size;      /* of the struct; it is zeroed, then defaults are applied */
    const struct conf_row *rows;
    size_t nrows;
    const char *doc;
    /* Optional: checks what rows alone cannot, reports with conf_fail_row. */
    void (*check)(const struct conf_section *, struct conf_errors *);
};

#endif
