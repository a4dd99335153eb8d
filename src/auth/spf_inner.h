/*
 * auth/spf_inner.h - what the files of SPF share: a record's terms, macros, a run in progress.
 */
#ifndef GAPURA_AUTH_SPF_INNER_H
#define GAPURA_AUTH_SPF_INNER_H

#include "auth/spf.h"

enum spf_kind {
    SPF_ALL,
    SPF_INCLUDE,
    SPF_A,
    SPF_MX,
    SPF_PTR,
    SPF_IP4,
    SPF_IP6,
    SPF_EXISTS,
    SPF_REDIRECT,
    SPF_EXP,
    SPF_UNKNOWN, /* modifier: ignored once its syntax stood */
};
struct spf_term {
    enum spf_kind kind;
    enum spf_result qualifier; /* what a match means */
    struct str text;           /* as published */
    struct str spec;           /* domain-spec with macros; empty if none */
    struct prefix net;         /* ip4, ip6 */
    uint8_t bits4, bits6;      /* a, mx: prefix lengths, 32 and 128 if not given */
};
struct spf_record {
    struct str text;
    bool has_all;
    struct spf_term redirect, exp; /* .spec empty: none */
};
/* Checks the whole record (RFC 7208 4.6: errors anywhere count). ERR_SYNTAX with the term. */
int spf_record_check(struct str text, struct spf_record *ret, struct str *reterr_term);
/* The next term at *at of a record; 1 got one, 0 end, ERR_SYNTAX. Modifiers are terms, too. */
int spf_term_next(struct str record, size_t *at, struct spf_term *ret);

#define SPF_EXPANSION_MAX 4096u
#define SPF_VOIDS_KEPT    16u
/* Is it a macro-string? `explain` allows c, r, t and spaces. */
bool spf_macro_ok(struct str text, bool explain);
/* Is it a domain-spec (RFC 7208 7.1)? */
bool spf_domain_spec_ok(struct str text);

struct spf_run;
/* Expands into dst of SPF_EXPANSION_MAX bytes: length, or ERR_LIMIT. The text must have been
 * checked. *ret_need if %{p} needs answers first. */
ssize_t spf_macro_expand(struct spf_run *, struct str text, struct str domain, char *dst,
                         bool *ret_need);
/* The macro's text as a name to look up: cut from the left to 253 bytes, no final dot. */
struct str spf_macro_name(struct str expanded);

struct spf_run {
    const struct spf_input *in;
    const struct spf_limits *limits;
    const struct auth_answers *answers;
    struct auth_needs *needs;
    struct arena *arena;
    struct str sender_local, sender_domain; /* identity under check */
    struct spf_verdict v;
    struct spf_step beyond; /* written, never read: steps that the trace has no room for */
    bool need;              /* an answer is missing: unwind */
    bool no_room;           /* arena at its ceiling */
    const struct dns_answer *void_now;              /* of the term at hand: its first void one */
    const struct dns_answer *voids[SPF_VOIDS_KEPT]; /* that were counted */
};
/* How a term ended. */
enum spf_hit { SPF_HIT_NO, SPF_HIT_YES, SPF_HIT_TEMP, SPF_HIT_PERM, SPF_HIT_WAIT };

struct spf_frame { /* one record under evaluation */
    struct spf_run *r;
    struct str domain; /* <domain> of check_host() */
    unsigned depth;
    struct spf_record record;
};

/* spf_run.c: check_host() itself, for include. */
/* SPF_TEMPERROR with r->need set: an answer is missing. ret_last is the record that decided. */
enum spf_result spf_check_host(struct spf_run *, struct str domain, unsigned depth,
                               struct spf_record *ret_last, struct str *ret_domain);

/* spf_term.c */
/* One mechanism with its limits. */
enum spf_hit spf_term_run(struct spf_frame *, const struct spf_term *);
/* The record waits for an answer: what the terms behind will ask is asked along with it. */
void spf_look_ahead(struct spf_frame *, size_t at);
/* The name that a term is about, macros expanded; what is no name has n 0. */
enum spf_hit spf_target(struct spf_frame *, struct str spec, struct str *ret);
/* A look-up for a term: SPF_HIT_YES with records, SPF_HIT_NO without. A name that cannot be asked
 * has none, and nothing was looked up (RFC 7208 4.8). */
enum spf_hit spf_lookup(struct spf_run *, struct str name, enum dns_type,
                        const struct dns_answer **ret);
/* Ends with "WHAT text": the subject is a stranger's, so it is clipped. */
enum spf_result spf_ends(struct spf_run *, enum spf_result, struct str what, const char *text);
/* A line of the trace; never NULL. */
struct spf_step *spf_step_add(struct spf_run *, struct str record, struct str term, unsigned depth);
/* What the step took since the run had `before` queries. */
void spf_step_took(const struct spf_run *, struct spf_step *, unsigned before);

/* The validated name of the client for %{p} and ptr: calls fn for each until it says true. 1 if it
 * did, 0 if not, negative if answers are missing. */
int spf_ptr_names(struct spf_run *, bool (*fn)(void *ctx, struct str name), void *ctx,
                  const struct dns_answer **ret_ptr);
/* Is name the domain or below it? Both normal. */
bool spf_is_below(struct str name, struct str domain);

#endif
