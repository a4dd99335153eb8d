/*
 * auth/authres.h - Authentication-Results (RFC 8601): foreign ones read, dangerous ones removed,
 * ours written.
 *
 * One list of struct authres_result is the source of both the header field and the findings that
 * policy and explain show, so they cannot say different things. A message's way: authres_filter()
 * takes out of its header block what only we may say; the evaluators' verdicts become rows by
 * authres_add_*; authres_write() puts our field on top.
 */
#ifndef GAPURA_AUTH_AUTHRES_H
#define GAPURA_AUTH_AUTHRES_H

#include "auth/dmarc.h"
#include "auth/spf.h"
#include "core/buf.h"

#define AUTHRES_RESULTS_MAX 48u
#define AUTHRES_PROPS_MAX   12u

struct authres_prop {
    struct str ptype, property, value; /* smtp.mailfrom=..., unquoted */
};
struct authres_result {
    struct str method, result, reason;
    struct authres_prop props[AUTHRES_PROPS_MAX];
    unsigned nprops;
};
struct authres {
    struct str id; /* authserv-id, unquoted */
    uint32_t version;
    struct authres_result results[AUTHRES_RESULTS_MAX];
    unsigned n; /* 0: "none" */
};

/* The value of a field (folding and comments as they came) into the arena. ERR_SYNTAX, ERR_LIMIT.
 */
int authres_parse(struct str value, struct arena *, struct authres *ret);

/* Its authserv-id alone, whatever follows (*ret_results, as it came): ERR_SYNTAX if what stands
 * before the first ";" is not an id and perhaps a version. */
int authres_id(struct str value, struct arena *, struct str *ret, struct str *ret_results);
/* The same id for all who read leniently: a final dot, case and U-labels do not count. */
bool authres_same_id(struct str a, struct str b);

/* Copies a header block without what only we may say: Authentication-Results under one of our ids
 * (and those whose id cannot be read), X-Gapura-*, X-Spam-*, Return-Path, also where bytes that no
 * name may hold stand in it; and without lines at its beginning that would continue a field put in
 * front. All else keeps its bytes. *ret_removed counts fields (such lines are one). 0, or ERR_LIMIT
 * if out is full. */
int authres_filter(struct str block, const struct str *our_ids, size_t nids, struct buf *out,
                   unsigned *ret_removed);

/* Adds a row; NULL if the list is full. Views are kept, not copied. */
struct authres_result *authres_add(struct authres *, struct str method, struct str result);
void authres_prop(struct authres_result *, struct str ptype, struct str property, struct str value);
void authres_add_spf(struct authres *, const struct spf_verdict *, const struct spf_input *);
void authres_add_dmarc(struct authres *, const struct dmarc_verdict *);
void authres_add_iprev(struct authres *, struct str result, const char *ip, struct str name);
void authres_add_auth(struct authres *, struct str user);

/* Our field with its name and final CRLF, folded. Values are quoted where they must be; what no
 * quoting can carry is replaced. */
void authres_write(struct buf *out, const struct authres *);

#endif
