/*
 * auth/dmarc.h - DMARC (RFC 9989): does what was authenticated belong to the author, and what does
 * the author's domain want for mail where it does not?
 *
 * A message's way: dmarc_author() finds the author's domain in the header block (and names what is
 * odd about it); when SPF and DKIM are done, dmarc_run() walks the tree of names over the answers
 * that are known, and is either DONE or has noted what must be asked. Pure, replayed by explain.
 */
#ifndef GAPURA_AUTH_DMARC_H
#define GAPURA_AUTH_DMARC_H

#include "auth/answers.h"
#include "auth/psl.h"

/* Oddities of From, each a finding of its own (bits). */
#define DMARC_FROM_MISSING   1u  /* no From field */
#define DMARC_FROM_REPEATED  2u  /* several From fields: readers differ in which they show */
#define DMARC_FROM_MALFORMED 4u  /* a From field that is no list of mailboxes */
#define DMARC_FROM_NO_DOMAIN 8u  /* a mailbox whose domain is none that DNS could know */
#define DMARC_FROM_SEVERAL   16u /* several mailboxes, all of one domain */
#define DMARC_FROM_DOMAINS   32u /* mailboxes of different domains */
#define DMARC_FROM_SHOWN     64u /* an address stands where a name belongs: addr <addr> */
const char *dmarc_from_name(unsigned bit); /* "from-repeated" */
const char *dmarc_from_text(unsigned bit); /* a sentence for people */

#define DMARC_AUTHORS_MAX 8u
struct dmarc_author_domain {
    char text[256]; /* A-labels, lower case */
    size_t n;
};
struct dmarc_author {
    char domain[256]; /* the only one that any reader could show; empty if there is no such */
    size_t n;
    unsigned oddities;
    /* All that some reader could show, also out of fields that cannot be read; at most so many. */
    struct dmarc_author_domain domains[DMARC_AUTHORS_MAX];
    unsigned ndomains;
};
void dmarc_author(struct str header_block, struct dmarc_author *ret);

enum dmarc_policy { DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT };
const char *dmarc_policy_name(enum dmarc_policy);
enum dmarc_tag { DMARC_TAG_ABSENT, DMARC_TAG_BAD, DMARC_TAG_GOOD };
struct dmarc_record {
    enum dmarc_tag has_p, has_sp, has_np;
    enum dmarc_policy p, sp, np;
    bool strict_dkim, strict_spf; /* adkim=s, aspf=s */
    bool testing;                 /* t=y */
    char psd;                     /* 'y', 'n', 'u' */
    struct str rua, ruf, fo;
};
/* ERR_SYNTAX if it is none; errors behind the version are ignored, as RFC 9989 4.7 says. */
int dmarc_record_parse(struct str txt, struct dmarc_record *ret);

enum dmarc_auth { DMARC_AUTH_PASS, DMARC_AUTH_TEMPERROR, DMARC_AUTH_OTHER };
struct dmarc_identifier { /* what SPF or a signature says, and for whom */
    enum dmarc_auth auth;
    struct str domain;
};
#define DMARC_SIGNATURES_MAX 16u
struct dmarc_input {
    const struct dmarc_author *author;
    struct dmarc_identifier spf; /* the HELO domain for the null sender (spf_verdict.domain) */
    const struct dmarc_identifier *dkim;
    size_t ndkim;
    const struct psl *psl; /* given: the old method instead of the tree walk */
    bool other_signs;      /* something else speaks against the message, too */
};

enum dmarc_result {
    DMARC_RESULT_NONE,
    DMARC_RESULT_PASS,
    DMARC_RESULT_FAIL,
    DMARC_RESULT_TEMPERROR,
    DMARC_RESULT_PERMERROR,
};
const char *dmarc_result_name(enum dmarc_result);
/* What to do at most. A published reject alone is no more than quarantine: forwarders and lists
 * break alignment of honest mail. DEFER is 451, and no temporary failure leads to more. */
enum dmarc_advice { DMARC_ACCEPT, DMARC_DEFER, DMARC_HOLD, DMARC_REFUSE };
const char *dmarc_advice_name(enum dmarc_advice);

#define DMARC_WALK_MAX 8u /* queries of a tree walk (RFC 9989 4.10) */
struct dmarc_step {
    struct str domain; /* at which _dmarc was asked */
    enum dns_status status;
    bool record; /* one valid record stands there */
};
struct dmarc_verdict {
    enum dmarc_result result;
    enum dmarc_policy policy; /* that applies, t= taken into account; what was asked for on pass */
    enum dmarc_advice advice;
    char source[4];                 /* which tag it came from: "p", "sp", "np" */
    bool testing;                   /* t=y lowered it */
    bool spf_aligned, dkim_aligned; /* also where no policy is published */
    bool unsure; /* neither, and it could have been had DNS answered or had there been room */
    struct str domain, organization, policy_domain; /* empty if none */
    struct dmarc_record record;
    struct dmarc_step steps[DMARC_WALK_MAX]; /* of the author's domain */
    unsigned nsteps;
    const char *why;
    uint32_t ttl;
};
/* Several domains: each is evaluated, and the strictest verdict is the message's. An author that
 * two readers could read differently never passes unseen: HOLD at least. AUTH_NEED: needs holds
 * questions, ret is untouched. */
enum auth_state dmarc_run(const struct dmarc_input *, const struct auth_answers *,
                          struct auth_needs *, struct arena *, struct dmarc_verdict *ret);

#endif
