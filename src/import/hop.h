/*
 * import/hop.h - where Postfix sends mail: TRANSPORT:NEXTHOP as a host of ours.
 */
#ifndef GAPURA_IMPORT_HOP_H
#define GAPURA_IMPORT_HOP_H

#include "import/inner.h"

enum hop_kind {
    HOP_HOST,  /* text: smtp://HOST:PORT, lmtp://..., lmtp:PATH */
    HOP_MX,    /* by DNS */
    HOP_LOCAL, /* Postfix's own delivery into files */
    HOP_NONE   /* error, discard, pipes: no equivalent */
};
struct hop {
    enum hop_kind kind;
    struct str text;
    bool by_mx; /* Postfix would have asked for MX records of that host */
};
struct hop hop_of(struct import *, struct str value);

#endif
