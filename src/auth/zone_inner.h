/*
 * auth/zone_inner.h - what zone.c and zone_read.c share.
 */
#ifndef GAPURA_AUTH_ZONE_INNER_H
#define GAPURA_AUTH_ZONE_INNER_H

#include "auth/zone.h"

#define ZONE_TTL         3600u
#define ZONE_BUCKETS     1024u
#define ZONE_ANSWERS_MAX 1024u

struct zone_record {
    struct dns_record record;
    uint32_t ttl;
    struct zone_record *next;
};
struct zone_name {
    struct str name; /* normal form */
    struct zone_record *records;
    enum dns_status failure; /* DNS_OK: none */
    struct zone_name *next;
};
struct zone {
    struct arena arena;
    struct zone_name *buckets[ZONE_BUCKETS];
    const struct dns_answer *answers[ZONE_ANSWERS_MAX];
    struct auth_answers table;
    uint32_t ttl; /* of records that name none */
};

#endif
