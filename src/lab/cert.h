/*
 * lab/cert.h - a key and a certificate that the lab signs itself, made anew at each start.
 */
#ifndef GAPURA_LAB_CERT_H
#define GAPURA_LAB_CERT_H

#include "core/buf.h"
#include "core/err.h"

/* PEM texts for these names (the first is the subject). ERR_TLS. */
int lab_cert_make(const struct str *names, size_t n, struct buf *cert, struct buf *key,
                  struct why *why);

#endif
