/*
 * auth/arc.h - Authenticated Received Chains: validation (RFC 8617 5.2).
 *
 * Same shape as DKIM verification, over the same message: prepare after the header, run after the
 * body. Whose seals mean anything is an input: a chain that passes proves only who said what.
 */
#ifndef GAPURA_AUTH_ARC_H
#define GAPURA_AUTH_ARC_H

#include "auth/answers.h"
#include "auth/dkim_key.h"
#include "auth/dkim_message.h"
#include "auth/dkim_sig.h"

#define ARC_SETS_MAX 50u

struct arc_set {
    struct header_field results, message, seal; /* line.p NULL: absent */
    struct str payload;                         /* of the results: authserv-id and what follows */
};
struct arc_result {
    enum arc_cv cv;
    enum dkim_reason reason; /* of a field that does not hold; DKIM_OK if it is the structure */
    unsigned at;             /* the instance that is to blame, 0: the chain as a whole */
    const char *text;        /* for people */
    unsigned n;              /* instances */
    /* All sealers from this instance to the newest are trusted: its results may be believed. 0: the
     * newest is not trusted, or the chain does not pass, or its message signature leaves out From.
     */
    unsigned trusted_from;
    bool repeated; /* a field that may stand once stands more often than it was signed */
};
struct arc_validator {
    struct dkim_limits limits;
    struct dkim_message *message;
    struct arc_set sets[ARC_SETS_MAX + 1]; /* by instance, from 1 */
    unsigned n;
    bool broken; /* its structure already says fail */
    unsigned broken_at;
    const char *broken_text;
    struct dkim_sig newest; /* the newest message signature */
    enum dkim_reason newest_bad;
    int body;
};
const char *arc_cv_name(enum arc_cv);
void arc_prepare(struct arc_validator *, struct dkim_message *, const struct dkim_limits *);
/* now: seconds of Unix time; trusted: domains in A-labels, lower case; one that begins with a dot
 * means all below it. */
enum auth_state arc_run(struct arc_validator *, uint64_t now, const struct str *trusted,
                        size_t ntrusted, struct dkim_keys *, const struct auth_answers *,
                        struct auth_needs *, struct arc_result *ret);
/* The seal of an instance (1..n), parsed; false if it is malformed. */
bool arc_sealer(const struct arc_validator *, unsigned instance, struct dkim_sig *ret);

#endif
