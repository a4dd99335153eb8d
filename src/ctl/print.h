/*
 * ctl/print.h - JSON lines from a role become tables and records for people.
 */
#ifndef GAPURA_CTL_PRINT_H
#define GAPURA_CTL_PRINT_H

#include <jansson.h>

#include "ctl/verbs.h"

/* Rows of a table: the first ones are kept to learn the widths, later ones flow through. */
struct print_table {
    FILE *to;
    const struct ctl_column *columns;
    size_t ncolumns;
    size_t width[32];
    json_t *first;                 /* array; NULL once the head was printed */
    struct ctl_column guessed[32]; /* if the verb names no column that the rows have */
    bool started;
};
#define PRINT_COLUMNS 32u

void print_table_init(struct print_table *, FILE *to, const struct ctl_verb *);
void print_table_row(struct print_table *, json_t *row);
void print_table_end(struct print_table *); /* prints what is kept; frees */

/* One line of a verb without a table: its "text", or all its fields, a line each. */
void print_record(FILE *to, const json_t *line, unsigned indent);
/* One line of a stream: its values behind each other, in the order that they came in. */
void print_flow(FILE *to, const json_t *line);
/* A sentence of a role, which may have several lines. */
void print_said(FILE *to, const char *text);
/* Text that came from strangers, made safe for a terminal. */
void print_safe(FILE *to, const char *text);

#endif
