/*
 * auth/psl.h - the Public Suffix List from a file: where registrable domains begin.
 *
 * For DMARC by its old method (RFC 7489 3.2) where the settings say so, and for grouping hosts. The
 * list is read once and shared; looking up allocates nothing.
 */
#ifndef GAPURA_AUTH_PSL_H
#define GAPURA_AUTH_PSL_H

#include "core/err.h"
#include "core/str.h"

struct psl;
/* Reads the list (public_suffix_list.dat, or compiled by psl-make-dafsa). */
int psl_open(const char *path, struct psl **ret, struct why *);
/* The same out of a text that was read already. */
int psl_read(struct str text, struct psl **ret, struct why *);
void psl_close(struct psl *);
/* The registrable part of a domain in A-labels and lower case, as a view into it; empty for a
 * public suffix itself and for what is no domain. */
struct str psl_registrable(const struct psl *, struct str domain);

#endif
