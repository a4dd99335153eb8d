/*
 * mail/address.h - mailboxes and paths of SMTP (RFC 5321 4.1.2, RFC 6531 3.3), pure.
 */
#ifndef GAPURA_MAIL_ADDRESS_H
#define GAPURA_MAIL_ADDRESS_H

#include "core/addr.h"
#include "core/err.h"

#define ADDRESS_LOCAL_MAX  64u /* RFC 5321 4.5.3.1.1; mailing services write longer ones */
#define ADDRESS_DOMAIN_MAX 255u
#define ADDRESS_MAX        320u /* room for a key: a path holds 254, A-labels may need more */

struct address {       /* views into the parsed text */
    struct str text;   /* the mailbox without <> and without a source route */
    struct str local;  /* as written, quotes included */
    struct str domain; /* as written; "[192.0.2.1]" for literals; empty only for postmaster */
    bool null;         /* <> */
    bool quoted;       /* local part is a quoted string */
    bool literal;      /* domain is an address literal, checked */
    bool utf8;         /* non-ASCII in local part or domain */
    bool local_utf8;   /* non-ASCII in the local part: cannot be downgraded */
};

#define ADDRESS_ALLOW_NULL       1u /* "<>" is a path */
#define ADDRESS_ALLOW_UTF8       2u /* SMTPUTF8 was asked for */
#define ADDRESS_ALLOW_POSTMASTER 4u /* "<postmaster>" without a domain */

/* Parses "<...>" at the start of `text`; *rest is what follows '>'. Source routes are skipped
 * (RFC 5321 4.1.2 says accept and ignore). ERR_SYNTAX, ERR_LIMIT (too long). U-label domains are
 * checked by IDNA 2008 when non-ASCII. */
int address_path(struct str text, unsigned flags, struct address *ret, struct str *rest);
/* A bare mailbox, whole text. A local part may be as long as the mailbox (254 bytes): whoever wants
 * RFC 5321's limit compares with ADDRESS_LOCAL_MAX. */
int address_parse(struct str text, unsigned flags, struct address *ret);
bool address_local_plain(struct str local); /* a dot-string: needs no quotes */
bool address_domain_ok(struct str domain);  /* LDH labels or U-labels; no literal */
/* Lower-cased A-label form of a domain into dst (cap >= 256): length or ERR_SYNTAX. ASCII names
 * are only lower-cased; a final dot is dropped. */
ssize_t address_domain_ascii(struct str domain, char *dst, size_t cap);
/* Key for tables: unquoted if quoting is not needed, domain in A-labels and lower case; local part
 * case kept. Into dst (cap >= ADDRESS_MAX + 1): length or negative. */
ssize_t address_key(const struct address *a, char *dst, size_t cap);
/* The same mailbox with its domain in A-labels, for servers without SMTPUTF8; ERR_UNSUPPORTED if
 * the local part is not ASCII. */
ssize_t address_downgrade(struct str mailbox, char *dst, size_t cap);

#endif
