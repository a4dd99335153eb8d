/*
 * smtp/client_body.h - finds the dots of a body that must be doubled (RFC 5321 4.5.2), fast.
 */
#ifndef GAPURA_SMTP_CLIENT_BODY_H
#define GAPURA_SMTP_CLIENT_BODY_H

#include "core/base.h"

/* First dot in [p, end) that stands at the beginning of a line (`bol`: p itself does); NULL if
 * there is none. A line begins behind any LF: the body is clean CRLF, and if it ever is not, a
 * dot too many is harmless where a dot too few ends the message for a careless server. */
const char *client_body_dot(const char *p, const char *end, bool bol);

#endif
